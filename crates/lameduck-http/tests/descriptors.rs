//! A3 when descriptors run out. A process of its own, because the limit is the process's.

#[path = "it/support.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use lameduck::{Count, Lifecycle, Outcome, Window};
use lameduck_http::{Body, Limits, serve, service_fn};
use socket2::{Domain, Socket, Type};

use support::{Client, Control, GET, Rig, plan, soon};

/// Runs one test at a time, its runtime's making included: the limit is that of all.
fn alone(test: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

fn set_limit(descriptors: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a writable rlimit that outlives both calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = descriptors;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

/// The limit that leaves room for so many more descriptors, gaps among the numbers included.
fn room_for(count: usize) -> u64 {
    let socket = |_| Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let next: Vec<_> = (0..count).map(socket).collect();
    let highest = next.iter().map(std::os::fd::AsRawFd::as_raw_fd).max();
    u64::try_from(highest.expect("some")).expect("a number") + 1
}

/// Counts its clones: a connection has one in each of its tasks.
struct Counted(Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

/// Waits until there are so many holders of the count, or so many clones were made.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    soon(what, waiting).await;
}

#[test]
fn who_cannot_be_parked_for_want_of_descriptors_is_served_and_parked_later() {
    alone(parked_later());
}

async fn parked_later() {
    let mut limits = Limits::default();
    limits.park_after = Some(Duration::from_millis(20));
    let clones = Arc::new(AtomicUsize::new(0));
    let counted = Counted(clones.clone());
    let app = service_fn(move |_: Request<Body>| {
        let _counted = &counted;
        async { Ok::<_, Infallible>(Response::new("ok".to_owned())) }
    });
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let server = serve(&life, "127.0.0.1:0", app).limits(limits).await;
    let addr = server.expect("a server").local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, Control::new()).await;
    let others = Arc::strong_count(&clones);
    // One for the client and one for its connection; the bell of the lot would need two more.
    let before = set_limit(room_for(2));
    let mut client = rig.connect().await;
    until("accepted", || clones.load(Ordering::Relaxed) > 0).await;
    // The first task had a clone of its own.
    until("tried in vain", || clones.load(Ordering::Relaxed) > 1).await;
    client.send(GET).await;
    client.served().await;
    set_limit(before);
    until("parked", || Arc::strong_count(&clones) == others).await;
    client.send(GET).await;
    client.served().await;
    rig.terminate().await;
    drop(client);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[test]
fn a3_running_out_of_descriptors_delays_connections_and_loses_none() {
    alone(accepted_later());
}

async fn accepted_later() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let sockets: Vec<_> = (0..8)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket"))
        .collect();
    let before = set_limit(room_for(2));
    let mut clients = Vec::new();
    for socket in sockets {
        socket
            .connect(&rig.addr.into())
            .expect("the kernel completes it");
        socket.set_nonblocking(true).expect("non-blocking");
        let stream = tokio::net::TcpStream::from_std(socket.into()).expect("registered");
        clients.push(Client::new(stream));
    }
    rig.counted(Count::AcceptError, 2).await;
    assert!(rig.count(Count::Accepted) <= 2);
    set_limit(before);
    for client in &mut clients {
        client.send(GET).await;
        client.served().await;
    }
    rig.terminate().await;
    drop(clients);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}
