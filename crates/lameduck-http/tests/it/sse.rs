//! H1-14: event streams end between two events, over both protocols.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use bytes::Bytes;
use lameduck::{Count, Lifecycle, Outcome, Plan, Window};
use lameduck_http::{EndStreams, Ending, Limits};

use crate::reader::{BOTH, Reader};
use crate::support::{Client, Control, Ended, Rig, millis, plan, soon, window};

const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream; charset=utf-8")];

/// No pause for the application's own last words.
fn at_once() -> Limits {
    let mut limits = Limits::default();
    limits.settle = Duration::ZERO;
    limits
}

/// A window that outlasts the test, in which everybody is steered at T.
fn open_window() -> Plan {
    plan(window(0, 20_000, 20_000))
}

async fn events(State(control): State<Control>) -> Response {
    (EVENTS, control.body().await).into_response()
}

async fn opted_out(State(control): State<Control>) -> Response {
    (EVENTS, Extension(Ending::Never), control.body().await).into_response()
}

async fn compressed(State(control): State<Control>) -> Response {
    let encoding = [("content-encoding", "gzip")];
    (EVENTS, encoding, control.body().await).into_response()
}

async fn start(plan: Plan, limits: Limits, ending: Ending) -> Rig {
    let control = Control::new();
    let never = EndStreams::new(Ending::Never);
    let app = Router::new()
        .route("/events", any(events))
        .route("/opted-out", any(opted_out))
        .route("/left-alone", any(events).layer(never))
        .route("/compressed", any(compressed))
        .with_state(control.clone());
    let life = Lifecycle::embedded(plan).expect("a lifecycle");
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .limits(limits)
        .event_streams(ending)
        .await
        .expect("a server");
    Rig::running(life, server.local_addr().tcp().expect("tcp"), control).await
}

#[tokio::test]
async fn h1_14_a_silent_event_stream_is_woken_and_ended_in_its_turn() {
    for tongue in BOTH {
        let rig = start(open_window(), Limits::default(), Ending::default()).await;
        let chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/events").await;
        chunks.send("data: 1\n\n".into()).await.expect("a reader");
        reader.sees("data: 1").await;
        rig.terminate().await;
        assert_eq!(
            reader.rest().await.as_deref(),
            Ok("data: 1\n\n"),
            "{tongue:?}"
        );
        assert!(
            !rig.life.drain().is_closing(),
            "in its turn, not at the end"
        );
        assert_eq!(rig.count(Count::StreamEnded), 1);
        soon("the application's body is dropped", chunks.closed()).await;
    }
}

#[tokio::test]
async fn h1_14_half_an_event_is_completed_and_what_follows_it_is_left_out() {
    for tongue in BOTH {
        let rig = start(plan(Window::NONE), at_once(), Ending::default()).await;
        let chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/events").await;
        chunks
            .send("data: 1\r\n\r\ndata: 2".into())
            .await
            .expect("a reader");
        reader.sees("data: 2").await;
        rig.terminate().await;
        rig.window_end().await;
        for piece in ["\r", "\n", "data: 2b\r\n\r\ndata: 3\r\n\r\nda"] {
            chunks.send(piece.into()).await.expect("a reader");
        }
        assert_eq!(
            reader.rest().await.as_deref(),
            Ok("data: 1\r\n\r\ndata: 2\r\ndata: 2b\r\n\r\ndata: 3\r\n\r\n"),
            "{tongue:?}"
        );
        drop(reader);
        assert_eq!(rig.outcome().await, Outcome::Drained);
    }
}

#[tokio::test]
async fn h1_14_half_an_event_that_never_ends_is_cut_and_does_not_hold_the_exit() {
    for tongue in BOTH {
        let mut limits = at_once();
        limits.stall_draining = millis(100);
        let rig = start(plan(Window::NONE), limits, Ending::default()).await;
        let chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/events").await;
        chunks
            .send("data: 1\n\ndata: 2\n".into())
            .await
            .expect("a reader");
        reader.sees("data: 2").await;
        rig.terminate().await;
        assert!(reader.rest().await.is_err(), "{tongue:?}");
        assert_eq!(rig.outcome().await, Outcome::Drained);
        assert_eq!(rig.count(Count::StallExpired), 1);
        assert_eq!(rig.count(Count::StreamEnded), 0);
    }
}

#[tokio::test]
async fn h1_14_half_an_event_in_http_1_0_is_reset_when_it_is_cut() {
    let mut limits = at_once();
    limits.stall_draining = millis(100);
    let rig = start(plan(Window::NONE), limits, Ending::default()).await;
    let chunks = rig.control.stream().await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /events HTTP/1.0\r\nhost: a\r\n\r\n")
        .await;
    chunks.send("data: 1\n".into()).await.expect("a reader");
    client.seen(b"data: 1").await;
    rig.terminate().await;
    let answer = client.answer().await.expect("a head");
    assert!(!answer.whole, "{answer:?}");
    assert_eq!(client.ended, Some(Ended::Reset));
}

#[tokio::test]
async fn h1_14_an_application_has_a_moment_for_its_own_last_words() {
    for tongue in BOTH {
        let mut limits = Limits::default();
        limits.settle = Duration::from_secs(60);
        let rig = start(open_window(), limits, Ending::default()).await;
        let chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/events").await;
        rig.control.entered().await;
        rig.terminate().await;
        chunks
            .send("event: bye\ndata: -\n\n".into())
            .await
            .expect("a reader");
        drop(chunks);
        assert_eq!(
            reader.rest().await.as_deref(),
            Ok("event: bye\ndata: -\n\n"),
            "{tongue:?}"
        );
        assert_eq!(rig.count(Count::StreamEnded), 0);
    }
}

#[tokio::test]
async fn h1_14_a_body_that_never_waits_is_ended_too() {
    struct Busy;
    impl http_body::Body for Busy {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            let event = Bytes::from_static(b"data: 1\n\ndata");
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(event))))
        }
    }
    async fn busy(_request: http::Request<lameduck_http::Body>) -> Response {
        (EVENTS, axum::body::Body::new(Busy)).into_response()
    }
    for tongue in BOTH {
        let life = Lifecycle::embedded(open_window()).expect("a lifecycle");
        let app = lameduck_http::service_fn(|request| async {
            Ok::<_, std::convert::Infallible>(busy(request).await)
        });
        let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
            .limits(at_once())
            .await
            .expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        let rig = Rig::running(life, addr, Control::new()).await;
        let mut reader = Reader::ask(tongue, rig.addr, "/").await;
        reader.sees("data: 1").await;
        rig.terminate().await;
        if let Reader::New { peer, stream, .. } = &mut reader {
            // More than the socket and the server hold: what was given before T is read first.
            peer.widen(*stream, 1 << 30).await;
            peer.widen(0, 1 << 30).await;
        }
        let body = reader.rest().await.expect("whole");
        assert!(body.ends_with("1\n\n"), "{tongue:?}");
    }
}

#[tokio::test]
async fn the_client_is_told_when_to_come_back() {
    for tongue in BOTH {
        let retry = Some(millis(1500));
        let ending = Ending::AtEvent { retry };
        let rig = start(open_window(), at_once(), ending).await;
        let chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/events").await;
        chunks
            .send(": hello\ndata: 1\n\n:\n".into())
            .await
            .expect("a reader");
        reader.sees("data: 1").await;
        rig.terminate().await;
        assert_eq!(
            reader.rest().await.as_deref(),
            Ok(": hello\ndata: 1\n\n:\nretry: 1500\n\n"),
            "{tongue:?}"
        );
    }
}

#[tokio::test]
async fn routes_that_opt_out_and_answers_to_posts_go_on_to_their_own_end() {
    for tongue in BOTH {
        for (method, path) in [
            ("GET", "/opted-out"),
            ("GET", "/left-alone"),
            ("GET", "/compressed"),
            ("POST", "/events"),
        ] {
            let rig = start(plan(Window::NONE), at_once(), Ending::default()).await;
            let chunks = rig.control.stream().await;
            let mut reader = Reader::with(tongue, rig.addr, method, path).await;
            chunks.send("data: 1\n\n".into()).await.expect("a reader");
            reader.sees("data: 1").await;
            rig.terminate().await;
            rig.window_end().await;
            chunks.send("data: 2\n\n".into()).await.expect("a reader");
            reader.sees("data: 2").await;
            drop(chunks);
            assert_eq!(
                reader.rest().await.as_deref(),
                Ok("data: 1\n\ndata: 2\n\n"),
                "{tongue:?} {method} {path}"
            );
            assert_eq!(rig.count(Count::StreamEnded), 0);
        }
    }
}

#[tokio::test]
async fn an_old_connection_ends_its_event_stream() {
    for tongue in BOTH {
        let mut limits = at_once();
        limits.age = Some(millis(200));
        let rig = start(open_window(), limits, Ending::default()).await;
        let _chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/events").await;
        assert_eq!(reader.rest().await.as_deref(), Ok(""), "{tongue:?}");
        assert!(!rig.life.drain().is_steering());
    }
}

/// What an `EventSource` remembers (WHATWG HTML §9.2.6).
#[derive(Default)]
struct Source {
    last_id: String,
    retry: Option<Duration>,
    data: Vec<String>,
}

impl Source {
    fn read(&mut self, text: &str) {
        let (mut id, mut data) = (self.last_id.clone(), None);
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("id", value)) => id = value.to_owned(),
                Some(("data", value)) => data = Some(value.to_owned()),
                Some(("retry", value)) => {
                    self.retry = Some(millis(value.parse().expect("a number")));
                }
                _ if line.is_empty() => {
                    self.last_id.clone_from(&id);
                    self.data.extend(data.take());
                }
                _ => panic!("unexpected: {line:?}"),
            }
        }
        assert_eq!(data, None, "half an event");
    }
}

/// Counts from where its reader was; every event has its number as id.
async fn count_on(headers: http::HeaderMap) -> Response {
    let last = headers.get("last-event-id");
    let last = last.map_or(0, |id| {
        id.to_str().expect("text").parse().expect("a number")
    });
    let events = Counting {
        next: last + 1,
        paused: false,
    };
    (EVENTS, axum::body::Body::new(events)).into_response()
}

struct Counting {
    next: u32,
    paused: bool,
}

impl http_body::Body for Counting {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        // Every other time, so that its reader keeps up.
        self.paused = !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        let number = self.next;
        self.next += 1;
        // The end of an event comes with the beginning of the next.
        let text = match number {
            1 => "id: 1\ndata: 1\n".to_owned(),
            _ => format!("\nid: {number}\ndata: {number}\n"),
        };
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(text.into()))))
    }
}

#[tokio::test]
async fn an_event_source_that_comes_back_elsewhere_misses_nothing() {
    async fn instance() -> Rig {
        let life = Lifecycle::embedded(open_window()).expect("a lifecycle");
        let app = Router::new().fallback(count_on);
        let retry = Some(millis(20));
        let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
            .event_streams(Ending::AtEvent { retry })
            .limits(at_once())
            .await
            .expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        Rig::running(life, addr, Control::new()).await
    }
    let (first, second) = (instance().await, instance().await);
    let mut source = Source::default();
    for rig in [&first, &second] {
        let mut client = Client::connect(rig.addr).await;
        let id = &source.last_id;
        let head = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nlast-event-id: {}\r\n\r\n",
            if id.is_empty() { "0" } else { id }
        );
        client.send(head.as_bytes()).await;
        client.seen(b"data: ").await;
        rig.terminate().await;
        let answer = client.served().await;
        source.read(answer.text());
        assert_eq!(source.retry, Some(millis(20)));
    }
    let expected: Vec<_> = (1..=source.data.len())
        .map(|number| number.to_string())
        .collect();
    assert_eq!(source.data, expected, "nothing lost, nothing twice");
    assert_eq!(source.data.len().to_string(), source.last_id);
}
