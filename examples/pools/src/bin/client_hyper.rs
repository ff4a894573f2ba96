//! A service that asks another one with hyper-util's legacy client: swapped as reqwest's is, and its connections are counted.
//!
//! `UPSTREAM` is the other service, `LISTEN` the address. `POST /relay` asks `GET /quote` there once its own body has come, and answers
//! with what it got; `GET /leak` keeps a response to `GET /stream` whose body nobody reads, and with it a connection, as a bug would.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get, routing::post};
use http_body_util::{BodyExt as _, Empty};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Uri, body::Bytes};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lameduck::inflight::Pass;
use lameduck::lending::Swap;
use lameduck::{Outcome, Plan};
use lameduck_example_pools::{Open, failed, listen, variable};
use tokio::{net::TcpStream, time::timeout};
use tower::Service;

type Body = Empty<Bytes>;

/// The most that a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// The most that an exchange may take, from the lease to the last byte.
const EXCHANGE: Duration = Duration::from_secs(30);

/// How to reach the other service.
#[derive(Clone)]
struct Upstream {
    clients: Swap<Client<Connector, Body>>,
    quote: Uri,
    stream: Uri,
}

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let open = Open::default();
        let next = client(0, &open);
        let clients = Swap::new(client(8, &open), move || next).counting(move || open.count());
        let enrol = life.participate("quotes").budget(Duration::from_secs(6));
        let quotes = enrol.drains(clients.clone())?;

        let upstream = variable("UPSTREAM", "127.0.0.1:8081");
        let upstream = Upstream {
            clients,
            quote: format!("http://{upstream}/quote").parse()?,
            stream: format!("http://{upstream}/stream").parse()?,
        };
        let app = Router::new()
            .route("/relay", post(relay))
            .route("/leak", get(leak))
            .with_state(upstream);
        let server = lameduck_http::serve(&life, listen().as_str(), app)
            .depends_on(&quotes)
            .await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

/// A client that keeps so many idle connections, for less time than servers do. Without the timer it would keep them until it is
/// asked for one.
fn client(idle: usize, open: &Open) -> Client<Connector, Body> {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT));
    let connector = Connector {
        tcp,
        open: open.clone(),
    };
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(idle)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(20))
        .build(connector)
}

async fn relay(State(upstream): State<Upstream>, _: String) -> Result<Bytes, (StatusCode, String)> {
    let exchange = exchange(&upstream);
    timeout(EXCHANGE, exchange).await.map_err(failed)?
}

async fn exchange(upstream: &Upstream) -> Result<Bytes, (StatusCode, String)> {
    let client = upstream.clients.current().map_err(failed)?;
    let response = client.get(upstream.quote.clone()).await.map_err(failed)?;
    // The rest needs no client, whose idle connections may go; it is waited for all the same.
    let _lease = client.release();
    let body = response.into_body().collect().await.map_err(failed)?;
    Ok(body.to_bytes())
}

/// The bug: the lease ends with the head, and a connection lives on for a body that nobody reads.
async fn leak(State(upstream): State<Upstream>) -> Result<(), (StatusCode, String)> {
    let client = upstream.clients.current().map_err(failed)?;
    let response = client.get(upstream.stream.clone()).await.map_err(failed)?;
    std::mem::forget(response);
    Ok(())
}

/// Opens connections, and counts them from the attempt on: the client may open one for an exchange that then finds another, and goes on when
/// that has ended. Without an exchange none is begun, so that nothing has to be refused once leases are.
#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    open: Open,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Counted, Error>> + Send>>;
type Error = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = Counted;
    type Error = Error;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Connecting {
        let (connecting, pass) = (self.tcp.call(to), self.open.enter());
        Box::pin(async move {
            let pass = pass?;
            let stream = connecting.await?;
            Ok(Counted {
                stream,
                _pass: pass,
            })
        })
    }
}

/// A connection that counts as open until it is dropped.
struct Counted {
    // Before what counts it: closed first.
    stream: TokioIo<TcpStream>,
    _pass: Pass,
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl Write for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
