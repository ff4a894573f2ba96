//! One small server per contender, chosen by argument: `peer hyper-util 127.0.0.1:PORT`.
//!
//! Owns: the arguments, the runtime, and which recipe goes with which name. All answer the same three routes (`GET /`,
//! `GET /slow?ms=`, `POST` echo), print one line when they listen, and are ended gracefully by SIGTERM, with exit 0.
//! Not here: load and counting (the library); servers that are programs of their own (nginx, Go, `lameduck demo`).

mod answer;
mod axum_serve;
mod connection;
mod door;
mod duck;
mod keep;
mod stall;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitCode, Termination};

use clap::{Parser, ValueEnum};

use connection::Terms;
use door::Door;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Peer {
    /// hyper alone: SIGTERM ends it at once
    Bare,
    /// hyper's connections under `hyper_util::server::graceful::GracefulShutdown`
    HyperUtil,
    /// The same with a `CancellationToken` and a `TaskTracker`
    Tokens,
    /// The same under `tokio_graceful::Shutdown`
    TokioGraceful,
    /// `axum::serve(…).with_graceful_shutdown(…)`
    Axum,
    /// `lameduck_http::serve`
    Lameduck,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Speech {
    Http1,
    Http2,
    /// Both, told apart by the first bytes
    Auto,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Threads {
    /// A current-thread runtime: repeatable, for counting instructions
    One,
    /// One for each CPU
    Many,
}

#[derive(Debug, Parser)]
#[command(about = "A contender's server for the comparison with peers")]
struct Args {
    peer: Peer,
    /// Loopback address to listen on
    listen: SocketAddr,
    /// What hyper's connections speak; axum and lameduck speak both
    #[arg(long, value_enum, default_value = "http1")]
    speech: Speech,
    /// Time limits for hyper's connections: those that lameduck has
    #[arg(long, value_enum, default_value = "none")]
    terms: Terms,
    #[arg(long, value_enum, default_value = "many")]
    threads: Threads,
    /// The window of lameduck
    #[arg(long, default_value = "none")]
    window: String,
    /// lameduck gives memory back to the system when connections are parked
    #[arg(long)]
    trim_heap: bool,
    /// Where lameduck serves TLS, and plain text on the other address
    #[arg(long, requires = "cert")]
    tls_listen: Option<SocketAddr>,
    /// Certificate chain (PEM): serve TLS
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
}

impl Args {
    fn pem(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.cert.as_ref().zip(self.key.as_ref())
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    for address in [Some(args.listen), args.tls_listen].into_iter().flatten() {
        if !address.ip().is_loopback() {
            eprintln!("error: {address} is not a loopback address");
            return ExitCode::from(2);
        }
    }
    // Refused only where one is installed already, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let served = match args.peer {
        Peer::Lameduck => duck::serve(&args).map(Termination::report),
        _ => runtime(args.threads)
            .and_then(|runtime| runtime.block_on(serve(&args)))
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
    };
    served.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn runtime(threads: Threads) -> io::Result<tokio::runtime::Runtime> {
    match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    }
    .enable_all()
    .build()
}

async fn serve(args: &Args) -> io::Result<()> {
    let door = Door::open(args)?;
    match args.peer {
        Peer::Bare => keep::bare(door).await,
        Peer::HyperUtil => keep::hyper_util(door).await,
        Peer::Tokens => keep::tokens(door).await,
        Peer::TokioGraceful => keep::tokio_graceful(door).await,
        Peer::Axum => axum_serve::serve(door).await,
        Peer::Lameduck => unreachable!("has a runtime of its own"),
    }
}
