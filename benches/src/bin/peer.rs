//! One small server per peer, chosen by argument: `peer hyper-util 127.0.0.1:PORT`.
//!
//! Owns: the graceful shutdown that each peer's documentation recommends, over the same three routes (`GET /`,
//! `GET /slow?ms=`, `POST` echo). Prints one line when it listens; SIGTERM ends it gracefully with exit 0.
//! Not here: load and counting (the library), lameduck itself (a binary of its own).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use axum::serve::ListenerExt;
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};

const GREETING: &[u8] = b"hello\n";
/// Deep enough that nobody loses a connection to the backlog's size alone.
const BACKLOG: u32 = 4096;
const LARGEST_ECHO: usize = 1 << 20;
const LONGEST_SLOW: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    /// hyper's HTTP/1.1 connections under `hyper_util::server::graceful::GracefulShutdown`
    HyperUtil,
    /// `axum::serve(…).with_graceful_shutdown(…)`
    Axum,
}

#[derive(Debug, Parser)]
#[command(about = "A peer's server for the comparison of lost requests")]
struct Args {
    peer: Peer,
    /// Loopback address to listen on
    listen: SocketAddr,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.listen.ip().is_loopback() {
        eprintln!("error: {} is not a loopback address", args.listen);
        return ExitCode::from(2);
    }
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .and_then(|runtime| {
            runtime.block_on(async {
                match args.peer {
                    Peer::HyperUtil => hyper_util_server(args.listen).await,
                    Peer::Axum => axum_server(args.listen).await,
                }
            })
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

async fn hyper_util_server(address: SocketAddr) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = listen(address)?;
    let graceful = GracefulShutdown::new();
    let mut terminated = pin!(terminate.recv());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // A socket that refuses NODELAY is only slower.
                let _ = stream.set_nodelay(true);
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                let watched = graceful.watch(connection);
                tokio::spawn(async move {
                    // A client that went away is the client's business.
                    let _ = watched.await;
                });
            }
            _ = &mut terminated => break,
        }
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

async fn axum_server(address: SocketAddr) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = listen(address)?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let app = axum::Router::new()
        .route("/", axum::routing::get(async || GREETING))
        .route(
            "/slow",
            axum::routing::get(async |request: axum::extract::Request| {
                tokio::time::sleep(slowness(request.uri().query())).await;
                GREETING
            }),
        )
        .route("/echo", axum::routing::post(async |body: Bytes| body));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::POST {
        return Ok(match Limited::new(request, LARGEST_ECHO).collect().await {
            Ok(body) => Response::new(Full::new(body.to_bytes())),
            Err(_) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                response
            }
        });
    }
    if request.uri().path() == "/slow" {
        tokio::time::sleep(slowness(request.uri().query())).await;
    }
    Ok(Response::new(Full::new(Bytes::from_static(GREETING))))
}

fn slowness(query: Option<&str>) -> Duration {
    query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("ms="))
        .and_then(|ms| ms.parse().ok())
        .map_or(Duration::from_millis(300), Duration::from_millis)
        .min(LONGEST_SLOW)
}
