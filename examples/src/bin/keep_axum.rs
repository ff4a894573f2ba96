//! Keep your server: axum's own accept loop, one layer and one future.
//!
//! `LISTEN` is the address; port 0 lets the system choose. `GET /` is fast; `POST /echo` lasts as long as its body does.

use axum::{Router, routing::get, routing::post};
use lameduck::{Lifecycle, Outcome};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<Outcome, Box<dyn std::error::Error>> {
    let life = Lifecycle::from_env()?; // signals, and a plan for this platform
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: String| async { body }))
        .layer(life.layer()); // counts, and tells clients to go elsewhere

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(life.draining()) // when the lame-duck window is over
        .await?;
    Ok(life.finish().await) // hooks, the report, the exit code
}
