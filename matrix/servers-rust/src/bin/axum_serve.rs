//! axum's own server, stopped as its graceful-shutdown example does: `with_graceful_shutdown` and a `TimeoutLayer`;
//! and given up after a while, because the example's time limit does not cover bodies and WebSockets.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use matrix_servers::{PATIENCE, address, chunks, events, large, number, told_to_stop};
use tower_http::timeout::TimeoutLayer;

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
    let listener = tokio::net::TcpListener::bind(address()).await.expect("the port is free");
    let server = axum::serve(listener, app).with_graceful_shutdown(told_to_stop());
    let given_up = async {
        told_to_stop().await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        done = async { server.await } => done.expect("it serves"),
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
