//! Parked connections: whatever is owed to an idle connection is owed to one that is parked.
//!
//! A connection has a clone of the application as long as it has a task, so a test sees by the clones who is parked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::response::Response;
use axum::routing::get;
use hyper_util::rt::TokioIo;
use lameduck::{Count, Late, Lifecycle, Outcome, Plan, Window};
use lameduck_http::{Body, Limits, Peer, serve};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::frames::PREFACE;
use crate::support::{
    Client, Control, Ended, GET, Rig, SLOW, app, end_window_now, millis, plan, soon, window,
};
use crate::wire::Wire;

/// Held by every clone of the application; counts how often it was cloned.
pub(crate) type Mark = Arc<AtomicU32>;

/// The application with something that is cloned with it.
pub(crate) struct Marked {
    app: Router,
    mark: Mark,
}

impl Clone for Marked {
    fn clone(&self) -> Self {
        let (app, mark) = (self.app.clone(), self.mark.clone());
        mark.fetch_add(1, Ordering::Relaxed);
        Self { app, mark }
    }
}

impl Service<Request<Body>> for Marked {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = <Router as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.app, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.app.call(request)
    }
}

/// A rig that knows how many connections have a task.
pub(crate) struct Lot {
    pub rig: Rig,
    mark: Mark,
    /// Peers that were introduced.
    introduced: Arc<AtomicU32>,
}

/// Echoes whatever it is sent, in a protocol of its own.
async fn parrot(mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut inner = TokioIo::new(upgrade.await.expect("an upgrade"));
        let (mut from, mut to) = tokio::io::split(&mut inner);
        // Ends with its client.
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "parrot")
        .body(axum::body::Body::empty())
        .expect("a response")
}

/// Holders of the mark that are no connections: the test and the server.
const OTHERS: usize = 2;

pub(crate) fn marked(control: &Control) -> (Marked, Mark) {
    mark(app(control.clone()).route("/parrot", get(parrot)))
}

pub(crate) fn mark(app: axum::Router) -> (Marked, Mark) {
    let mark = Mark::default();
    let app = Marked {
        app,
        mark: mark.clone(),
    };
    (app, mark)
}

/// Waits until so many connections that say nothing have had a task: at first each has one.
async fn begun(number: u32, mark: &Mark) {
    let begun = async {
        while mark.load(Ordering::Relaxed) < number {
            tokio::task::yield_now().await;
        }
    };
    soon("their tasks", begun).await;
}

/// Waits until no connection has a task.
pub(crate) async fn all_parked(mark: &Mark) {
    all_but(0, mark).await;
}

/// Waits until so many holders of the application are left.
pub(crate) async fn all_but(busy: usize, mark: &Mark) {
    let parked = async {
        while Arc::strong_count(mark) != OTHERS + busy {
            tokio::task::yield_now().await;
        }
    };
    soon("parking", parked).await;
}

impl Lot {
    async fn start(plan: Plan, limits: Limits) -> Self {
        let control = Control::new();
        let (app, mark) = marked(&control);
        let introduced = Arc::new(AtomicU32::new(0));
        let count = introduced.clone();
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let server = serve(&life, "127.0.0.1:0", app)
            .limits(limits)
            .connect_info(move |_: &Peer| {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .await
            .expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        Self {
            rig: Rig::running(life, addr, control).await,
            mark,
            introduced,
        }
    }

    /// Waits until no connection has a task.
    async fn parked(&self) {
        all_parked(&self.mark).await;
    }

    /// Asked once, then parked.
    async fn client(&self) -> Client {
        let client = Client::reused(self.rig.addr).await;
        self.parked().await;
        client
    }
}

/// Parks as soon as it can be.
pub(crate) fn soon_parked() -> Limits {
    let mut limits = Limits::default();
    limits.park_after = Some(millis(5));
    // Nothing but a look saves what arrives at the last moment.
    limits.settle = Duration::ZERO;
    limits
}

#[tokio::test]
async fn a_parked_connection_is_served_again_and_again_and_was_introduced_once() {
    let lot = Lot::start(plan(Window::NONE), soon_parked()).await;
    let mut client = lot.client().await;
    for _ in 0..3 {
        client.send(GET).await;
        assert!(!client.served().await.close);
        lot.parked().await;
    }
    assert_eq!(lot.introduced.load(Ordering::Relaxed), 1);
    assert_eq!(lot.rig.count(Count::Accepted), 1);
    assert_eq!(lot.rig.life.inflight().requests.total(), 4);
    assert_eq!(lot.rig.life.inflight().connections.count(), 1);
    assert_eq!(lot.rig.life.inflight().slots.snapshot(1).idle, 1);
}

#[tokio::test]
async fn without_a_wish_to_park_nobody_does() {
    let mut limits = soon_parked();
    limits.park_after = None;
    let lot = Lot::start(plan(Window::NONE), limits).await;
    let mut client = Client::reused(lot.rig.addr).await;
    assert!(!client.ends_within(millis(100)).await);
    assert_eq!(Arc::strong_count(&lot.mark), OTHERS + 1);
}

#[tokio::test]
async fn a_request_in_its_handler_is_not_parked() {
    let lot = Lot::start(plan(Window::NONE), soon_parked()).await;
    let mut client = lot.client().await;
    client.send(SLOW).await;
    lot.rig.control.entered().await;
    // Another one comes and is parked meanwhile.
    let other = Client::reused(lot.rig.addr).await;
    // The task of the first and its handler's future.
    all_but(2, &lot.mark).await;
    lot.rig.control.release.add_permits(1);
    assert_eq!(client.served().await.text(), "slow");
    lot.parked().await;
    drop(other);
}

#[tokio::test]
async fn h1_02_parked_connections_are_served_in_the_window_and_told_to_go() {
    let lot = Lot::start(plan(window(0, 5_000, 5_000)), soon_parked()).await;
    let mut client = lot.client().await;
    lot.rig.terminate().await;
    client.send(GET).await;
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(lot.rig.count(Count::Steered), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h1_03_parked_connections_end_by_fin_and_are_counted() {
    let lot = Lot::start(plan(Window::NONE), soon_parked()).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(lot.rig.connect().await);
    }
    begun(10, &lot.mark).await;
    for _ in 0..200 {
        clients.push(Client::reused(lot.rig.addr).await);
    }
    lot.parked().await;
    lot.rig.terminate().await;
    for client in &mut clients {
        assert_eq!(client.end().await, &Ended::Fin);
    }
    assert_eq!(lot.rig.outcome().await, Outcome::Drained);
    assert_eq!(lot.rig.count(Count::IdleClosed), 200);
    assert_eq!(lot.rig.count(Count::SilentClosed), 10);
    assert_eq!(lot.rig.count(Count::Ended), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_drain_nobody_has_the_application_any_more() {
    let lot = Lot::start(plan(Window::NONE), soon_parked()).await;
    let mut clients = Vec::new();
    // More than are closed at one go.
    for _ in 0..50 {
        clients.push(Client::reused(lot.rig.addr).await);
    }
    lot.parked().await;
    lot.rig.terminate().await;
    assert_eq!(lot.rig.outcome().await, Outcome::Drained);
    let let_go = async {
        while Arc::strong_count(&lot.mark) > 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("the application's end", let_go).await;
}

#[tokio::test]
async fn a_runtime_that_goes_away_closes_what_is_parked() {
    let (control, other) = (
        Control::new(),
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime"),
    );
    let (app, mark) = marked(&control);
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let server = {
        let _inside = other.enter();
        serve(&life, "127.0.0.1:0", app)
            .limits(soon_parked())
            .into_future()
    };
    let addr = server.await.expect("a server").local_addr().tcp();
    let rig = Rig::running(life, addr.expect("tcp"), control).await;
    let mut client = Client::reused(rig.addr).await;
    all_parked(&mark).await;
    other.shutdown_background();
    assert_eq!(client.end().await, &Ended::Fin);
    let given_back = async {
        while rig.life.inflight().connections.count() > 0 || Arc::strong_count(&mark) > 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("the counts", given_back).await;
}

#[tokio::test]
async fn h1_05_a_request_in_the_socket_of_a_parked_connection_is_served() {
    let lot = Lot::start(plan(Window::NONE), soon_parked()).await;
    let mut client = lot.client().await;
    // No task has a turn between the two.
    assert_eq!(
        SockRef::from(&client.stream).send(GET).expect("room"),
        GET.len()
    );
    end_window_now(&lot.rig);
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(lot.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_06_half_a_head_on_a_parked_connection_is_completed_after_the_window() {
    let lot = Lot::start(plan(Window::NONE), soon_parked()).await;
    let mut client = lot.client().await;
    client.send(&GET[..7]).await;
    lot.rig.terminate().await;
    lot.rig.window_end().await;
    client.send(&GET[7..]).await;
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(lot.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn who_was_parked_and_is_late_is_refused() {
    let mut limits = soon_parked();
    limits.settle = Duration::from_secs(10);
    let lot = Lot::start(plan(Window::NONE).with_late(Late::Refuse), limits).await;
    let mut client = lot.client().await;
    lot.rig.terminate().await;
    // It has not been quiet for long enough: it gets a task again, in which it is late.
    // The turn in which its task clones the application is the one in which it hears of the window's end.
    all_but(1, &lot.mark).await;
    client.send(GET).await;
    let answer = client.answer().await.expect("a refusal");
    assert_eq!(answer.status, 503);
    assert!(answer.close);
    assert_eq!(lot.rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn the_limit_of_a_head_begins_with_its_first_byte() {
    let mut limits = soon_parked();
    limits.head = millis(200);
    let lot = Lot::start(plan(Window::NONE), limits).await;
    let mut client = lot.client().await;
    // Parked for longer than that.
    assert!(!client.ends_within(millis(250)).await);
    let began = Instant::now();
    client.send(&GET[..7]).await;
    assert_eq!(client.answer().await.expect("an explanation").status, 408);
    assert!(began.elapsed() >= millis(200), "{:?}", began.elapsed());
    lot.rig.counted(Count::HeadExpired, 1).await;
}

#[tokio::test]
async fn the_limit_of_idleness_goes_on_while_parked() {
    let mut limits = soon_parked();
    limits.idle = millis(200);
    let lot = Lot::start(plan(Window::NONE), limits).await;
    let began = Instant::now();
    let mut client = lot.client().await;
    assert_eq!(client.end().await, &Ended::Fin);
    assert!(began.elapsed() >= millis(200), "{:?}", began.elapsed());
    lot.rig.counted(Count::IdleExpired, 1).await;
}

#[tokio::test]
async fn parked_connections_count_until_their_clients_leave() {
    let mut limits = soon_parked();
    limits.connections = 2;
    let lot = Lot::start(plan(Window::NONE), limits).await;
    let (one, _two) = (lot.client().await, lot.client().await);
    let mut third = lot.rig.connect().await;
    third.send(GET).await;
    lot.rig.counted(Count::OverLimit, 1).await;
    assert_eq!(lot.rig.count(Count::Accepted), 2);
    drop(one);
    third.served().await;
}

#[tokio::test]
async fn who_was_parked_before_its_first_byte_may_speak_either_protocol() {
    let lot = Lot::start(plan(Window::NONE), soon_parked()).await;
    let (mut old, mut new) = (lot.rig.connect().await, lot.rig.connect().await);
    begun(2, &lot.mark).await;
    lot.parked().await;
    old.send(GET).await;
    assert_eq!(old.served().await.text(), "ok");
    new.send(PREFACE).await;
    new.send(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    let mut frame = [0; 9];
    let read = soon("a frame", new.stream.read_exact(&mut frame)).await;
    read.expect("the server's preface");
    assert_eq!(frame[3], 4, "SETTINGS");
}

/// Requests that come when their connection is just being parked, some with the beginning of the next one behind them.
pub(crate) async fn ask_at_the_edge<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: Client<S>,
    number: u64,
) {
    let mut seed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..150 {
        assert!(
            !client
                .ends_within(Duration::from_micros(next() % 4_000))
                .await
        );
        if next() % 2 == 0 {
            client.send(GET).await;
        } else {
            let cut = usize::try_from(next()).expect("64 bits") % GET.len();
            client.send(&[GET, &GET[..cut]].concat()).await;
            client.served().await;
            assert!(
                !client
                    .ends_within(Duration::from_micros(next() % 4_000))
                    .await
            );
            client.send(&GET[cut..]).await;
        }
        assert_eq!(client.served().await.text(), "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_at_the_moment_of_parking() {
    let mut limits = soon_parked();
    limits.park_after = Some(millis(1));
    let lot = Lot::start(plan(Window::NONE), limits).await;
    let mut asking = JoinSet::new();
    for number in 1..=16 {
        asking.spawn(ask_at_the_edge(lot.rig.connect().await, number));
    }
    asking.join_all().await;
    lot.parked().await;
    assert_eq!(lot.rig.count(Count::Accepted), 16);
    assert_eq!(lot.rig.count(Count::Malformed), 0);
}

#[tokio::test]
async fn a_connection_that_was_parked_may_be_upgraded() {
    let lot = Lot::start(plan(Window::NONE), soon_parked()).await;
    let stream = TcpStream::connect(lot.rig.addr).await.expect("connect");
    begun(1, &lot.mark).await;
    lot.parked().await;
    let mut wire = Wire::over(stream, "/parrot", "parrot", b"first words").await;
    assert_eq!(wire.bytes(11).await, b"first words");
    wire.send_bytes(b"and more").await;
    assert_eq!(wire.bytes(8).await, b"and more");
}

#[tokio::test]
async fn a_unix_connection_is_parked_too() {
    let path = std::env::temp_dir().join(format!("lameduck-park-{}.sock", std::process::id()));
    let control = Control::new();
    let (app, mark) = marked(&control);
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    serve(&life, format!("unix:{}", path.display()), app)
        .limits(soon_parked())
        .await
        .expect("a server");
    let rig = Rig::running(life, ([127, 0, 0, 1], 0).into(), control).await;
    let stream = tokio::net::UnixStream::connect(&path).await;
    let mut client = Client::over(stream.expect("connect"));
    for _ in 0..2 {
        client.send(GET).await;
        assert_eq!(client.served().await.text(), "ok");
        all_parked(&mark).await;
    }
    rig.terminate().await;
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::IdleClosed), 1);
}
