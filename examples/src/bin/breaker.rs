//! A service that asks others, with a circuit breaker for each of them.
//!
//! `LISTEN` and `ADMIN` are the addresses, port 0 lets the system choose; `TOKEN` is the admin listener's token file; `UPSTREAMS` says whom it may ask:
//! `stock=10.0.0.7:7000,prices=10.0.0.8:7000`. `GET /ask/stock` connects there, says "?" and answers with the line that it gets, or 502. While an upstream
//! is broken nobody waits for it: its callers get 503, `Retry-After` and JSON at once. The admin listener's page shows the breakers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::routing::get;
use lameduck::{Outcome, Plan};
use lameduck_http::breaker::{BreakRequests, Breakers, Settings};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// How long an upstream has to answer. Within the breaker, so that it counts.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whom it may ask, by name. Only these get breakers: a name that a client made up has no place among them.
type Upstreams = Arc<BTreeMap<String, String>>;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let upstreams = upstreams();
        let known = Arc::clone(&upstreams);
        // What the own drain breaks never counts, and transitions go into the audit.
        let settings = Settings::new()
            .failures_in_a_row(3)
            .slow_calls(PATIENCE / 2, 0.8)
            .open_for(Duration::from_millis(500))
            .lifecycle(&life);
        let breakers = Breakers::<String>::new("upstream", settings)?;
        let layer = BreakRequests::by(move |request: &Request| {
            let name = request.uri().path().strip_prefix("/ask/")?;
            known.contains_key(name).then(|| breakers.of(name))?
        })
        .json(r#"{"answer":null,"why":"the upstream is broken"}"#);
        let app = Router::new()
            .route("/ask/{name}", get(ask))
            .layer(layer)
            .with_state(upstreams);

        let admin = lameduck_http::admin(&life, variable("ADMIN", "127.0.0.1:9000").as_str());
        let admin = admin.token_file(variable("TOKEN", "admin-token")).await?;
        let listen = variable("LISTEN", "127.0.0.1:8080");
        let server = lameduck_http::serve(&life, listen.as_str(), app).await?;
        println!("admin on {}", admin.local_addr());
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

async fn ask(State(all): State<Upstreams>, Path(name): Path<String>) -> (StatusCode, String) {
    let Some(address) = all.get(&name) else {
        return (StatusCode::NOT_FOUND, "nobody has that name\n".to_owned());
    };
    match tokio::time::timeout(PATIENCE, line_of(address)).await {
        Ok(Ok(line)) => (StatusCode::OK, line),
        Ok(Err(error)) => (StatusCode::BAD_GATEWAY, format!("{name}: {error}\n")),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, format!("{name} is too slow\n")),
    }
}

/// What an upstream says.
async fn line_of(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"?\n").await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

fn upstreams() -> Upstreams {
    let all = variable("UPSTREAMS", "");
    let pairs = all.split(',').filter_map(|pair| pair.split_once('='));
    let owned = pairs.map(|(name, address)| (name.to_owned(), address.to_owned()));
    Arc::new(owned.collect())
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
