//! Long responses other than event streams: those whose route says how they end, those that listen to the drain, gRPC calls.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use lameduck::{Count, Known, Lifecycle, Outcome, Plan, Window};
use lameduck_http::{EndStreams, Ending, Limits, end_when};
use tokio::net::TcpStream;

use crate::reader::{BOTH, Reader};
use crate::support::{Control, Rig, plan, soon, window};

async fn rows(State(control): State<Control>) -> Response {
    control.body().await.into_response()
}

async fn until_closing(State(control): State<Control>) -> Response {
    let drain = lameduck_http::drain().expect("served by lameduck");
    axum::body::Body::new(end_when(control.body().await, drain.closing())).into_response()
}

async fn start(plan: Plan) -> Rig {
    let control = Control::new();
    let app = Router::new()
        .route("/rows", get(rows).layer(EndStreams::new(Ending::AtFrame)))
        .route("/until-closing", get(until_closing))
        .route("/endless", get(rows))
        .route("/lameduck.Test/Watch", post(watch))
        .route("/lameduck.Test/Say", post(say))
        .layer(EndStreams::new(Ending::AtGrpcMessage))
        .with_state(control.clone());
    let life = Lifecycle::embedded(plan).expect("a lifecycle");
    let mut limits = Limits::default();
    limits.settle = Duration::ZERO;
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .limits(limits)
        .await
        .expect("a server");
    Rig::running(life, server.local_addr().tcp().expect("tcp"), control).await
}

#[tokio::test]
async fn rows_end_between_two_frames() {
    for tongue in BOTH {
        let rig = start(plan(window(0, 20_000, 20_000))).await;
        let chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/rows").await;
        chunks.send("{\"row\":1}\n".into()).await.expect("a reader");
        reader.sees("1").await;
        rig.terminate().await;
        assert_eq!(
            reader.rest().await.as_deref(),
            Ok("{\"row\":1}\n"),
            "{tongue:?}"
        );
        assert_eq!(rig.count(Count::StreamEnded), 1);
    }
}

#[tokio::test]
async fn a_body_that_listens_to_the_drain_ends_when_it_chose_to() {
    for tongue in BOTH {
        let rig = start(plan(Window::NONE)).await;
        let chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/until-closing").await;
        chunks.send("one".into()).await.expect("a reader");
        reader.sees("one").await;
        rig.terminate().await;
        assert_eq!(reader.rest().await.as_deref(), Ok("one"), "{tongue:?}");
        soon("the body within is dropped", chunks.closed()).await;
        drop(reader);
        assert_eq!(rig.outcome().await, Outcome::Drained);
    }
}

#[tokio::test]
async fn p2_an_endless_stream_looks_cut_and_is_named_in_full() {
    for tongue in BOTH {
        let hasty = plan(Window::NONE)
            .with_grace(Plan::LEAST_GRACE)
            .expect("the least grace");
        let rig = start(hasty).await;
        let chunks = rig.control.stream().await;
        let mut reader = Reader::ask(tongue, rig.addr, "/endless?token=1").await;
        chunks.send("one".into()).await.expect("a reader");
        reader.sees("one").await;
        rig.terminate().await;
        assert!(reader.rest().await.is_err(), "{tongue:?}");
        assert_eq!(rig.outcome().await, Outcome::Forced { code: None });
        let report = rig.life.report().expect("a report");
        let endless = Known::Request {
            method: "GET".to_owned(),
            path: "/endless".to_owned(),
        };
        let straggler = report.stragglers.iter().find(|one| one.what == endless);
        let straggler = straggler.unwrap_or_else(|| panic!("{:?}", report.stragglers));
        assert!(straggler.peer.is_some_and(|peer| peer.ip().is_loopback()));
        assert!(straggler.age > Duration::ZERO);
    }
}

// ---- gRPC

/// A message as it stands on the wire.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&[0], &length[..], text.as_bytes()].concat().into()
}

const GRPC: [(&str, &str); 1] = [("content-type", "application/grpc+proto")];

async fn watch(State(control): State<Control>) -> Response {
    (GRPC, control.body().await).into_response()
}

/// A unary call: one message, then trailers of its own.
async fn say(State(control): State<Control>) -> Response {
    control.entered.add_permits(1);
    control.release.acquire().await.expect("open").forget();
    let trailers = async {
        let status = HeaderValue::from_static("0");
        let fields = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), status)]);
        Some(Ok(fields))
    };
    let body = Full::new(message("said")).with_trailers(trailers);
    (GRPC, axum::body::Body::new(body)).into_response()
}

/// A call by a client library.
struct Call {
    body: h2::RecvStream,
}

impl Call {
    async fn begin(addr: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(addr).await.expect("connect");
        let (client, connection) = soon("a greeting", h2::client::handshake(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        let mut client = soon("a turn", client.ready()).await.expect("open");
        let request = Request::post(format!("http://{addr}{path}"))
            .header("content-type", "application/grpc")
            .body(())
            .expect("a request");
        let (answer, _) = client.send_request(request, true).expect("sent");
        let answer = soon("an answer", answer).await.expect("a head");
        assert_eq!(answer.status(), 200);
        let body = answer.into_body();
        Self { body }
    }

    async fn next(&mut self) -> Option<Bytes> {
        let data = soon("data or its end", self.body.data()).await?;
        Some(data.expect("no reset"))
    }

    /// `grpc-status` of the trailers; nothing may come before them.
    async fn status(&mut self) -> HeaderValue {
        assert_eq!(self.next().await, None);
        let trailers = soon("trailers", self.body.trailers()).await;
        let mut fields = trailers.expect("no reset").expect("trailers");
        fields.remove("grpc-status").expect("a status")
    }
}

#[tokio::test]
async fn a_server_stream_ends_after_a_whole_message_as_unavailable() {
    let rig = start(plan(window(0, 20_000, 20_000))).await;
    let chunks = rig.control.stream().await;
    let both = [message("one"), message("two")].concat();
    let (given, kept) = both.split_at(both.len() - 1);
    chunks
        .send(Bytes::copy_from_slice(given))
        .await
        .expect("a reader");
    let mut call = Call::begin(rig.addr, "/lameduck.Test/Watch").await;
    assert_eq!(call.next().await.as_deref(), Some(given));
    rig.terminate().await;
    let rest = [kept, &message("three")[..4]].concat();
    chunks.send(rest.into()).await.expect("a reader");
    assert_eq!(call.next().await.as_deref(), Some(kept));
    assert_eq!(call.status().await, "14");
    assert_eq!(rig.count(Count::StreamEnded), 1);
}

#[tokio::test]
async fn a_silent_server_stream_ends_as_unavailable() {
    let rig = start(plan(window(0, 20_000, 20_000))).await;
    let chunks = rig.control.stream().await;
    let mut call = Call::begin(rig.addr, "/lameduck.Test/Watch").await;
    rig.terminate().await;
    assert_eq!(call.status().await, "14");
    soon("the body is dropped", chunks.closed()).await;
}

#[tokio::test]
async fn h2_02_a_unary_call_keeps_its_message_and_its_trailers() {
    let rig = start(plan(Window::NONE)).await;
    let ask = tokio::spawn(Call::begin(rig.addr, "/lameduck.Test/Say"));
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    rig.control.release.add_permits(1);
    let mut call = ask.await.expect("a call");
    assert_eq!(call.next().await, Some(message("said")));
    assert_eq!(call.status().await, "0");
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::StreamEnded), 0);
}
