//! The tonic example, drained under a stream that has no end of its own.

#[path = "../../crates/lameduck-cli/tests/support/mod.rs"]
mod support;

use std::{future::Future, net::SocketAddr};

use support::{BOUND, service::Service};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const PLAN: [(&str, &str); 3] = [
    ("LISTEN", "127.0.0.1:0"),
    ("LAMEDUCK_WINDOW", "2,0.1,4"),
    ("LAMEDUCK_GRACE", "30s"),
];

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(BOUND, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in {BOUND:?}"))
}

async fn client(address: SocketAddr) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    HealthClient::new(
        soon("a connection", endpoint.connect())
            .await
            .expect("served"),
    )
}

#[tokio::test]
async fn h2_02_a_stream_hears_of_the_end_and_ends_with_trailers() {
    let mut service = Service::start(env!("CARGO_BIN_EXE_keep_tonic"), &[], &PLAN);
    let address = Service::address(&service.line("listening on "), "listening on ");
    let ask = HealthCheckRequest::default;
    let watch = client(address).await.watch(ask()).await;
    let mut watch = watch.expect("watched").into_inner();
    let first = soon("a status", watch.message())
        .await
        .expect("no failure")
        .expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);

    // It has answered, so it is Running, also for a signal that comes right behind.
    service.signal(libc::SIGTERM);
    let told = soon("the news", watch.message())
        .await
        .expect("no failure")
        .expect("a status");
    assert_eq!(told.status(), ServingStatus::NotServing);
    // A call on a new connection, in the window.
    let answer = soon("an answer", client(address).await.check(ask())).await;
    assert_eq!(
        answer.expect("no failure").into_inner().status(),
        ServingStatus::NotServing
    );

    let last = soon("the end of the stream", watch.message())
        .await
        .expect("trailers, not a reset");
    assert!(last.is_none(), "{last:?}");
    let report = tokio::task::spawn_blocking(|| service.end().assert_drained());
    let report = report.await.expect("no panic");
    assert_eq!(report["counts"]["requests"], 2, "{report:#}");
}
