//! hyper-util's `GracefulShutdown`, as its documentation shows it: watch each connection, drop the listener at the
//! signal, then wait for the watched ones with a time limit.

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use matrix_servers::{PATIENCE, Piece, address, chunks, events, large, number, told_to_stop};

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[tokio::main]
async fn main() -> ExitCode {
    let listener = tokio::net::TcpListener::bind(address()).await.expect("the port is free");
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(told_to_stop());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer));
                let watched = graceful.watch(connection.into_owned());
                tokio::spawn(async move {
                    let _ = watched.await;
                });
            }
            () = &mut stop => {
                drop(listener);
                break;
            }
        }
    }
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(PATIENCE) => {
            eprintln!("gave up on what was left");
            return ExitCode::FAILURE;
        },
    }
    ExitCode::SUCCESS
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let query = request.uri().query().map(str::to_owned);
    let query = query.as_deref();
    let millis = |default| Duration::from_millis(number(query, "ms", default));
    let body = match request.uri().path() {
        "/" => whole("ok\n"),
        "/echo" => match request.into_body().collect().await {
            Ok(body) => Full::new(body.to_bytes()).boxed_unsync(),
            Err(_) => return Ok(plain(StatusCode::BAD_REQUEST, whole("cut\n"))),
        },
        "/upload" => {
            let mut body = request.into_body().into_data_stream();
            let mut count = 0;
            while let Some(piece) = body.next().await {
                let Ok(piece) = piece else {
                    return Ok(plain(StatusCode::BAD_REQUEST, whole("cut\n")));
                };
                count += piece.len();
            }
            Full::from(format!("{count}\n")).boxed_unsync()
        }
        "/slow" => {
            tokio::time::sleep(millis(1_000)).await;
            whole("slow\n")
        }
        "/large" => streamed(large(number(query, "bytes", 1 << 20))),
        "/stream" => streamed(chunks(number(query, "chunks", 10), millis(100))),
        "/sse" => {
            let mut response = Response::new(streamed(events(millis(100))));
            let value = http::HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(header::CONTENT_TYPE, value);
            return Ok(response);
        }
        _ => return Ok(plain(StatusCode::NOT_FOUND, whole("nothing here\n"))),
    };
    Ok(Response::new(body))
}

fn plain(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn whole(text: &'static str) -> Body {
    Full::from(text).boxed_unsync()
}

fn streamed(pieces: impl futures_util::Stream<Item = Piece> + Send + 'static) -> Body {
    BodyExt::boxed_unsync(StreamBody::new(pieces.map(|piece| piece.map(Frame::data))))
}
