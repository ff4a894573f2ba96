//! The tower layers: nothing is reserved before a call, nothing is lost after it, and what is answered by whom.

use std::convert::Infallible;
use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Full, StreamBody};
use lameduck_breaker::{
    BreakCalls, BreakRequests, Breaker, Breakers, CallError, Settings, State, Until, Verdict,
};
use tokio::time::{Instant, advance};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

/// Opens at the first failure, for a second; by tokio's clock, which stands still until it is moved.
fn settings() -> Settings {
    let start = Instant::now();
    Settings::new()
        .failures_in_a_row(1)
        .open_for(Duration::from_secs(1))
        .jitter(0.0)
        .clock(move || start.elapsed())
}

fn breaker() -> Breaker {
    Breaker::new("tested", settings()).expect("settings that fit")
}

async fn open(breaker: &Breaker) {
    breaker.acquire().expect("closed").failure();
    assert_eq!(breaker.state(), State::Open);
}

/// Does what its request says.
async fn does(request: &'static str) -> Result<&'static str, &'static str> {
    match request {
        "fails" => Err("failed"),
        "hangs" => pending().await,
        "panics" => panic!("as it was told"),
        "is slow" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok("at last")
        }
        _ => Ok("done"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_learns_why_and_for_how_long() {
    let breaker = breaker();
    let mut client = BreakCalls::new(&breaker).layer(service_fn(does));
    assert_eq!(
        client.ready().await.expect("ready").call("works").await,
        Ok("done")
    );
    let failed = client.ready().await.expect("ready").call("fails").await;
    assert_eq!(failed, Err(CallError::Failed("failed")));
    advance(Duration::from_millis(300)).await;
    let rejected = client.ready().await.expect("ready").call("works").await;
    let Err(CallError::Rejected(rejected)) = rejected else {
        panic!("{rejected:?}");
    };
    assert_eq!(rejected.retry_after, Duration::from_millis(700));
    advance(rejected.retry_after).await;
    assert_eq!(
        client.ready().await.expect("ready").call("works").await,
        Ok("done")
    );
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn readiness_reserves_no_probe_and_a_dropped_call_gives_its_own_back() {
    let breaker = breaker();
    open(&breaker).await;
    advance(Duration::from_secs(1)).await;
    let layer = BreakCalls::new(&breaker);
    // Many get ready and never call.
    for _ in 0..10 {
        let mut idle = layer.layer(service_fn(does));
        idle.ready().await.expect("ready");
    }
    assert_eq!((breaker.state(), breaker.probes_out()), (State::Open, 0));
    let mut client = layer.layer(service_fn(does));
    let hangs = client.ready().await.expect("ready").call("hangs");
    {
        let mut hangs = pin!(hangs);
        let polled = poll_fn(|cx| Poll::Ready(hangs.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        assert_eq!(breaker.probes_out(), 1);
        let other = client.ready().await.expect("ready").call("works").await;
        assert!(matches!(other, Err(CallError::Rejected(_))), "{other:?}");
    }
    assert_eq!(
        (breaker.state(), breaker.probes_out()),
        (State::HalfOpen, 0)
    );
    assert_eq!(breaker.figures().abandoned, 1);
    // A call that was never polled, too.
    drop(client.ready().await.expect("ready").call("works"));
    assert_eq!(
        client.ready().await.expect("ready").call("works").await,
        Ok("done")
    );
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_given_up_by_those_who_are_refused() {
    let breaker = breaker();
    open(&breaker).await;
    advance(Duration::from_secs(1)).await;
    let mut client = BreakCalls::new(&breaker).layer(service_fn(does));
    let hangs = client.ready().await.expect("ready").call("hangs");
    for (passes, state) in [(0, State::HalfOpen), (30, State::Open)] {
        advance(Duration::from_secs(passes)).await;
        let refused = client.ready().await.expect("ready").call("works").await;
        let Err(CallError::Rejected(rejected)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((rejected.state, breaker.state()), (state, state));
    }
    advance(Duration::from_secs(2)).await;
    let works = client.ready().await.expect("ready").call("works").await;
    assert_eq!(works, Ok("done"));
    // It comes back when nobody waits for it any more.
    drop(hangs);
    assert_eq!((breaker.state(), breaker.probes_out()), (State::Closed, 0));
}

/// Ready once it is told so; it must never be called before.
#[derive(Clone)]
struct Busy {
    ready: Arc<AtomicU32>,
    was_ready: bool,
}

impl Service<&'static str> for Busy {
    type Response = &'static str;
    type Error = &'static str;
    type Future = std::future::Ready<Result<&'static str, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        match self.ready.load(Ordering::Relaxed) {
            0 => Poll::Pending,
            1 => {
                self.was_ready = true;
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(Err("cannot connect")),
        }
    }

    fn call(&mut self, _: &'static str) -> Self::Future {
        assert!(std::mem::take(&mut self.was_ready), "called unready");
        ready(Ok("done"))
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_answers_for_a_service_that_is_not_ready_and_never_calls_it() {
    let breaker = breaker();
    let told = Arc::new(AtomicU32::new(0));
    let mut client = BreakCalls::new(&breaker).layer(Busy {
        ready: Arc::clone(&told),
        was_ready: false,
    });
    let poll = |client: &mut _| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Service::<&'static str>::poll_ready(client, &mut cx)
    };
    assert!(poll(&mut client).is_pending(), "closed: it waits");
    open(&breaker).await;
    assert!(poll(&mut client).is_ready());
    // Meanwhile it became time to probe, but nobody has asked the service.
    advance(Duration::from_secs(1)).await;
    let refused = client.call("works").await;
    assert!(
        matches!(refused, Err(CallError::Rejected(_))),
        "{refused:?}"
    );
    assert_eq!(breaker.state(), State::Open);
    assert!(poll(&mut client).is_pending(), "it would probe, and waits");
    told.store(1, Ordering::Relaxed);
    assert_eq!(poll(&mut client), Poll::Ready(Ok(())));
    assert_eq!(client.call("works").await, Ok("done"));
    assert_eq!(breaker.state(), State::Closed);
    // A client that cannot connect says so before any call.
    told.store(2, Ordering::Relaxed);
    assert_eq!(
        poll(&mut client),
        Poll::Ready(Err(CallError::Failed("cannot connect")))
    );
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_also_when_it_is_caught_and_the_rest_dropped_later() {
    for drops_later in [false, true] {
        let breaker = breaker();
        let mut client = BreakCalls::new(&breaker).layer(service_fn(does));
        let call = client.ready().await.expect("ready").call("panics");
        let mut call = Box::pin(call);
        let polls = std::panic::AssertUnwindSafe(|| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            _ = call.as_mut().poll(&mut cx);
        });
        assert!(std::panic::catch_unwind(polls).is_err());
        if drops_later {
            tokio::task::yield_now().await;
        }
        assert_eq!(breaker.state(), State::Closed);
        drop(call);
        assert_eq!(breaker.state(), State::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_because_something_else_panics_counts_as_nothing() {
    let breaker = breaker();
    let mut client = BreakCalls::new(&breaker).layer(service_fn(does));
    let by_layer = client.ready().await.expect("ready").call("hangs");
    let by_hand = breaker.run_async(does("hangs"));
    let unwinds = std::panic::AssertUnwindSafe(|| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut by_layer, mut by_hand) = (Box::pin(by_layer), Box::pin(by_hand));
        assert!(by_layer.as_mut().poll(&mut cx).is_pending());
        assert!(by_hand.as_mut().poll(&mut cx).is_pending());
        panic!("something else");
    });
    assert!(std::panic::catch_unwind(unwinds).is_err());
    let figures = breaker.figures();
    assert_eq!((figures.failures, figures.abandoned), (0, 2));
    assert_eq!(breaker.state(), State::Closed);
    // Its own panic is a failure as ever.
    let panics = std::panic::AssertUnwindSafe(|| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        _ = Box::pin(breaker.run_async(does("panics")))
            .as_mut()
            .poll(&mut cx);
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_and_a_slow_probe_has_failed() {
    let settings = settings()
        .minimum_calls(2)
        .slow_calls(Duration::from_secs(2), 1.0);
    let breaker = Breaker::new("slow", settings).expect("settings that fit");
    let mut client = BreakCalls::new(&breaker).layer(service_fn(does));
    for _ in 0..2 {
        let call = client.ready().await.expect("ready").call("is slow");
        assert_eq!(call.await, Ok("at last"));
    }
    assert_eq!(breaker.state(), State::Open);
    advance(Duration::from_secs(1)).await;
    let probe = client.ready().await.expect("ready").call("is slow");
    assert_eq!(probe.await, Ok("at last"));
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.figures().slow, 3);
    let left = breaker.probes_in().expect("open");
    assert_eq!(left, Duration::from_secs(2), "twice as long");
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_and_what_has_none_is_let_through() {
    let keys = Breakers::<String>::new("keys", settings()).expect("settings that fit");
    let chooses = keys.clone();
    let layer =
        BreakCalls::by(move |request: &&'static str| chooses.of(request.split_once(' ')?.0))
            .classify(|answer: Result<&&str, &&str>| match answer {
                Ok(_) => Verdict::Success,
                Err(_) => Verdict::Failure,
            });
    let fails = service_fn(async |_: &'static str| Err::<&str, _>("failed"));
    let mut client = layer.layer(fails);
    for (request, is_called) in [
        ("a 1", true),
        ("a 2", false),
        ("b 1", true),
        ("keyless", true),
        ("keyless", true),
        ("b 2", false),
    ] {
        let answer = client.ready().await.expect("ready").call(request).await;
        let was_called = matches!(answer, Err(CallError::Failed(_)));
        assert_eq!(was_called, is_called, "{request}: {answer:?}");
    }
    assert_eq!(keys.len(), 2);
}

/// A response with this status and body.
fn answer<B: Body>(status: u16, body: B) -> Response<B> {
    let response = Response::builder().status(status).body(body);
    response.expect("a response")
}

/// Frames, one after the other; then, for ever, nothing, if it is not to end.
fn stream(
    frames: Vec<Result<Frame<Bytes>, &'static str>>,
) -> impl Body<Data = Bytes, Error = &'static str> {
    let mut frames = frames.into_iter();
    StreamBody::new(Frames(Box::new(move || frames.next())))
}

/// A body that says how long it is.
struct OfLength<B>(Pin<Box<B>>, u64);

impl<B: Body> Body for OfLength<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.0.as_mut().poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1)
    }
}

type OneFrame = Result<Frame<Bytes>, &'static str>;

struct Frames(Box<dyn FnMut() -> Option<OneFrame> + Send>);

impl futures_core::Stream for Frames {
    type Item = OneFrame;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready((self.0)())
    }
}

#[tokio::test(start_paused = true)]
async fn by_status_and_grpc_status_and_nothing_else() {
    for (status, grpc, is_failure) in [
        (200, None, false),
        (404, None, false),
        (429, None, false),
        (500, None, true),
        (503, None, true),
        (504, None, true),
        (200, Some("0"), false),
        (200, Some("5"), false),
        (200, Some("14"), true),
        (200, Some("13"), true),
    ] {
        let breaker = breaker();
        let service = service_fn(move |_: Request<()>| {
            let mut response = answer(status, Full::new(Bytes::new()));
            if let Some(grpc) = grpc {
                let grpc = grpc.parse().expect("a value");
                response.headers_mut().insert("grpc-status", grpc);
            }
            ready(Ok::<_, Infallible>(response))
        });
        let service = BreakRequests::new(&breaker).layer(service);
        service.oneshot(Request::new(())).await.expect("an answer");
        let is_open = breaker.state() == State::Open;
        assert_eq!(is_open, is_failure, "{status} {grpc:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_to_come_again_and_the_handler_is_left_alone() {
    let breaker = breaker();
    let calls = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&calls);
    let handler = service_fn(move |_: Request<()>| {
        counts.fetch_add(1, Ordering::Relaxed);
        ready(Ok::<_, Infallible>(answer(200, Full::new(Bytes::new()))))
    });
    open(&breaker).await;
    let plain = BreakRequests::new(&breaker);
    let own = plain.clone().fallback(|rejected| {
        let body = Bytes::from(rejected.label.name.to_string());
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response
    });
    let json = plain.clone().json(r#"{"items":[]}"#);
    advance(Duration::from_millis(1)).await;
    for (layer, status, body) in [
        (plain, 503, r#"{"error":"unavailable","retry_after":1}"#),
        (own, 429, "tested"),
        (json, 503, r#"{"items":[]}"#),
    ] {
        let refused = layer.layer(handler.clone()).oneshot(Request::new(()));
        let refused = refused.await.expect("an answer");
        assert_eq!(refused.status(), status);
        assert_eq!(refused.headers()["retry-after"], "1");
        if status == 503 {
            assert_eq!(refused.headers()["content-type"], "application/json");
            assert_eq!(refused.headers()["cache-control"], "no-store");
        }
        assert!(!refused.body().is_end_stream());
        assert_eq!(refused.body().size_hint().exact(), Some(body.len() as u64));
        let read = refused.into_body().collect().await.expect("a body");
        assert_eq!(read.to_bytes(), body);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(breaker.figures().rejected, 3);
}

#[tokio::test(start_paused = true)]
async fn a_body_counts_to_its_end_where_that_is_wanted() {
    let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
    let trailers = |status: &'static str| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().expect("a value"));
        Ok(Frame::trailers(trailers))
    };
    let broken = || vec![data("some"), Err("broke")];
    for (until, frames, is_open) in [
        (Until::HeadIsOut, broken(), false),
        (Until::BodyEnds, broken(), true),
        (Until::BodyEnds, vec![data("a"), data("b")], false),
        (Until::BodyEnds, vec![data("a"), trailers("0")], false),
        (Until::BodyEnds, vec![data("a"), trailers("14")], true),
    ] {
        let breaker = breaker();
        let frames = std::sync::Mutex::new(Some(frames));
        let service = service_fn(|_: Request<()>| {
            let frames = frames.lock().expect("not poisoned").take();
            ready(Ok::<_, Infallible>(answer(
                200,
                stream(frames.expect("one call")),
            )))
        });
        let service = BreakRequests::new(&breaker).until(until).layer(service);
        let response = service.oneshot(Request::new(())).await.expect("a head");
        assert_eq!(
            breaker.figures().calls,
            u64::from(until == Until::HeadIsOut)
        );
        _ = response.into_body().collect().await;
        assert_eq!(breaker.figures().calls, 1);
        assert_eq!(breaker.state() == State::Open, is_open);
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_are_heard_behind_a_body_of_known_length_and_not_waited_for() {
    let data = || Ok(Frame::data(Bytes::from_static(b"a")));
    let trailers = |status: &'static str| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().expect("a value"));
        Ok(Frame::trailers(trailers))
    };
    // The frames, how many of them somebody asks for, and what comes of it.
    for (frames, asked, failed) in [
        (vec![trailers("14")], 1, true),
        (vec![data(), trailers("14")], 2, true),
        (vec![data(), trailers("0")], 2, false),
        (vec![data(), trailers("14")], 1, false),
        (vec![], 0, false),
        (vec![data(), data()], 2, false),
    ] {
        let breaker = breaker();
        let length = frames
            .iter()
            .filter(|frame| frame.as_ref().is_ok_and(Frame::is_data))
            .count();
        let body = OfLength(Box::pin(stream(frames)), length as u64);
        let body = std::sync::Mutex::new(Some(body));
        let service = service_fn(|_: Request<()>| {
            let body = body.lock().expect("not poisoned").take();
            ready(Ok::<_, Infallible>(answer(200, body.expect("one call"))))
        });
        let layer = BreakRequests::new(&breaker).until(Until::BodyEnds);
        let response = layer.layer(service).oneshot(Request::new(()));
        let mut body = response.await.expect("a head").into_body();
        for _ in 0..asked {
            body.frame().await.expect("a frame").expect("no error");
        }
        drop(body);
        let figures = breaker.figures();
        let outcome = (figures.calls, figures.failures, figures.abandoned);
        assert_eq!(outcome, (1, u64::from(failed), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_keeps_its_client_waiting_is_slow_and_one_whose_client_does_not_read_is_not() {
    for (takes, client_takes, is_slow) in [(0, 30, false), (1, 30, false), (2, 0, true)] {
        let settings = settings()
            .minimum_calls(1)
            .slow_calls(Duration::from_secs(3), 1.0);
        let breaker = Breaker::new("slow", settings).expect("settings that fit");
        // Two frames, each of which takes so long, and no more.
        let service = service_fn(|_: Request<()>| {
            let (send, body) = Channel::<Bytes, Infallible>::new(1);
            tokio::spawn(sends(send, Duration::from_secs(takes)));
            ready(Ok::<_, Infallible>(answer(200, body)))
        });
        let layer = BreakRequests::new(&breaker).until(Until::BodyEnds);
        let response = layer.layer(service).oneshot(Request::new(()));
        let mut body = response.await.expect("a head").into_body();
        for _ in 0..2 {
            advance(Duration::from_secs(client_takes)).await;
            body.frame().await.expect("a frame").expect("data");
        }
        advance(Duration::from_secs(client_takes)).await;
        assert!(body.frame().await.is_none());
        let slow = breaker.figures().slow;
        assert_eq!(slow, u64::from(is_slow), "{takes} s, {client_takes} s");
    }
}

async fn sends(mut send: Sender<Bytes, Infallible>, each_after: Duration) {
    for _ in 0..2 {
        tokio::time::sleep(each_after).await;
        _ = send.send_data(Bytes::from_static(b"a")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_its_client_does_not_want_counts_as_nothing_and_one_of_known_length_ends_there()
{
    let breaker = breaker();
    open(&breaker).await;
    advance(Duration::from_secs(1)).await;
    let layer = BreakRequests::new(&breaker).until(Until::BodyEnds);
    let endless = service_fn(|_: Request<()>| {
        let frames = Frames(Box::new(|| Some(Ok(Frame::data(Bytes::from("more"))))));
        ready(Ok::<_, Infallible>(Response::new(StreamBody::new(frames))))
    });
    let response = layer.layer(endless).oneshot(Request::new(()));
    let mut body = response.await.expect("a head").into_body();
    body.frame().await.expect("a frame").expect("data");
    assert_eq!(breaker.probes_out(), 1, "a probe takes as long as its body");
    drop(body);
    assert_eq!(
        (breaker.state(), breaker.probes_out()),
        (State::HalfOpen, 0)
    );
    // A server asks for no body where there is none, and drops it: that is a success.
    let streams = |status: u16| {
        service_fn(move |_: Request<()>| {
            let frames = stream(vec![Ok(Frame::data(Bytes::from("unread")))]);
            ready(Ok::<_, Infallible>(answer(status, frames)))
        })
    };
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)] {
        let before = breaker.figures();
        let mut request = Request::new(());
        *request.method_mut() = method;
        let response = layer.layer(streams(status)).oneshot(request);
        drop(response.await.expect("a head"));
        assert_eq!(breaker.figures().calls, before.calls + 1, "{status}");
        assert_eq!(breaker.figures().abandoned, before.abandoned, "{status}");
    }
    let whole = service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(answer(
            200,
            Full::new(Bytes::from("all")),
        )))
    });
    let response = layer.layer(whole).oneshot(Request::new(()));
    let mut body = response.await.expect("a head").into_body();
    // A server stops where the length is reached.
    let before = breaker.figures().calls;
    body.frame().await.expect("a frame").expect("data");
    assert_eq!(breaker.figures().calls, before + 1);
    assert_eq!(breaker.state(), State::Closed);
}
