//! A service that asks another one with reqwest, whose idle connections close only when the client is gone: it is swapped.
//!
//! `UPSTREAM` is the other service, `LISTEN` the address. `POST /relay` asks `GET /quote` there once its own body has come, and answers
//! with what it got; `GET /leak` keeps a lease, as a bug would: the report of the shutdown names this file and the line.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get, routing::post};
use lameduck::lending::Swap;
use lameduck::{Outcome, Plan};
use lameduck_example_pools::{failed, listen, variable};
use reqwest::Client;

/// How to reach the other service.
#[derive(Clone)]
struct Upstream {
    clients: Swap<Client>,
    quote: String,
}

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let next = client(0)?;
        let clients = Swap::new(client(8)?, move || next);
        let enrol = life.participate("quotes").budget(Duration::from_secs(6));
        let quotes = enrol.drains(clients.clone())?;

        let upstream = variable("UPSTREAM", "127.0.0.1:8081");
        let quote = format!("http://{upstream}/quote");
        let app = Router::new()
            .route("/relay", post(relay))
            .route("/leak", get(leak))
            .with_state(Upstream { clients, quote });
        let server = lameduck_http::serve(&life, listen().as_str(), app)
            .depends_on(&quotes)
            .await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

/// A client that keeps so many idle connections, for less time than servers do.
fn client(idle: usize) -> reqwest::Result<Client> {
    Client::builder()
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(Duration::from_secs(20))
        .timeout(Duration::from_secs(30))
        .no_proxy()
        .build()
}

async fn relay(
    State(upstream): State<Upstream>,
    _: String,
) -> Result<String, (StatusCode, String)> {
    let client = upstream.clients.current().map_err(failed)?;
    let response = client.get(&upstream.quote).send().await.map_err(failed)?;
    // The rest needs no client, whose idle connections may go; it is waited for all the same.
    let _lease = client.release();
    response.text().await.map_err(failed)
}

/// The bug: a lease that nobody gives back.
async fn leak(State(upstream): State<Upstream>) -> Result<(), (StatusCode, String)> {
    std::mem::forget(upstream.clients.current().map_err(failed)?);
    Ok(())
}
