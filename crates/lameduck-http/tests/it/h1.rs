//! H1-*: what is owed to HTTP/1.1 clients, and the traps that hyper's own graceful shutdown falls into.

use lameduck::{Count, Outcome, Window};

use crate::support::{Client, Ended, GET, Rig, SLOW, plan, window};

#[tokio::test]
async fn serves_and_drains_end_to_end() {
    let rig = Rig::start(plan(window(0, 50, 500))).await;
    let mut client = rig.connect().await;
    client.send(GET).await;
    let answer = client.served().await;
    assert_eq!(answer.text(), "ok");
    assert!(!answer.close);
    rig.terminate().await;
    client.send(GET).await;
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_01_in_flight_at_t_is_answered_whole_with_close() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut client = rig.connect().await;
    client.send(SLOW).await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    rig.control.release.add_permits(1);
    let answer = client.served().await;
    assert!(answer.close);
    assert_eq!(answer.text(), "slow");
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_02_idle_connections_are_served_in_the_window() {
    let rig = Rig::start(plan(window(0, 5_000, 5_000))).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::reused(rig.addr).await);
    }
    rig.terminate().await;
    for client in &mut clients {
        client.send(GET).await;
        assert!(client.served().await.close);
        assert_eq!(client.end().await, &Ended::Fin);
    }
    assert_eq!(rig.count(Count::Steered), 8);
}
