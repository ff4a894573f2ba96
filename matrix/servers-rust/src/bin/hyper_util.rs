//! hyper-util's `GracefulShutdown`, as its documentation shows it: watch each connection, drop the listener at the
//! signal, then wait for the watched ones with a time limit. TLS shakes hands in the task of its connection, which has its
//! watcher already. A WebSocket leaves hyper by its upgrade, and with that `GracefulShutdown`.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use matrix_servers::{PATIENCE, Piece, address, chunks, events, large, number, tls, told_to_stop};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(3);

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[tokio::main]
async fn main() -> ExitCode {
    let (tls_address, tls_config) = tls();
    let plain = TcpListener::bind(address()).await.expect("the port is free");
    let secure = TcpListener::bind(tls_address).await.expect("the port for TLS is free");
    let acceptor = TlsAcceptor::from(Arc::new(tls_config));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(told_to_stop());
    loop {
        tokio::select! {
            accepted = plain.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                tokio::spawn(serve(stream, graceful.watcher()));
            }
            accepted = secure.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (acceptor, watcher) = (acceptor.clone(), graceful.watcher());
                tokio::spawn(async move {
                    let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
                    if let Ok(Ok(stream)) = handshake.await {
                        serve(stream, watcher).await;
                    }
                });
            }
            () = &mut stop => {
                drop((plain, secure));
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

async fn serve<S>(stream: S, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer));
    let _ = watcher.watch(connection.into_owned()).await;
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let query = request.uri().query().map(str::to_owned);
    let query = query.as_deref();
    let millis = |default| Duration::from_millis(number(query, "ms", default));
    let body = match request.uri().path() {
        "/ws" => return Ok(upgrade(&mut request)),
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

/// As hyper's example of upgrades has it, with tungstenite behind it.
fn upgrade(request: &mut Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return plain(StatusCode::BAD_REQUEST, whole("no WebSocket\n"));
    };
    let accept = http::HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let io = TokioIo::new(upgraded);
            echo(WebSocketStream::from_raw_socket(io, Role::Server, None).await).await;
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, whole(""));
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, http::HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, http::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.expect("base64 is fit for a header"));
    response
}

async fn echo(mut socket: WebSocketStream<TokioIo<Upgraded>>) {
    // A Close is answered by tungstenite itself, and then the stream of messages ends.
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
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
