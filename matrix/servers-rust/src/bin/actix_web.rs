//! actix-web, which handles SIGTERM itself: `shutdown_timeout` is its documented option for stopping.

use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_ws::AggregatedMessage;
use futures_util::StreamExt;
use matrix_servers::{PATIENCE, address, chunks, events, large, number, tls};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let (tls_address, tls_config) = tls();
    HttpServer::new(|| {
        App::new()
            .route("/", web::to(|| async { "ok\n" }))
            .route("/echo", web::post().to(|body: web::Bytes| async { body }))
            .route("/upload", web::post().to(upload))
            .route("/slow", web::get().to(slow))
            .route("/large", web::get().to(|request: HttpRequest| async move {
                let bytes = number(Some(request.query_string()), "bytes", 1 << 20);
                HttpResponse::Ok().streaming(large(bytes))
            }))
            .route("/stream", web::get().to(|request: HttpRequest| async move {
                let count = number(Some(request.query_string()), "chunks", 10);
                HttpResponse::Ok().streaming(chunks(count, millis(&request, 100)))
            }))
            .route("/sse", web::get().to(|request: HttpRequest| async move {
                HttpResponse::Ok()
                    .content_type("text/event-stream")
                    .streaming(events(millis(&request, 100)))
            }))
            .route("/ws", web::get().to(echo))
    })
    .workers(2)
    .shutdown_timeout(PATIENCE.as_secs())
    .bind_auto_h2c(address())?
    .bind_rustls_0_23(tls_address, tls_config)?
    .run()
    .await
}

fn millis(request: &HttpRequest, default: u64) -> Duration {
    Duration::from_millis(number(Some(request.query_string()), "ms", default))
}

async fn slow(request: HttpRequest) -> &'static str {
    tokio::time::sleep(millis(&request, 1_000)).await;
    "slow\n"
}

async fn upload(mut body: web::Payload) -> actix_web::Result<String> {
    let mut count = 0;
    while let Some(piece) = body.next().await {
        count += piece?.len();
    }
    Ok(format!("{count}\n"))
}

async fn echo(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (response, mut session, stream) = actix_ws::handle(&request, body)?;
    let mut messages = stream.aggregate_continuations().max_continuation_size(16 << 20);
    actix_web::rt::spawn(async move {
        while let Some(Ok(message)) = messages.recv().await {
            let answered = match message {
                AggregatedMessage::Text(text) => session.text(text).await,
                AggregatedMessage::Binary(bytes) => session.binary(bytes).await,
                AggregatedMessage::Ping(bytes) => session.pong(&bytes).await,
                AggregatedMessage::Close(reason) => {
                    let _ = session.close(reason).await;
                    return;
                }
                AggregatedMessage::Pong(_) => Ok(()),
            };
            if answered.is_err() {
                return;
            }
        }
    });
    Ok(response)
}
