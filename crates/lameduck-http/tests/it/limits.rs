//! Limits while running, and what ends by them.

use std::time::Duration;

use lameduck::{Count, Outcome, Window};
use lameduck_http::Limits;
use tokio::net::TcpSocket;

use crate::support::{Client, Ended, Rig, millis, plan, soon, window};

#[tokio::test]
async fn an_idle_connection_expires_by_fin() {
    let mut limits = Limits::default();
    limits.idle = millis(50);
    let rig = Rig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    let mut client = Client::reused(rig.addr).await;
    assert_eq!(client.end().await, &Ended::Fin);
    rig.counted(Count::IdleExpired, 1).await;
}

#[tokio::test]
async fn a_head_expires_while_running_and_is_told_so() {
    let mut limits = Limits::default();
    limits.head = millis(50);
    let rig = Rig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    let mut client = Client::reused(rig.addr).await;
    client.send(b"GET / HT").await;
    assert_eq!(client.answer().await.expect("an explanation").status, 408);
    rig.counted(Count::HeadExpired, 1).await;
}

#[tokio::test]
async fn a_transfer_that_stands_still_expires_while_running() {
    let mut limits = Limits::default();
    limits.stall = millis(50);
    let rig = Rig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    let mut client = rig.connect().await;
    client
        .send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234")
        .await;
    rig.counted(Count::StallExpired, 1).await;
    assert!(client.answer().await.is_none());
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_431_and_nonsense_400() {
    let mut limits = Limits::default();
    limits.head_bytes = 16 * 1024;
    let rig = Rig::limited(plan(window(0, 5_000, 5_000)), limits).await;
    let mut large = rig.connect().await;
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20 * 1024));
    large.send(head.as_bytes()).await;
    assert_eq!(large.answer().await.expect("an answer").status, 431);
    let mut nonsense = rig.connect().await;
    nonsense.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await;
    assert_eq!(nonsense.answer().await.expect("an answer").status, 400);
    rig.counted(Count::Malformed, 2).await;
}

/// A client whose kernel takes little: what was sent waits in the server's send queue.
async fn narrow(rig: &Rig) -> Client {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    Client::new(
        soon("a connection", socket.connect(rig.addr))
            .await
            .expect("connect"),
    )
}

#[tokio::test]
async fn h1_10_a_connection_is_done_when_the_peer_has_everything() {
    let mut limits = Limits::default();
    limits.linger = Duration::from_secs(20);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut client = narrow(&rig).await;
    client
        .send(b"GET /large?bytes=400000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    client.head_seen().await;
    rig.terminate().await;
    rig.window_end().await;
    let early = tokio::time::timeout(millis(200), rig.life.outcome()).await;
    assert!(
        early.is_err(),
        "over with bytes still in the send queue: {early:?}"
    );
    assert_eq!(client.served().await.body.len(), 400_000);
    assert_eq!(client.end().await, &Ended::Fin);
    // Its own end tells what the send queue tells, where the platform does not say.
    drop(client);
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::LingerExpired), 0);
}

#[tokio::test]
async fn lingering_has_a_limit() {
    let mut limits = Limits::default();
    limits.linger = millis(100);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut client = narrow(&rig).await;
    // Less than may wait unsent in the kernel: it takes all of it, and what is left to wait for is the client's kernel.
    client
        .send(b"GET /large?bytes=100000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    client.head_seen().await;
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    let counted = rig.life.status().to_json();
    assert_eq!(rig.count(Count::LingerExpired), 1, "{counted}");
}

#[tokio::test]
async fn health_checks_are_answered_and_not_counted() {
    let rig = Rig::start(plan(window(0, 5_000, 5_000))).await;
    let mut client = Client::reused(rig.addr).await;
    let total = || rig.life.inflight().requests.total();
    assert_eq!(total(), 1);
    client
        .send(b"GET / HTTP/1.1\r\nhost: a\r\nuser-agent: kube-probe/1.33\r\n\r\n")
        .await;
    client.served().await;
    assert_eq!(total(), 1);
}
