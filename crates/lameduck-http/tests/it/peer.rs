//! What handlers are told about connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use lameduck::{Lifecycle, Window};

use crate::support::{Client, Control, GET, Rig, plan};

#[tokio::test]
async fn axum_extracts_the_address_that_was_made_once_for_the_connection() {
    let made = Arc::new(AtomicU32::new(0));
    let count = made.clone();
    let app = Router::new().route(
        "/",
        get(|ConnectInfo(addr): ConnectInfo<SocketAddr>| async move { addr.to_string() }),
    );
    let life = Lifecycle::embedded(plan(Window::NONE)).expect("a lifecycle");
    let server = lameduck_http::serve(&life, "0.0.0.0:0", app)
        .connect_info(move |peer| {
            count.fetch_add(1, Ordering::Relaxed);
            // The connection's own address, not the listener's.
            let local = peer.local_addr().tcp().expect("tcp");
            assert_eq!(local.ip().to_string(), "127.0.0.1");
            ConnectInfo(peer.addr().expect("tcp"))
        })
        .await
        .expect("a server");
    let port = server.local_addr().tcp().expect("tcp").port();
    let rig = Rig::running(life, ([127, 0, 0, 1], port).into(), Control::new()).await;
    let mut client = Client::connect(rig.addr).await;
    let own = client.stream.local_addr().expect("an address").to_string();
    for _ in 0..2 {
        client.send(GET).await;
        assert_eq!(client.served().await.text(), own);
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
}
