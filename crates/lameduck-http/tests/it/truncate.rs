//! Responses that are cut on purpose: what their clients, their handlers and the report see.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use lameduck::{Count, Lifecycle, Outcome, Plan, Window};
use lameduck_http::{Cut, EndedBy, RequestHooks, Truncate, TruncatedBy, Truncation};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::frames::{CANCEL, DATA, Fate, HEADERS, Peer, RST_STREAM, served};
use crate::reader::{BOTH, Reader, Tongue};
use crate::support::{Control, Ended, Rig, app, millis, plan, soon, window};

const INTERNAL_ERROR: u32 = 2;

/// A service under the layer, and its hands on the requests that came to `/streams/…` and `/waits`.
struct Cutting {
    rig: Rig,
    layer: Truncate,
    truncations: UnboundedReceiver<Truncation>,
    ends: UnboundedReceiver<(EndedBy, Option<u16>)>,
}

impl Cutting {
    async fn new(plan: Plan, more: impl FnOnce(Truncate) -> Truncate) -> Self {
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let layer = more(Truncate::new(&life));
        let control = Control::new();
        let (given, truncations) = unbounded_channel();
        let (ended, ends) = unbounded_channel();
        let hooks = || {
            let ended = ended.clone();
            RequestHooks::new(&life).on_end(move |end| {
                let _ = ended.send((end.how, end.status.map(|status| status.as_u16())));
            })
        };
        let app = app(control.clone())
            .merge(streams(&control, given))
            .layer(layer.clone())
            // A route's, and everybody's.
            .layer(hooks())
            .layer(hooks());
        let server = lameduck_http::serve(&life, "127.0.0.1:0", app);
        let server = server.await.expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        Self {
            rig: Rig::running(life, addr, control).await,
            layer,
            truncations,
            ends,
        }
    }

    async fn start() -> Self {
        Self::new(plan(window(5_000, 5_000, 5_000)), |layer| layer).await
    }

    /// What the handler of the latest request was given.
    async fn truncation(&mut self) -> Truncation {
        let truncation = soon("a handler", self.truncations.recv()).await;
        truncation.expect("handlers are there")
    }

    /// How the next request ended that is over, for both layers of hooks.
    async fn ended(&mut self) -> (EndedBy, Option<u16>) {
        let inner = soon("the end of a request", self.ends.recv()).await;
        let outer = soon("the same", self.ends.recv()).await;
        assert_eq!(inner, outer, "the hooks within and around");
        inner.expect("hooks are there")
    }

    fn counts(&self) -> (u64, u64) {
        (
            self.rig.count(Count::Truncated),
            self.rig.count(Count::FallbackGiven),
        )
    }
}

fn streams(
    control: &Control,
    given: tokio::sync::mpsc::UnboundedSender<Truncation>,
) -> axum::Router {
    let typed = |fields: &'static [(&'static str, &'static str)]| {
        let (control, given) = (control.clone(), given.clone());
        get(async move |Extension(truncation): Extension<Truncation>| {
            let mut response = Response::new(control.body().await);
            for (name, value) in fields {
                let value = axum::http::HeaderValue::from_static(value);
                response.headers_mut().insert(*name, value);
            }
            let _ = given.send(truncation);
            response
        })
    };
    let giving = given.clone();
    let waits = get(async move |Extension(truncation): Extension<Truncation>| {
        let _ = giving.send(truncation);
        std::future::pending::<()>().await;
    });
    axum::Router::new()
        .route("/streams/plain", typed(&[]))
        .route("/streams/long", typed(&[("content-length", "10")]))
        .route(
            "/streams/events",
            typed(&[("content-type", "text/event-stream")]),
        )
        .route(
            "/streams/grpc",
            typed(&[("content-type", "application/grpc")]),
        )
        .route(
            "/streams/compressed",
            typed(&[
                ("content-type", "text/event-stream"),
                ("content-encoding", "gzip"),
            ]),
        )
        .route("/late", get(late))
        .route("/cuts", get(cuts_itself))
        .route("/call", get(call))
        .route("/waits", waits)
}

/// Answers at once, after the time for that.
async fn late() -> &'static str {
    std::thread::sleep(millis(60));
    "late"
}

async fn cuts_itself(Extension(truncation): Extension<Truncation>) -> &'static str {
    truncation.cut("no room");
    "never seen"
}

/// A call that is done, when somebody asks for its message after the time for that.
async fn call() -> Response {
    struct Call(u8);
    impl http_body::Body for Call {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            self.0 += 1;
            std::task::Poll::Ready(match self.0 {
                1 => {
                    std::thread::sleep(millis(60));
                    Some(Ok(http_body::Frame::data(message("done"))))
                }
                2 => {
                    let status = http::HeaderValue::from_static("0");
                    let name = http::HeaderName::from_static("grpc-status");
                    Some(Ok(http_body::Frame::trailers(http::HeaderMap::from_iter(
                        [(name, status)],
                    ))))
                }
                _ => None,
            })
        }
    }
    let mut response = Response::new(Body::new(Call(0)));
    let kind = axum::http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}

/// `14` and `4` under Huffman's code (RFC 7541, appendix B), with their lengths.
const UNAVAILABLE: &[u8] = b"\x82\x0b\x5f";
const DEADLINE_EXCEEDED: &[u8] = b"\x81\x6b";

fn says(block: &[u8], text: &[u8]) -> bool {
    block.windows(text.len()).any(|some| some == text)
}

fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&[0][..], &length, text.as_bytes()].concat().into()
}

#[tokio::test]
async fn before_its_head_a_request_that_takes_too_long_gets_the_fallback_and_its_handler_is_told() {
    for tongue in BOTH {
        let mut cutting = Cutting::new(plan(Window::NONE), |layer| layer.after(millis(50))).await;
        let truncation = match tongue {
            Tongue::Old => {
                let mut client = cutting.rig.connect().await;
                client.send(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n").await;
                let answer = client.answer().await.expect("an answer");
                let head = answer.head.to_ascii_lowercase();
                assert_eq!((answer.status, answer.whole), (503, true), "{answer:?}");
                assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
                assert!(head.contains("\r\ncontent-type: application/json\r\n"));
                let told = r#"{"error":"the response took too long","by":"overdue"}"#;
                assert_eq!(answer.text(), told);
                // The connection is as good as it was.
                client.send(crate::support::GET).await;
                client.served().await;
                cutting.truncation().await
            }
            Tongue::New => {
                let mut peer = Peer::greet(cutting.rig.addr, &[]).await;
                let stream = peer.ask("/waits").await;
                let head = peer.frame(HEADERS).await;
                assert_eq!(head.stream, stream);
                let body = peer.frame(DATA).await;
                assert!(body.payload.starts_with(br#"{"error":"#));
                let other = peer.ask("/").await;
                assert_eq!(peer.fate(other).await, served("ok"));
                cutting.truncation().await
            }
        };
        let told = soon("the handler is told", truncation.told()).await;
        assert_eq!(told.map(|cut| cut.by), Some(TruncatedBy::Overdue));
        assert!(truncation.is_cut());
        assert_eq!(
            cutting.ended().await,
            (EndedBy::Completed, Some(503)),
            "its client got a whole answer: {tongue:?}"
        );
        assert_eq!(cutting.counts(), (0, 1));
    }
}

#[tokio::test]
async fn a_service_chooses_its_fallback_and_grpc_has_its_own() {
    let mut cutting = Cutting::new(plan(Window::NONE), |layer| {
        layer.fallback(|cut: &Cut| {
            let mut response = http::Response::new(Bytes::from(format!("sorry: {cut}")));
            *response.status_mut() = http::StatusCode::GATEWAY_TIMEOUT;
            response
        })
    })
    .await;
    let mut client = cutting.rig.connect().await;
    client.send(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n").await;
    cutting.truncation().await.cut("no room");
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text()), (504, "sorry: no room"));
    client
        .send(b"GET /waits HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n\r\n")
        .await;
    cutting.truncation().await.cut("no room");
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert!(answer.head.contains("grpc-status: 14"), "{answer:?}");
    assert!(answer.head.contains("grpc-message: no room"), "{answer:?}");
    // Another protocol, though it is called almost the same.
    client
        .send(b"GET /waits HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web+proto\r\n\r\n")
        .await;
    cutting.truncation().await.cut("no room");
    assert_eq!(client.answer().await.expect("an answer").status, 504);
}

#[tokio::test]
async fn what_is_there_when_its_time_is_over_is_given_whole() {
    for tongue in BOTH {
        let mut cutting = Cutting::new(plan(Window::NONE), |layer| layer.after(millis(30))).await;
        let mut reader = Reader::ask(tongue, cutting.rig.addr, "/late").await;
        assert_eq!(reader.rest().await.as_deref(), Ok("late"), "{tongue:?}");
        assert_eq!(cutting.ended().await, (EndedBy::Completed, Some(200)));
        assert_eq!(cutting.counts(), (0, 0));
    }
    let cutting = Cutting::new(plan(Window::NONE), |layer| layer.after(millis(30))).await;
    let mut peer = Peer::greet(cutting.rig.addr, &[]).await;
    let stream = peer.ask("/call").await;
    assert_eq!(
        peer.fate(stream).await,
        Fate::Served(message("done").into())
    );
    assert_eq!(cutting.counts(), (0, 0));
}

#[tokio::test]
async fn a_handler_that_cuts_its_own_response_and_answers_gets_the_fallback() {
    let mut cutting = Cutting::start().await;
    let mut client = cutting.rig.connect().await;
    client.send(b"GET /cuts HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.whole), (503, true), "{answer:?}");
    assert!(answer.text().contains("no room"), "{answer:?}");
    assert_eq!(cutting.ended().await, (EndedBy::Completed, Some(503)));
    assert_eq!(cutting.counts(), (0, 1));
}

#[tokio::test]
async fn who_works_for_a_client_that_reads_nothing_is_told_in_time() {
    let mut cutting = Cutting::new(plan(Window::NONE), |layer| layer.after(millis(100))).await;
    let chunks = cutting.rig.control.stream().await;
    // No room for a byte of any stream (RFC 9113 §6.5.2).
    let mut peer = Peer::greet(cutting.rig.addr, &[(4, 0)]).await;
    let _stream = peer.ask("/streams/plain").await;
    chunks.send("abc".into()).await.expect("room for one");
    let truncation = cutting.truncation().await;
    let told = soon("the handler is told", truncation.told()).await;
    assert_eq!(told.map(|cut| cut.by), Some(TruncatedBy::Overdue));
    assert!(truncation.is_cut());
    let chunks = cutting.rig.control.stream().await;
    let _stream = peer.ask("/streams/plain").await;
    chunks.send("abc".into()).await.expect("room for one");
    let truncation = cutting.truncation().await;
    cutting.layer.cut_all("everything");
    let told = soon("the handler is told", truncation.told()).await;
    assert!(told.is_some_and(|cut| cut.by != TruncatedBy::DrainEnd));
}

#[tokio::test]
async fn a_body_under_way_never_looks_whole_and_what_is_still_written_goes_nowhere() {
    for (path, given) in [("/streams/plain", "abc"), ("/streams/long", "abc")] {
        for tongue in BOTH {
            let mut cutting = Cutting::start().await;
            let chunks = cutting.rig.control.stream().await;
            let mut reader = Reader::ask(tongue, cutting.rig.addr, path).await;
            chunks.send(given.into()).await.expect("a reader");
            reader.sees(given).await;
            let truncation = cutting.truncation().await;
            assert_eq!(truncation.reason(), None);
            truncation.cut("no longer wanted");
            truncation.cut("said twice");
            match &mut reader {
                Reader::Old(_) => assert!(reader.rest().await.is_err(), "{path}"),
                Reader::New { peer, stream, .. } => {
                    let fate = Fate::Reset(INTERNAL_ERROR);
                    assert_eq!(peer.fate(*stream).await, fate, "{path}");
                    let other = peer.ask("/").await;
                    assert_eq!(peer.fate(other).await, served("ok"));
                }
            }
            soon("the writer is told", chunks.closed()).await;
            assert!(chunks.send("more".into()).await.is_err());
            let why = truncation.reason().expect("it is cut").why;
            assert_eq!(why, "no longer wanted");
            assert_eq!(cutting.ended().await, (EndedBy::Cut, Some(200)));
            assert_eq!(cutting.counts(), (1, 0));
        }
    }
}

#[tokio::test]
async fn http_1_0_is_reset_for_its_end_says_that_it_is_whole() {
    let mut cutting = Cutting::start().await;
    let chunks = cutting.rig.control.stream().await;
    let mut client = cutting.rig.connect().await;
    client
        .send(b"GET /streams/plain HTTP/1.0\r\nhost: a\r\n\r\n")
        .await;
    chunks.send("abc".into()).await.expect("a reader");
    client.seen(b"abc").await;
    cutting.truncation().await.cut("no longer wanted");
    let answer = client.answer().await.expect("an answer");
    assert!(!answer.whole, "{answer:?}");
    assert_eq!(client.ended, Some(Ended::Reset));
}

#[tokio::test]
async fn a_stream_that_takes_too_long_is_cancelled_also_when_it_never_pauses() {
    struct Busy(tokio::time::Interval);
    impl http_body::Body for Busy {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            // Always ready, once the runtime has had a turn.
            let _ = self.0.poll_tick(cx);
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(vec![b'x'; 1_000].into()))))
        }
    }
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let busy = get(async || Response::new(Body::new(Busy(tokio::time::interval(millis(1))))));
    let app = axum::Router::new()
        .route("/", busy)
        .layer(Truncate::new(&life).after(millis(50)));
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app);
    let addr = server.await.expect("a server").local_addr().tcp();
    let rig = Rig::running(life, addr.expect("tcp"), Control::new()).await;
    let mut peer = Peer::greet(rig.addr, &[]).await;
    let stream = peer.ask("/").await;
    peer.widen(0, 1 << 30).await;
    peer.widen(stream, 1 << 30).await;
    let reset = peer.frame(RST_STREAM).await;
    assert_eq!((reset.stream, reset.word(0)), (stream, CANCEL));
    let mut client = rig.connect().await;
    client.send(crate::support::GET).await;
    assert!(!client.answer().await.expect("an answer").whole);
    assert_eq!(rig.count(Count::Truncated), 2);
}

#[tokio::test]
async fn an_event_stream_is_told_by_an_event_or_if_one_is_half_out_by_its_end() {
    let told = "event: truncated\ndata: {\"error\":\"gone\",\"by\":\"application\"}\n\n";
    for (sent, expected) in [
        ("data: 1\n\n", Some(format!("data: 1\n\n{told}"))),
        (": beat\n", Some(format!(": beat\n\n\n{told}"))),
        ("data: 1\n", None),
        ("\u{1f}\u{8}\n\n", None),
    ] {
        for tongue in BOTH {
            let mut cutting = Cutting::start().await;
            let chunks = cutting.rig.control.stream().await;
            let path = match sent.starts_with('\u{1f}') {
                true => "/streams/compressed",
                false => "/streams/events",
            };
            let mut reader = Reader::ask(tongue, cutting.rig.addr, path).await;
            chunks.send(sent.into()).await.expect("a reader");
            reader.sees(sent).await;
            cutting.truncation().await.cut("gone");
            let rest = reader.rest().await;
            assert_eq!(rest.ok(), expected, "{sent:?} {tongue:?}");
            assert_eq!(cutting.ended().await.0, EndedBy::Cut);
            assert_eq!(cutting.counts(), (1, 0));
        }
    }
}

#[tokio::test]
async fn a_call_is_told_by_its_status_between_messages_and_reset_within_one() {
    let mut cutting = Cutting::start().await;
    let mut peer = Peer::greet(cutting.rig.addr, &[]).await;
    let chunks = cutting.rig.control.stream().await;
    let stream = peer.ask("/streams/grpc").await;
    let truncation = cutting.truncation().await;
    assert_eq!(peer.frame(HEADERS).await.stream, stream);
    chunks.send(message("one")).await.expect("a reader");
    assert_eq!(peer.frame(DATA).await.payload, message("one"));
    truncation.cut("gone");
    let trailers = peer.frame(HEADERS).await;
    assert_eq!(trailers.flags & crate::frames::END_STREAM, 1);
    assert!(says(&trailers.payload, UNAVAILABLE), "{trailers:?}");
    let chunks = cutting.rig.control.stream().await;
    let stream = peer.ask("/streams/grpc").await;
    let truncation = cutting.truncation().await;
    chunks.send(message("two").slice(..6)).await.expect("one");
    assert_eq!(peer.frame(DATA).await.stream, stream);
    truncation.cut("gone");
    let reset = peer.frame(RST_STREAM).await;
    assert_eq!((reset.stream, reset.word(0)), (stream, INTERNAL_ERROR));
    assert_eq!(cutting.counts(), (2, 0));
}

#[tokio::test]
async fn everything_under_way_can_be_cut_at_once_and_nothing_that_comes_later() {
    let mut cutting = Cutting::start().await;
    let chunks = cutting.rig.control.stream().await;
    let mut streaming = Reader::ask(Tongue::New, cutting.rig.addr, "/streams/plain").await;
    chunks.send("abc".into()).await.expect("a reader");
    streaming.sees("abc").await;
    let mut waiting = cutting.rig.connect().await;
    waiting
        .send(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let (first, second) = (cutting.truncation().await, cutting.truncation().await);
    cutting.layer.clone().cut_all("the database is gone");
    assert!(streaming.rest().await.is_err());
    let answer = waiting.answer().await.expect("an answer");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("the database is gone"));
    for truncation in [first, second] {
        let told = soon("it is told", truncation.told()).await.expect("cut");
        assert_eq!(
            (told.by, &*told.why),
            (TruncatedBy::Application, "the database is gone")
        );
    }
    let chunks = cutting.rig.control.stream().await;
    let mut later = Reader::ask(Tongue::Old, cutting.rig.addr, "/streams/plain").await;
    chunks.send("abc".into()).await.expect("a reader");
    drop(chunks);
    assert_eq!(later.rest().await.as_deref(), Ok("abc"));
    let truncation = cutting.truncation().await;
    assert_eq!(soon("it is over", truncation.told()).await, None);
    truncation.cut("too late");
    assert_eq!(truncation.reason(), None);
    assert_eq!(cutting.counts(), (1, 1));
}

#[tokio::test]
async fn what_is_whole_or_has_no_body_is_left_as_it_is() {
    let mut cutting = Cutting::start().await;
    let mut client = cutting.rig.connect().await;
    for (asked, length) in [("/", 2), ("/large?bytes=300000", 300_000)] {
        client
            .send(format!("GET {asked} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .await;
        assert_eq!(client.served().await.body.len(), length);
    }
    client
        .send(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\nGET /no-content HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    client.seen(b"HTTP/1.1 204").await;
    // All that was promised is there, though the application does not say so.
    for tongue in BOTH {
        let chunks = cutting.rig.control.stream().await;
        let mut reader = Reader::ask(tongue, cutting.rig.addr, "/streams/long").await;
        chunks.send("0123456789".into()).await.expect("a reader");
        reader.sees("0123456789").await;
        let truncation = cutting.truncation().await;
        truncation.cut("too late");
        drop(chunks);
        assert_eq!(reader.rest().await.as_deref(), Ok("0123456789"));
    }
    cutting.layer.cut_all("nothing is under way");
    assert_eq!(cutting.counts(), (0, 0));
}

#[tokio::test]
async fn a_call_that_takes_too_long_has_the_status_for_that() {
    let cutting = Cutting::new(plan(Window::NONE), |layer| layer.after(millis(50))).await;
    let mut peer = Peer::greet(cutting.rig.addr, &[]).await;
    let _chunks = cutting.rig.control.stream().await;
    let stream = peer.ask("/streams/grpc").await;
    assert_eq!(peer.frame(HEADERS).await.stream, stream);
    let trailers = peer.frame(HEADERS).await;
    assert!(says(&trailers.payload, DEADLINE_EXCEEDED), "{trailers:?}");
}

#[tokio::test]
async fn shortly_before_the_drains_end_clients_are_told_and_the_exit_is_not_a_forced_one() {
    // Four seconds of drain, the last of which is the lead.
    let short = plan(Window::NONE).with_grace(millis(5_500));
    let mut cutting = Cutting::new(short.expect("a plan"), |layer| {
        layer.lead(Duration::from_secs(1))
    })
    .await;
    let chunks = cutting.rig.control.stream().await;
    let mut streaming = Reader::ask(Tongue::New, cutting.rig.addr, "/streams/plain").await;
    chunks.send("abc".into()).await.expect("a reader");
    streaming.sees("abc").await;
    let mut peer = Peer::greet(cutting.rig.addr, &[]).await;
    let messages = cutting.rig.control.stream().await;
    let _call = peer.ask("/streams/grpc").await;
    messages.send(message("one")).await.expect("a reader");
    assert_eq!(peer.frame(DATA).await.payload, message("one"));
    let mut waiting = cutting.rig.connect().await;
    waiting
        .send(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let truncations = [
        cutting.truncation().await,
        cutting.truncation().await,
        cutting.truncation().await,
    ];
    cutting.rig.terminate().await;
    let answer = waiting.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.close), (503, true), "{answer:?}");
    assert!(answer.text().contains("\"by\":\"drain_end\""), "{answer:?}");
    match &mut streaming {
        Reader::New { peer, stream, .. } => {
            assert_eq!(peer.fate(*stream).await, Fate::Reset(CANCEL));
        }
        Reader::Old(_) => unreachable!("it speaks HTTP/2"),
    }
    let _head = peer.frame(HEADERS).await;
    let trailers = peer.frame(HEADERS).await;
    assert!(says(&trailers.payload, UNAVAILABLE), "{trailers:?}");
    for truncation in truncations {
        let told = truncation.reason().expect("it is cut");
        assert_eq!(told.by, TruncatedBy::DrainEnd);
    }
    drop((waiting, streaming, peer, chunks, messages));
    assert_eq!(cutting.rig.outcome().await, Outcome::Drained);
    assert_eq!(cutting.counts(), (2, 1));
    let report = cutting.rig.life.report().expect("over");
    let count = |name: &str| report.counts.iter().find(|count| count.0 == name);
    assert!(count("truncated").is_some() && count("fallbacks").is_some());
    // The fallback is a whole answer, the call's trailers are none.
    assert_eq!(cutting.rig.count(Count::Served), 1);
    assert_eq!(cutting.rig.count(Count::RequestCut), 0);
}

#[tokio::test]
async fn without_a_lead_the_drain_itself_ends_what_is_left() {
    let short = plan(Window::NONE).with_grace(Duration::from_secs(2));
    let mut cutting = Cutting::new(short.expect("a plan"), |layer| layer.lead(millis(0))).await;
    let mut waiting = cutting.rig.connect().await;
    waiting
        .send(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let truncation = cutting.truncation().await;
    cutting.rig.terminate().await;
    assert!(waiting.answer().await.is_none());
    let outcome = cutting.rig.outcome().await;
    assert!(matches!(outcome, Outcome::Forced { .. }), "{outcome:?}");
    assert_eq!(truncation.reason(), None);
    assert_eq!(cutting.counts(), (0, 0));
    assert_eq!(cutting.rig.count(Count::RequestCut), 1);
}

#[tokio::test]
async fn under_another_server_the_code_of_the_reset_is_the_same() {
    let life = Arc::new(Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle"));
    life.ready();
    let endless = get(async || {
        Response::new(Body::new(lameduck_http::end_when(
            http_body_util::StreamBody::new(futures_util::stream::pending::<
                Result<http_body::Frame<Bytes>, std::convert::Infallible>,
            >()),
            std::future::pending::<()>(),
        )))
    });
    let layer = Truncate::new(&life).after(millis(50));
    let app = axum::Router::new().route("/", endless).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut peer = Peer::greet(addr, &[]).await;
    let stream = peer.ask("/").await;
    let reset = peer.frame(RST_STREAM).await;
    assert_eq!((reset.stream, reset.word(0)), (stream, CANCEL));
    serving.abort();
}
