//! Keep your server: tonic's own, with the health service that gRPC clients watch.
//!
//! `LISTEN` is the address; port 0 lets the system choose. A call to `Watch` has no end of its own: it is told that the
//! service leaves when that is asked for, and ended when the lame-duck window is over, so that it does not hold the exit.

use lameduck::{Lifecycle, Outcome};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::ServingStatus;

#[tokio::main]
async fn main() -> Result<Outcome, Box<dyn std::error::Error>> {
    let life = Lifecycle::from_env()?;
    let (mut health, health_service) = tonic_health::server::health_reporter();

    let drain = life.drain();
    tokio::spawn(async move {
        drain.steering().await;
        health
            .set_service_status("", ServingStatus::NotServing)
            .await;
        drain.closing().await;
        health.clear_service_status("").await; // ends every Watch
    });

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpIncoming::bind(address.parse()?)?;
    println!("listening on {}", listener.local_addr()?);
    Server::builder()
        .layer(life.layer())
        .add_service(health_service)
        .serve_with_incoming_shutdown(listener, life.draining())
        .await?;
    Ok(life.finish().await)
}
