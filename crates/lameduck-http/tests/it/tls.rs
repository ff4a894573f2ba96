//! TLS-1 to TLS-4: handshakes across T, those that stall, and how connections end.

use lameduck::{Count, Outcome, Window};
use lameduck_http::Limits;
use tokio::io::AsyncReadExt;

use crate::support::{Client, Ended, GET, millis, plan, soon, window};
use crate::tls_support::{Records, TlsRig};

/// After close_notify comes FIN, and nothing else.
async fn ends_in_order(mut client: Client<Records>) {
    assert_eq!(client.end().await, &Ended::Fin);
    let mut more = [0; 1];
    let after = soon("FIN", client.stream.tcp.read(&mut more)).await;
    assert_eq!(after.expect("no reset"), 0);
}

#[tokio::test]
async fn tls_3_a_request_is_served_and_the_drain_ends_by_close_notify() {
    let rig = TlsRig::start(plan(Window::NONE)).await;
    let client = rig.reused().await;
    rig.rig.terminate().await;
    ends_in_order(client).await;
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.rig.count(Count::IdleClosed), 1);
}

#[tokio::test]
async fn tls_3_an_expired_idle_connection_and_a_said_close_end_by_close_notify() {
    let mut limits = Limits::default();
    limits.idle = millis(50);
    let rig = TlsRig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    ends_in_order(rig.reused().await).await;
    rig.rig.counted(Count::IdleExpired, 1).await;
    let mut client = rig.connect().await;
    client
        .send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(client.served().await.close);
    ends_in_order(client).await;
}

#[tokio::test]
async fn tls_1_a_handshake_under_way_at_t_completes_and_is_served() {
    let rig = TlsRig::start(plan(Window::NONE)).await;
    let mut client = rig.begin().await;
    let hello = client.said();
    client.write_raw(&hello[..hello.len() / 2]).await;
    // The server has read this half when it answers another connection that came later.
    let mut other = rig.reused().await;
    rig.rig.terminate().await;
    rig.rig.window_end().await;
    client.write_raw(&hello[hello.len() / 2..]).await;
    client.shake().await.expect("a handshake");
    let mut client = Client::over(client);
    client.send(GET).await;
    assert!(client.served().await.close);
    ends_in_order(client).await;
    assert_eq!(other.end().await, &Ended::Fin);
    assert_eq!(rig.rig.outcome().await, Outcome::Drained);
}
