//! H1-*: what is owed to HTTP/1.1 clients between T and the exit.

use std::time::Duration;

use bytes::Bytes;
use lameduck::{Count, Late, Outcome, Phase, Plan, Preset, Window};
use lameduck_http::Limits;
use socket2::SockRef;

use crate::support::{Client, Ended, GET, Rig, SLOW, end_window_now, millis, plan, soon, window};

/// Sends without giving any task of this thread a turn.
fn send_now(client: &Client, bytes: &[u8]) {
    let sent = SockRef::from(&client.stream)
        .send(bytes)
        .expect("room in the send queue");
    assert_eq!(sent, bytes.len());
}

/// Nothing but a look saves what arrives at the last moment.
fn unsettled() -> Limits {
    let mut limits = Limits::default();
    limits.settle = Duration::ZERO;
    limits
}

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
async fn h1_01_a_response_that_did_not_say_close_may_be_followed_by_a_request() {
    let mut limits = Limits::default();
    limits.settle = Duration::from_secs(10);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let chunks = rig.control.stream().await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    rig.control.entered().await;
    chunks
        .send(Bytes::from_static(b"one"))
        .await
        .expect("a reader");
    client.head_seen().await;
    rig.terminate().await;
    rig.window_end().await;
    drop(chunks);
    let answer = client.served().await;
    assert!(!answer.close, "the head was on its way before T");
    client.send(GET).await;
    assert!(client.served().await.close);
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

#[tokio::test]
async fn h1_02_a_request_in_the_buffer_of_an_idle_connection_is_found_by_the_last_look() {
    let rig = Rig::limited(plan(Window::NONE), unsettled()).await;
    let mut client = Client::reused(rig.addr).await;
    send_now(&client, GET);
    end_window_now(&rig);
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_03_idle_and_silent_connections_end_by_fin_at_the_end_of_the_window() {
    let rig = Rig::start(plan(window(0, 20, 100))).await;
    let mut idle = Client::reused(rig.addr).await;
    let mut silent = rig.connect().await;
    rig.counted(Count::Accepted, 2).await;
    rig.terminate().await;
    assert_eq!(idle.end().await, &Ended::Fin);
    assert_eq!(silent.end().await, &Ended::Fin);
    assert!(rig.life.drain().is_closing(), "not before the window's end");
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::IdleClosed), 1);
    assert_eq!(rig.count(Count::SilentClosed), 1);
}

#[tokio::test]
async fn h1_04_a_silent_connection_is_served_when_it_speaks_in_the_window() {
    let rig = Rig::start(plan(window(0, 5_000, 5_000))).await;
    let mut silent = rig.connect().await;
    rig.counted(Count::Accepted, 1).await;
    rig.terminate().await;
    silent.send(GET).await;
    silent.served().await;
}

#[tokio::test]
async fn h1_04_a_connection_accepted_just_before_the_end_gets_the_rest_of_its_time() {
    let mut limits = Limits::default();
    limits.settle = Duration::from_secs(10);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut silent = rig.connect().await;
    rig.counted(Count::Accepted, 1).await;
    rig.terminate().await;
    rig.window_end().await;
    silent.send(GET).await;
    assert!(silent.served().await.close);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn inv_12_h1_05_a_request_in_the_buffer_of_a_fresh_connection_is_served() {
    let rig = Rig::limited(plan(Window::NONE), unsettled()).await;
    let mut client = rig.connect().await;
    rig.counted(Count::Accepted, 1).await;
    send_now(&client, GET);
    end_window_now(&rig);
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
}

#[tokio::test]
async fn h1_06_half_a_head_on_a_fresh_connection_is_completed_and_served() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut client = rig.connect().await;
    client.send(b"GET / HTTP/1.1\r\nho").await;
    rig.counted(Count::Accepted, 1).await;
    rig.terminate().await;
    rig.window_end().await;
    client.send(b"st: a\r\n\r\n").await;
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_06_half_a_head_on_a_reused_connection_is_completed_and_served() {
    let rig = Rig::limited(plan(Window::NONE), unsettled()).await;
    let mut client = Client::reused(rig.addr).await;
    let mut other = Client::reused(rig.addr).await;
    send_now(&client, b"GET / HTTP/1.1\r\nho");
    end_window_now(&rig);
    assert_eq!(other.end().await, &Ended::Fin, "connections were looked at");
    client.send(b"st: a\r\n\r\n").await;
    assert!(client.served().await.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn inv_12_h1_06_half_a_head_that_hyper_has_read_already_survives_the_last_look() {
    let rig = Rig::limited(plan(Window::NONE), unsettled()).await;
    let mut client = rig.connect().await;
    // One segment: a whole request and the beginning of the next, which stays in hyper's buffer.
    client
        .send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /drain HTTP/1.1\r\nho")
        .await;
    assert!(!client.served().await.close);
    let mut other = Client::reused(rig.addr).await;
    rig.terminate().await;
    assert_eq!(other.end().await, &Ended::Fin, "connections were looked at");
    client.send(b"st: a\r\n\r\n").await;
    let answer = client.served().await;
    assert_eq!(answer.text(), "Some(true)");
    assert!(answer.close);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_07_a_head_that_is_never_completed_does_not_hold_the_exit() {
    let mut limits = Limits::default();
    limits.head_draining = millis(100);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut client = rig.connect().await;
    client.send(b"GET / HTTP/1.1\r\nho").await;
    rig.counted(Count::Accepted, 1).await;
    rig.terminate().await;
    let answer = client.answer().await.expect("an explanation");
    assert_eq!(answer.status, 408);
    assert!(answer.close);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::HeadExpired), 1);
}

#[tokio::test]
async fn h1_08_pipelined_requests_are_answered_or_stand_behind_a_close() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut client = rig.connect().await;
    let pipelined = [SLOW, GET, GET].concat();
    client.send(&pipelined).await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    rig.control.release.add_permits(1);
    let answer = client.served().await;
    assert_eq!(answer.text(), "slow");
    assert!(answer.close, "what follows is retry-safe");
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn late_requests_are_refused_when_the_plan_says_so() {
    let mut limits = Limits::default();
    limits.settle = Duration::from_secs(10);
    let rig = Rig::limited(plan(Window::NONE).with_late(Late::Refuse), limits).await;
    let mut late = rig.connect().await;
    let mut early = Client::reused(rig.addr).await;
    let mut busy = rig.connect().await;
    busy.send(SLOW).await;
    rig.control.entered().await;
    rig.counted(Count::Accepted, 3).await;
    send_now(&early, GET);
    end_window_now(&rig);
    assert!(
        early.served().await.close,
        "its first byte came before the window's end"
    );
    let draining = async {
        while rig.life.phase() < Phase::Draining {
            tokio::task::yield_now().await;
        }
    };
    soon("Draining", draining).await;
    // Its task has been woken by then, and nothing tells from outside that it has run.
    tokio::time::sleep(millis(200)).await;
    late.send(GET).await;
    let answer = late.answer().await.expect("a refusal");
    assert_eq!((answer.status, answer.close), (503, true), "{answer:?}");
    assert!(
        answer
            .head
            .to_ascii_lowercase()
            .contains("\r\nretry-after: 1\r\n"),
        "{answer:?}"
    );
    rig.control.release.add_permits(1);
    assert!(
        busy.served().await.close,
        "in flight is served under either policy"
    );
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::LateRefused), 1);
}

#[tokio::test]
async fn steering_is_spread_over_the_floor_and_spares_new_connections() {
    let minute = window(60_000, 60_000, 60_000);
    let plan = Plan::preset(Preset::Local)
        .with_grace(Duration::from_secs(600))
        .and_then(|plan| plan.with_window(minute))
        .expect("a plan");
    let rig = Rig::start(plan).await;
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(Client::reused(rig.addr).await);
    }
    rig.terminate().await;
    let mut steered = 0;
    for client in &mut open {
        client.send(GET).await;
        steered += u32::from(client.served().await.close);
    }
    assert!(steered < 32, "a floor of a minute is not over in a moment");
    let mut fresh = rig.connect().await;
    for _ in 0..3 {
        fresh.send(GET).await;
        assert!(
            !fresh.served().await.close,
            "a balancer that still routes here pays no handshake a request"
        );
    }
    rig.life.cut();
    assert!(matches!(rig.outcome().await, Outcome::Cut(_)));
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_with_500() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut client = rig.connect().await;
    client.send(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.close), (500, true));
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.count(Count::Panicked), 1);
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn drain_is_at_hand_in_handlers_and_nowhere_else() {
    let rig = Rig::start(plan(window(0, 5_000, 5_000))).await;
    let mut client = rig.connect().await;
    client.send(b"GET /drain HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.served().await.text(), "Some(false)");
    assert!(lameduck_http::drain().is_none());
}
