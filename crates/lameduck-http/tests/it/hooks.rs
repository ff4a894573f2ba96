//! Hooks at the end of requests, by how those end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::routing::get;
use lameduck::{Lifecycle, Outcome, Phase, Plan, Window};
use lameduck_http::{EndedBy, HookRefused, OnEnd, RequestEnd, RequestHooks};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::frames::{CANCEL, Peer, RST_STREAM, frame, served};
use crate::support::{Control, GET, Rig, SLOW, app, millis, plan, soon, window};

const PANIC: &[u8] = b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n";
const NEVER: &[u8] = b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n";
const STREAM: &[u8] = b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n";

struct Hooked {
    rig: Rig,
    ends: UnboundedReceiver<RequestEnd>,
}

impl Hooked {
    async fn new(plan: Plan, more: impl FnOnce(RequestHooks) -> RequestHooks) -> Self {
        Self::on(Lifecycle::embedded(plan).expect("a lifecycle"), more).await
    }

    async fn on(life: Lifecycle, more: impl FnOnce(RequestHooks) -> RequestHooks) -> Self {
        let control = Control::new();
        let (ended, ends) = unbounded_channel();
        let hooks = RequestHooks::new(&life).on_end(move |end| {
            let _ = ended.send(end.clone());
        });
        let own = get(async |Extension(on_end): Extension<OnEnd>| own_hooks(&on_end));
        let app = app(control.clone())
            .route("/own", own)
            .merge(odd_bodies())
            .layer(more(hooks));
        let server = lameduck_http::serve(&life, "127.0.0.1:0", app);
        let server = server.await.expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        Self {
            rig: Rig::running(life, addr, control).await,
            ends,
        }
    }

    async fn start() -> Self {
        Self::new(plan(window(5_000, 5_000, 5_000)), |hooks| hooks).await
    }

    /// The next request that is over.
    async fn ended(&mut self) -> RequestEnd {
        soon("the end of a request", self.ends.recv())
            .await
            .expect("hooks are there")
    }

    /// Nothing was told twice.
    fn assert_told_once(&mut self) {
        assert!(self.ends.try_recv().is_err());
    }
}

/// One event, and no end.
struct Endless(Option<&'static str>);

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(event) => Poll::Ready(Some(Ok(http_body::Frame::data(event.into())))),
            None => Poll::Pending,
        }
    }
}

/// Bodies that do not say that they are over, and one that fails.
fn odd_bodies() -> axum::Router {
    struct Shy(Vec<&'static str>, Option<u64>);
    impl http_body::Body for Shy {
        type Data = bytes::Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            Poll::Ready(match self.0.pop() {
                Some("fail") => Some(Err("no more rows")),
                given => given.map(|text| Ok(http_body::Frame::data(text.into()))),
            })
        }

        fn size_hint(&self) -> http_body::SizeHint {
            self.1
                .map(http_body::SizeHint::with_exact)
                .unwrap_or_default()
        }
    }
    let respond = |body: Shy| axum::response::Response::new(axum::body::Body::new(body));
    axum::Router::new()
        .route(
            "/known",
            get(move || async move { respond(Shy(vec!["abc"], Some(3))) }),
        )
        .route(
            "/fails",
            get(move || async move { respond(Shy(vec!["fail", "abc"], None)) }),
        )
        .route(
            "/empty",
            get(move || async move { ([("content-length", "0")], respond(Shy(Vec::new(), None))) }),
        )
        .route(
            "/events",
            get(async || {
                let events = axum::body::Body::new(Endless(Some("data: a\n\n")));
                ([("content-type", "text/event-stream")], events)
            }),
        )
}

/// How many of them were taken, and what the others were told.
fn own_hooks(on_end: &OnEnd) -> String {
    let taken = (0..70).filter(|_| on_end.run(|_| {}).is_ok()).count();
    format!("{taken} {:?}", on_end.run(|_| {}))
}

#[tokio::test]
async fn a_whole_response_is_completed_whatever_its_form() {
    let mut hooked = Hooked::start().await;
    let mut client = hooked.rig.connect().await;
    let asked: [(&[u8], u16, u64); 4] = [
        (GET, 200, 2),
        (b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", 200, 0),
        (b"GET /no-content HTTP/1.1\r\nhost: a\r\n\r\n", 204, 0),
        (
            b"GET /large?bytes=300000 HTTP/1.1\r\nhost: a\r\n\r\n",
            200,
            300_000,
        ),
    ];
    for (request, status, bytes) in asked {
        client.send(request).await;
        if bytes == 0 {
            // Nothing follows the head.
            client.head_seen().await;
            client = hooked.rig.connect().await;
        } else {
            client.answer().await.expect("an answer");
        }
        let end = hooked.ended().await;
        let seen = (end.how, end.status.map(|status| status.as_u16()), end.bytes);
        assert_eq!(seen, (EndedBy::Completed, Some(status), bytes), "{end:?}");
    }
    let mut client = hooked.rig.connect().await;
    client.send(STREAM).await;
    let chunks = hooked.rig.control.stream().await;
    client.head_seen().await;
    chunks.send("abc".into()).await.expect("it reads");
    client.seen(b"abc").await;
    hooked.assert_told_once();
    drop(chunks);
    client.answer().await.expect("an answer");
    let end = hooked.ended().await;
    assert_eq!(
        (end.how, end.bytes, end.uri.path()),
        (EndedBy::Completed, 3, "/stream")
    );
    hooked.assert_told_once();
}

#[tokio::test]
async fn a_body_of_known_length_need_not_say_that_it_is_over_and_one_that_fails_has() {
    let mut hooked = Hooked::start().await;
    for (path, how, bytes) in [
        ("/known", EndedBy::Completed, 3),
        ("/empty", EndedBy::Completed, 0),
        ("/fails", EndedBy::Failed, 3),
    ] {
        let mut client = hooked.rig.connect().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .await;
        let end = hooked.ended().await;
        assert_eq!((end.how, end.bytes), (how, bytes), "{end:?}");
        let mut peer = Peer::greet(hooked.rig.addr, &[]).await;
        let _ = peer.ask(path).await;
        let end = hooked.ended().await;
        assert_eq!((end.how, end.bytes), (how, bytes), "HTTP/2: {end:?}");
    }
    hooked.assert_told_once();
}

#[tokio::test]
async fn a_stream_that_the_server_ends_in_its_turn_is_cut_and_its_client_has_not_gone() {
    let mut hooked = Hooked::new(plan(Window::NONE), |hooks| hooks).await;
    let mut client = hooked.rig.connect().await;
    client
        .send(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    client.seen(b"data: a\n\n").await;
    let mut peer = Peer::greet(hooked.rig.addr, &[]).await;
    let _ = peer.ask("/events").await;
    hooked.rig.counted_requests(2).await;
    hooked.rig.terminate().await;
    for _ in 0..2 {
        let end = hooked.ended().await;
        assert_eq!((end.how, end.bytes), (EndedBy::Cut, 9), "{end:?}");
    }
    drop((client, peer));
    assert_eq!(hooked.rig.outcome().await, Outcome::Drained);
    hooked.assert_told_once();
}

#[tokio::test]
async fn a_client_that_goes_is_told_apart_before_and_after_the_head() {
    let mut hooked = Hooked::start().await;
    let mut client = hooked.rig.connect().await;
    client.send(SLOW).await;
    hooked.rig.control.entered().await;
    drop(client);
    let end = hooked.ended().await;
    assert_eq!(
        (end.how, end.status, end.bytes),
        (EndedBy::ClientGone, None, 0)
    );

    let mut client = hooked.rig.connect().await;
    client.send(STREAM).await;
    let chunks = hooked.rig.control.stream().await;
    chunks.send("abc".into()).await.expect("it reads");
    client.seen(b"abc").await;
    drop(client);
    let end = hooked.ended().await;
    assert_eq!((end.how, end.bytes), (EndedBy::ClientGone, 3));
    assert_eq!(end.status.map(|status| status.as_u16()), Some(200));

    let mut peer = Peer::greet(hooked.rig.addr, &[]).await;
    let stream = peer.ask("/slow").await;
    hooked.rig.control.entered().await;
    peer.send(&frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()))
        .await;
    assert_eq!(hooked.ended().await.how, EndedBy::ClientGone);
    let stream = peer.ask("/").await;
    assert_eq!(peer.fate(stream).await, served("ok"));
    assert_eq!(hooked.ended().await.how, EndedBy::Completed);
    hooked.assert_told_once();
}

#[tokio::test]
async fn a_panic_is_one_in_the_handler_and_in_the_body() {
    let mut hooked = Hooked::start().await;
    let mut client = hooked.rig.connect().await;
    client.send(PANIC).await;
    assert_eq!(client.answer().await.expect("an answer").status, 500);
    let end = hooked.ended().await;
    assert_eq!((end.how, end.status), (EndedBy::Panicked, None));
    let mut client = hooked.rig.connect().await;
    client
        .send(b"GET /panic-late HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let end = hooked.ended().await;
    assert_eq!((end.how, end.bytes), (EndedBy::Panicked, 4));
    let mut peer = Peer::greet(hooked.rig.addr, &[]).await;
    let _ = peer.ask("/panic").await;
    assert_eq!(hooked.ended().await.how, EndedBy::Panicked);
    hooked.assert_told_once();
}

#[tokio::test]
async fn what_the_drain_ends_is_cut_and_phases_are_told() {
    let short = plan(Window::NONE).with_grace(Duration::from_secs(3));
    let mut hooked = Hooked::new(short.expect("a plan"), |hooks| hooks).await;
    let mut stuck = hooked.rig.connect().await;
    stuck.send(NEVER).await;
    hooked.rig.control.entered().await;
    let mut slow = hooked.rig.connect().await;
    slow.send(SLOW).await;
    hooked.rig.control.entered().await;
    hooked.rig.terminate().await;
    hooked.rig.window_end().await;
    hooked.rig.control.release.add_permits(1);
    slow.served().await;
    let end = hooked.ended().await;
    assert_eq!(
        (end.how, end.began_in),
        (EndedBy::Completed, Phase::Running)
    );
    assert!(end.ended_in.is_leaving(), "{end:?}");
    let end = hooked.ended().await;
    assert_eq!(
        (end.how, end.status, end.began_in),
        (EndedBy::Cut, None, Phase::Running)
    );
    assert!(matches!(hooked.rig.outcome().await, Outcome::Forced { .. }));
    hooked.assert_told_once();
}

#[tokio::test]
async fn a_handler_adds_hooks_of_its_own_up_to_a_bound() {
    let kept: Arc<std::sync::Mutex<Option<OnEnd>>> = Arc::default();
    let mut hooked = Hooked::start().await;
    let mut client = hooked.rig.connect().await;
    client.send(b"GET /own HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.served().await.text(), "64 Err(TooMany)");
    hooked.ended().await;

    // Whoever keeps the handle for too long is told.
    let life = hooked.rig.life.clone();
    let keeping = Arc::clone(&kept);
    let (ran, mut runs) = unbounded_channel();
    let handler = get(async move |Extension(on_end): Extension<OnEnd>| {
        on_end
            .run(move |end| _ = ran.send(end.how))
            .expect("room for one");
        *keeping.lock().expect("not poisoned") = Some(on_end);
    });
    let app = axum::Router::new()
        .route("/", handler)
        .layer(RequestHooks::new(&life));
    let mut app = app.into_service::<axum::body::Body>();
    let request = axum::http::Request::new(axum::body::Body::empty());
    let response = tower_service::Service::call(&mut app, request)
        .await
        .expect("infallible");
    assert!(
        runs.try_recv().is_err(),
        "it is not over while its body is there"
    );
    drop(response);
    assert_eq!(runs.recv().await, Some(EndedBy::Completed));
    assert!(runs.try_recv().is_err(), "exactly once");
    let on_end = kept.lock().expect("not poisoned").take().expect("kept");
    assert_eq!(on_end.run(|_| panic!("never")), Err(HookRefused::Over));
}

#[tokio::test]
async fn a_hook_that_panics_disturbs_nobody_not_even_another_panic() {
    let after = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&after);
    let mut hooked = Hooked::new(plan(Window::NONE), |hooks| {
        hooks
            .on_end(|_| panic!("in a hook, on purpose"))
            .on_end(move |_| _ = counting.fetch_add(1, Ordering::SeqCst))
    })
    .await;
    let mut client = hooked.rig.connect().await;
    client.send(GET).await;
    assert_eq!(client.served().await.text(), "ok");
    assert_eq!(hooked.ended().await.how, EndedBy::Completed);
    client.send(PANIC).await;
    client.answer().await.expect("an answer");
    assert_eq!(hooked.ended().await.how, EndedBy::Panicked);
    hooked.rig.terminate().await;
    assert_eq!(hooked.rig.outcome().await, Outcome::Drained);
    assert_eq!(after.load(Ordering::SeqCst), 2);
    let report = hooked.rig.life.report().expect("over");
    let noted = |what: &str| report.events.iter().any(|event| event.what == what);
    assert!(
        noted("a hook at the end of GET / panicked"),
        "{:?}",
        report.events
    );
    assert!(noted("a hook at the end of GET /panic panicked"));
}

/// A rig whose requests leave work behind that takes until it is let go.
async fn with_work(plan: Plan, go: Arc<tokio::sync::Semaphore>, done: Arc<AtomicUsize>) -> Hooked {
    let life = Lifecycle::embedded(plan).expect("a lifecycle");
    let receipts = life.participate("receipts");
    Hooked::on(life, |hooks| {
        let hook = move |_: RequestEnd| {
            let (go, done) = (Arc::clone(&go), Arc::clone(&done));
            async move {
                go.acquire().await.expect("open").forget();
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        hooks.on_end_async(receipts, hook).expect("a free name")
    })
    .await
}

#[tokio::test]
async fn inv_10_the_end_waits_for_what_hooks_have_still_to_do() {
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let hooked = with_work(plan(Window::NONE), Arc::clone(&go), Arc::clone(&done)).await;
    let mut client = hooked.rig.connect().await;
    for _ in 0..3 {
        client.send(GET).await;
        client.served().await;
    }
    hooked.rig.terminate().await;
    let draining = async {
        while hooked.rig.life.phase() != Phase::Stopped {
            tokio::task::yield_now().await;
        }
    };
    soon("Stopped", draining).await;
    tokio::time::sleep(millis(50)).await;
    assert!(hooked.rig.life.report().is_none(), "three are at work");
    go.add_permits(3);
    assert_eq!(hooked.rig.outcome().await, Outcome::Drained);
    assert_eq!(done.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn inv_10_work_that_never_ends_is_given_up_with_the_reserve() {
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let short = plan(Window::NONE).with_grace(Duration::from_secs(3));
    let hooked = with_work(short.expect("a plan"), go, Arc::clone(&done)).await;
    let mut client = hooked.rig.connect().await;
    client.send(GET).await;
    client.served().await;
    hooked.rig.terminate().await;
    assert!(matches!(hooked.rig.outcome().await, Outcome::Forced { .. }));
    assert_eq!(done.load(Ordering::SeqCst), 0);
    let report = hooked.rig.life.report().expect("over");
    let json = report.to_json();
    assert!(
        json.contains("receipts") && json.contains("overran"),
        "{json}"
    );
}

#[tokio::test]
async fn an_asynchronous_hook_that_panics_is_noted_and_lets_go() {
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let receipts = life.participate("receipts");
    let hooked = Hooked::on(life, |hooks| {
        let hook = async |end: RequestEnd| assert!(end.bytes > 9_000, "in a hook, on purpose");
        hooks.on_end_async(receipts, hook).expect("a free name")
    })
    .await;
    let mut client = hooked.rig.connect().await;
    client.send(GET).await;
    client.served().await;
    hooked.rig.terminate().await;
    assert_eq!(hooked.rig.outcome().await, Outcome::Drained);
    let report = hooked.rig.life.report().expect("over");
    let noted = |event: &lameduck::Event| event.what == "a hook at the end of GET / panicked";
    assert!(report.events.iter().any(noted), "{:?}", report.events);
}
