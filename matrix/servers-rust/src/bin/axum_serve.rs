//! axum's own server, stopped as its graceful-shutdown example does: `with_graceful_shutdown` and a `TimeoutLayer`;
//! and given up after a while, because the example's time limit does not cover bodies and WebSockets.
//! TLS is a second `serve` before `tls-listener`, as the example of that has it: it shakes hands with many at once.

use std::future::IntoFuture;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use matrix_servers::{PATIENCE, address, chunks, events, large, number, tls, told_to_stop};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_http::timeout::TimeoutLayer;

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    let app = Router::new()
        .route("/", any(|| async { "ok\n" }))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/upload", post(upload))
        .route("/slow", get(slow))
        .route("/large", get(|RawQuery(query): RawQuery| async move {
            Body::from_stream(large(number(query.as_deref(), "bytes", 1 << 20)))
        }))
        .route("/stream", get(|RawQuery(query): RawQuery| async move {
            let query = query.as_deref();
            Body::from_stream(chunks(number(query, "chunks", 10), millis(query, 100)))
        }))
        .route("/sse", get(sse))
        .route("/ws", get(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) }))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, PATIENCE));
    let (tls_address, tls_config) = tls();
    let listener = TcpListener::bind(address()).await.expect("the port is free");
    let behind = TcpListener::bind(tls_address).await.expect("the port for TLS is free");
    let secure = tls_listener::builder(TlsAcceptor::from(Arc::new(tls_config)))
        .handshake_timeout(HANDSHAKE)
        .listen(behind);
    let plain = axum::serve(listener, app.clone()).with_graceful_shutdown(told_to_stop());
    let secure = axum::serve(secure, app).with_graceful_shutdown(told_to_stop());
    let given_up = async {
        told_to_stop().await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        done = async { tokio::try_join!(plain.into_future(), secure.into_future()) } => {
            done.expect("it serves");
        }
        () = given_up => {
            eprintln!("gave up on what was left");
            return ExitCode::FAILURE;
        },
    }
    ExitCode::SUCCESS
}

fn millis(query: Option<&str>, default: u64) -> Duration {
    Duration::from_millis(number(query, "ms", default))
}

async fn slow(RawQuery(query): RawQuery) -> &'static str {
    tokio::time::sleep(millis(query.as_deref(), 1_000)).await;
    "slow\n"
}

async fn upload(body: Body) -> Result<String, StatusCode> {
    use futures_util::StreamExt as _;
    let mut body = body.into_data_stream();
    let mut count = 0;
    while let Some(piece) = body.next().await {
        count += piece.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(format!("{count}\n"))
}

async fn sse(RawQuery(query): RawQuery) -> Response {
    let body = Body::from_stream(events(millis(query.as_deref(), 100)));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let answered = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            Message::Close(_) => return,
            _ => Ok(()),
        };
        if answered.is_err() {
            return;
        }
    }
}
