//! Parked connections under TLS: the session stays, the rest is given back.

use std::sync::Arc;
use std::time::Instant;

use lameduck::{Count, Lifecycle, Outcome, Plan, Window};
use lameduck_http::{Limits, serve};

use crate::park::{Mark, all_but, all_parked, ask_at_the_edge, marked, soon_parked};
use crate::support::{Control, Ended, GET, PATIENCE, Rig, end_window_now, millis, plan, window};
use crate::tls_support::{Identity, TlsRig, ends_in_order};

/// A service behind TLS that parks at once, and the mark of its connections with a task.
async fn start(plan: Plan, limits: Limits) -> (TlsRig, Mark) {
    let control = Control::new();
    let (app, mark) = marked(&control);
    let identity = Identity::of("localhost");
    let life = Lifecycle::embedded(plan).expect("a lifecycle");
    let server = serve(&life, "127.0.0.1:0", app)
        .limits(limits)
        .tls(Arc::new(identity.server()))
        .await
        .expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    let rig = Rig::running(life, addr, control).await;
    (TlsRig { rig, identity }, mark)
}

#[tokio::test]
async fn a_session_goes_on_after_parking() {
    let (tls, mark) = start(plan(window(0, 5_000, 5_000)), soon_parked()).await;
    let mut client = tls.reused().await;
    for _ in 0..3 {
        all_parked(&mark).await;
        client.send(GET).await;
        assert_eq!(client.served().await.text(), "ok");
    }
    all_parked(&mark).await;
    assert_eq!(tls.rig.count(Count::Accepted), 1);
    tls.rig.terminate().await;
    client.send(GET).await;
    assert!(client.served().await.close, "H1-02");
    ends_in_order(client).await;
}

#[tokio::test]
async fn a_connection_is_not_parked_before_its_handshake() {
    let (tls, mark) = start(plan(Window::NONE), soon_parked()).await;
    let mut records = tls.begin().await;
    tls.rig.counted(Count::Accepted, 1).await;
    // As long as it takes another one to be parked.
    let other = tls.reused().await;
    all_but(1, &mark).await;
    drop(other);
    records.shake().await.expect("a handshake");
    let mut client = crate::support::Client::over(records);
    client.send(GET).await;
    client.served().await;
    all_parked(&mark).await;
}

#[tokio::test]
async fn tls_3_a_parked_session_says_close_notify_at_the_end() {
    let (tls, mark) = start(plan(Window::NONE), soon_parked()).await;
    let client = tls.reused().await;
    all_parked(&mark).await;
    tls.rig.terminate().await;
    ends_in_order(client).await;
    assert_eq!(tls.rig.outcome().await, Outcome::Drained);
    assert_eq!(tls.rig.count(Count::IdleClosed), 1);
}

#[tokio::test]
async fn h1_06_half_a_record_on_a_parked_session_is_completed_after_the_window() {
    let (tls, mark) = start(plan(Window::NONE), soon_parked()).await;
    let mut client = tls.reused().await;
    all_parked(&mark).await;
    let record = client.stream.sealed(GET);
    client.stream.write_raw(&record[..3]).await;
    end_window_now(&tls.rig);
    client.stream.write_raw(&record[3..]).await;
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(tls.rig.outcome().await, Outcome::Drained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_3_many_parked_sessions_end_in_order() {
    let (tls, mark) = start(plan(Window::NONE), soon_parked()).await;
    let mut clients = Vec::new();
    // More than are ended at one go.
    for _ in 0..40 {
        clients.push(tls.reused().await);
    }
    all_parked(&mark).await;
    tls.rig.terminate().await;
    for client in clients {
        ends_in_order(client).await;
    }
    assert_eq!(tls.rig.outcome().await, Outcome::Drained);
    assert_eq!(tls.rig.count(Count::IdleClosed), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_at_the_moment_of_parking_a_session() {
    let mut limits = soon_parked();
    limits.park_after = Some(millis(1));
    let (tls, mark) = start(plan(Window::NONE), limits).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 1..=8 {
        asking.spawn(ask_at_the_edge(tls.reused().await, number));
    }
    asking.join_all().await;
    all_parked(&mark).await;
    assert_eq!(tls.rig.count(Count::Accepted), 8);
    assert_eq!(tls.rig.count(Count::Malformed), 0);
}

#[tokio::test]
async fn records_without_content_do_not_prolong_the_limit_of_idleness() {
    let mut limits = soon_parked();
    limits.idle = millis(500);
    let (tls, mark) = start(plan(Window::NONE), limits).await;
    let mut client = tls.reused().await;
    all_parked(&mark).await;
    let began = Instant::now();
    // Each gives it a task for nothing. A limit that began anew with that would never pass.
    while !client.ends_within(millis(50)).await {
        assert!(began.elapsed() < PATIENCE, "the limit begins anew");
        let update = client.stream.fresh_keys();
        client.stream.write_raw(&update).await;
    }
    tls.rig.counted(Count::IdleExpired, 1).await;
}
