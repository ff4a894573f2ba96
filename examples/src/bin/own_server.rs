//! The draining server: an outbox that outlives the requests that fill it, probes on a port of their own.
//!
//! `LISTEN` and `PROBES` are the addresses; port 0 lets the system choose. `POST /orders` puts its body into the outbox.

use axum::{Router, extract::State, http::StatusCode, routing::get, routing::post};
use lameduck::{Outcome, Plan};
use tokio::sync::mpsc;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let (orders, mut queue) = mpsc::channel(64);
        let outbox = life.worker("outbox", async move |stop| {
            loop {
                tokio::select! {
                    Some(order) = queue.recv() => deliver(order),
                    // Nothing that depends on the outbox is at work any longer: what is queued is all there will be.
                    () = stop.closing() => break,
                }
            }
            while let Ok(order) = queue.try_recv() {
                deliver(order);
            }
        })?;
        outbox.on_stop(async || {
            println!("outbox closed"); // once, last, inside the reserve
            Ok::<(), std::io::Error>(())
        });

        let app = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/orders", post(order))
            .with_state(orders);
        let server = lameduck_http::serve(&life, address("LISTEN", "127.0.0.1:8080").as_str(), app)
            .depends_on(&outbox)
            .await?;
        let probes =
            lameduck_http::probes(&life, address("PROBES", "127.0.0.1:8081").as_str()).await?;
        println!("probes on {}", probes.local_addr());
        println!("listening on {}", server.local_addr());
        Ok(()) // all ready: Running
    })
}

async fn order(State(orders): State<mpsc::Sender<String>>, order: String) -> StatusCode {
    match orders.send(order).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn deliver(order: String) {
    println!("delivered {order}");
}

fn address(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}
