//! gRPC on the draining server: tonic's routes, with the health service that clients and balancers watch.
//!
//! `LISTEN` is the address; port 0 lets the system choose. Calls in flight end with their trailers. Health says `NOT_SERVING` from the
//! first moment; `Watch`, which has no end of its own, hears it and is ended after it, so that it does not hold the exit.

mod echo;
mod note;

use lameduck::{Lifecycle, Outcome, Plan};
use lameduck_http::{EndStreams, Ending};
use tonic::service::{LayerExt, Routes};
use tonic_health::ServingStatus;

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let (health, health_service) = tonic_health::server::health_reporter();
        tokio::spawn(say_not_serving(life.clone(), health));
        let health_service = EndStreams::new(Ending::AtGrpcMessage).named_layer(health_service);
        let routes = Routes::new(echo::EchoServer).add_service(health_service);

        let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
        let server = lameduck_http::serve(&life, address.as_str(), routes).await?;
        println!("listening on {}", server.local_addr());
        Ok(())
    })
}

async fn say_not_serving(life: Lifecycle, health: tonic_health::server::HealthReporter) {
    life.drain().steering().await;
    health
        .set_service_status("", ServingStatus::NotServing)
        .await;
}
