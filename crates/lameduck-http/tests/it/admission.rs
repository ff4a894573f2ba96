//! P4, A*: who is let in, and how a listener closes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use lameduck::{Count, Lifecycle, ListenerKind, ListenerReport, Outcome, Phase, SynGate, Window};
use lameduck_http::Limits;

use crate::support::{
    Client, Control, Ended, GET, PATIENCE, Rig, SLOW, app, end_window_now, plan, soon, window,
};

/// What a sweep reports on this platform, and where the kernel refuses the filter.
const GATE: SynGate = if cfg!(lameduck_portable) {
    REFUSED
} else {
    SynGate::Attached
};
const REFUSED: SynGate = SynGate::Refused {
    errno: if cfg!(lameduck_portable) {
        libc::ENOPROTOOPT
    } else {
        libc::EPERM
    },
};

/// A client that the runtime of the server knows nothing of.
struct Outsider(TcpStream);

impl Outsider {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        Self(stream)
    }

    /// Reads to the end: the whole of what came, if the end was orderly.
    fn rest(mut self) -> std::io::Result<String> {
        let mut text = String::new();
        self.0.read_to_string(&mut text).map(|_| text)
    }
}

fn listener_report(rig: &Rig) -> ListenerReport {
    let report = rig.life.report().expect("a report");
    assert_eq!(report.listeners.len(), 1);
    report.listeners[0].clone()
}

/// Connections that the kernel completed and nobody accepted before the window ended, half of them silent.
async fn sweeps_what_waits(rig: Rig, gate: SynGate) {
    let mut waiting = Vec::new();
    for number in 0..32 {
        let mut outsider = Outsider::connect(rig.addr);
        if number % 2 == 0 {
            outsider.0.write_all(GET).expect("write");
        }
        waiting.push(outsider);
    }
    end_window_now(&rig);
    let readers = tokio::task::spawn_blocking(move || {
        for (number, mut outsider) in waiting.into_iter().enumerate() {
            if number % 2 == 1 {
                outsider.0.write_all(GET).expect("write");
            }
            let text = outsider.rest().expect("no reset");
            assert!(text.starts_with("HTTP/1.1 200 "), "{number}: {text:?}");
            assert!(
                text.to_ascii_lowercase()
                    .contains("\r\nconnection: close\r\n"),
                "{text:?}"
            );
        }
    });
    soon("32 answers", readers).await.expect("answers");
    assert_eq!(rig.outcome().await, Outcome::Drained);
    let report = listener_report(&rig);
    assert_eq!(report.gate, gate);
    assert_eq!(report.kind, ListenerKind::Exclusive);
    assert_eq!(report.swept, 32);
}

/// Time for the silent half to speak, whatever the machine does meanwhile.
fn patient() -> Limits {
    let mut limits = Limits::default();
    limits.settle = Duration::from_secs(10);
    limits
}

#[tokio::test]
async fn a3_what_waits_to_be_accepted_is_served_ipv4() {
    let rig = Rig::limited(plan(Window::NONE), patient()).await;
    sweeps_what_waits(rig, GATE).await;
}

#[tokio::test]
async fn a3_what_waits_to_be_accepted_is_served_ipv6() {
    let listener = TcpListener::bind("[::1]:0").expect("IPv6 loopback");
    let rig = Rig::on(plan(Window::NONE), listener, patient()).await;
    sweeps_what_waits(rig, GATE).await;
}

#[tokio::test]
async fn a3_a_refused_gate_is_survived_and_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    lock_filter(&listener);
    let rig = Rig::on(plan(Window::NONE), listener, patient()).await;
    sweeps_what_waits(rig, REFUSED).await;
}

/// Makes the kernel refuse every filter on this socket (SO_LOCK_FILTER, socket(7)).
fn lock_filter(listener: &TcpListener) {
    let one: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four");
    // SAFETY: the descriptor is open, `one` is an int of `size` bytes that outlives the call.
    let failed = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LOCK_FILTER,
            (&raw const one).cast(),
            size,
        )
    };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}

#[tokio::test]
async fn a3_without_the_gate_connections_are_accepted_until_quiet() {
    let control = Control::new();
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app(control.clone()))
        .without_syn_gate()
        .limits(patient())
        .await
        .expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, control).await;
    sweeps_what_waits(rig, SynGate::Off).await;
}

/// Eight clients connect without pause while the listener closes: whoever got a connection gets an answer.
async fn nobody_is_reset(host: &str) {
    let listener = TcpListener::bind(host).expect("bind");
    let rig = Rig::on(plan(Window::NONE), listener, Limits::default()).await;
    let (stop, served, lost) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicU32::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (addr, stop, served, lost) = (rig.addr, stop.clone(), served.clone(), lost.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // A SYN that met the gate is repeated by the kernel after a second: not worth the wait.
                    let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(300))
                    else {
                        continue;
                    };
                    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
                    let mut outsider = Outsider(stream);
                    let sent = outsider
                        .0
                        .write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n");
                    let answered = sent.and_then(|()| outsider.rest());
                    let whole = answered.is_ok_and(|text| text.ends_with("ok"));
                    (if whole { &served } else { &lost }).fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    rig.counted(Count::Accepted, 200).await;
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a client");
    }
    assert!(served.load(Ordering::Relaxed) >= 200);
    assert_eq!(
        lost.load(Ordering::Relaxed),
        0,
        "of {}",
        served.load(Ordering::Relaxed)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_a4_closing_under_load_resets_nobody_ipv4() {
    nobody_is_reset("127.0.0.1:0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_a4_closing_under_load_resets_nobody_ipv6() {
    nobody_is_reset("[::1]:0").await;
}

#[tokio::test]
async fn a5_after_the_window_a_connect_is_refused_at_once() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut busy = rig.connect().await;
    busy.send(SLOW).await;
    rig.control.entered().await;
    rig.terminate().await;
    let draining = async {
        while rig.life.phase() < Phase::Draining {
            tokio::task::yield_now().await;
        }
    };
    soon("Draining", draining).await;
    let refused = soon("a refusal", tokio::net::TcpStream::connect(rig.addr)).await;
    assert_eq!(
        refused.expect_err("closed").kind(),
        ErrorKind::ConnectionRefused
    );
    rig.control.release.add_permits(1);
    busy.served().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn a2_new_connections_are_served_in_the_window() {
    let rig = Rig::start(plan(window(0, 5_000, 5_000))).await;
    rig.terminate().await;
    let mut client = rig.connect().await;
    client.send(GET).await;
    assert!(client.served().await.close);
}

#[tokio::test]
async fn p4_asked_to_leave_before_it_is_ready_nothing_is_served() {
    let life = Lifecycle::embedded(plan(window(0, 5_000, 5_000))).expect("a lifecycle");
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app(Control::new()));
    let server = server.await.expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    let refused = tokio::net::TcpStream::connect(addr)
        .await
        .expect_err("not ready");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    life.shutdown("before it was ready");
    assert_eq!(soon("the end", life.outcome()).await, Outcome::Drained);
    let refused = tokio::net::TcpStream::connect(addr)
        .await
        .expect_err("never ready");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_shared_listener_is_let_go_and_lives_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let successor = listener.try_clone().expect("a second holder");
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let control = Control::new();
    let server = lameduck_http::serve_listener(&life, listener, app(control.clone())).shared();
    let addr = server
        .await
        .expect("a server")
        .local_addr()
        .tcp()
        .expect("tcp");
    let rig = Rig::running(life, addr, control).await;
    Client::reused(rig.addr).await;
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(listener_report(&rig).kind, ListenerKind::Shared);
    let _client = Outsider::connect(addr);
    successor.set_nonblocking(false).expect("blocking");
    successor.accept().expect("the successor accepts");
}

#[tokio::test]
async fn the_connection_limit_leaves_the_rest_in_the_queue() {
    let mut limits = Limits::default();
    limits.connections = 2;
    let rig = Rig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    let first = Client::reused(rig.addr).await;
    let _second = Client::reused(rig.addr).await;
    let mut third = rig.connect().await;
    third.send(GET).await;
    rig.counted(Count::OverLimit, 1).await;
    assert_eq!(rig.count(Count::Accepted), 2);
    drop(first);
    assert_eq!(third.served().await.text(), "ok");
}

#[tokio::test]
async fn a_limit_of_no_connections_means_one() {
    let mut limits = Limits::default();
    limits.connections = 0;
    let rig = Rig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    let first = Client::reused(rig.addr).await;
    let mut second = rig.connect().await;
    second.send(GET).await;
    rig.counted(Count::OverLimit, 1).await;
    assert_eq!(rig.count(Count::Accepted), 1);
    drop(first);
    assert_eq!(second.served().await.text(), "ok");
}

#[tokio::test]
async fn a3_the_sweep_serves_what_waited_behind_the_limit() {
    let mut limits = Limits::default();
    limits.connections = 1;
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut first = Client::reused(rig.addr).await;
    let mut second = rig.connect().await;
    second.send(GET).await;
    rig.counted(Count::OverLimit, 1).await;
    rig.terminate().await;
    assert!(second.served().await.close);
    assert_eq!(first.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn a_taken_address_is_an_error_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let addr = taken.local_addr().expect("an address");
    let refused = lameduck_http::serve(&life, addr, app(Control::new())).await;
    let error = refused.expect_err("taken");
    assert!(
        matches!(&error, lameduck_http::ServeError::Bind(_)),
        "{error}"
    );
}
