//! H1-09 to H1-13 and P2: bodies across T, those that end, those that stand still and those that never end.

use std::time::Duration;

use bytes::Bytes;
use lameduck::{Count, Known, Outcome, Plan, Window};
use lameduck_http::Limits;

use crate::support::{Ended, Rig, millis, plan, soon, window};

#[tokio::test]
async fn h1_09_an_upload_with_progress_is_read_whole() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut client = rig.connect().await;
    client
        .send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234")
        .await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    client.send(b"56789").await;
    let answer = client.served().await;
    assert_eq!(answer.text(), "10");
    assert!(answer.close);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_09_a_stalled_upload_does_not_hold_the_exit() {
    let mut limits = Limits::default();
    limits.stall_draining = millis(100);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut client = rig.connect().await;
    client
        .send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234")
        .await;
    rig.control.entered().await;
    rig.terminate().await;
    assert!(client.answer().await.is_none());
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::StallExpired), 1);
}

#[tokio::test]
async fn h1_10_a_slow_reader_gets_every_byte_of_a_large_response() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut client = rig.connect().await;
    client
        .send(format!("GET /large?bytes={LENGTH} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
        .await;
    client.head_seen().await;
    rig.terminate().await;
    rig.window_end().await;
    assert!(rig.life.report().is_none(), "the rest is still to be read");
    let answer = client.served().await;
    assert_eq!(answer.body.len(), LENGTH);
    assert_eq!(client.end().await, &Ended::Fin);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

#[tokio::test]
async fn h1_10_a_reader_that_stops_does_not_hold_the_exit() {
    let mut limits = Limits::default();
    limits.stall_draining = millis(100);
    let rig = Rig::limited(plan(Window::NONE), limits).await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /large?bytes=67108864 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    client.head_seen().await;
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::StallExpired), 1);
}

/// What such a reader acknowledged at first is progress once, not for a second limit: that would reach the drain deadline.
#[tokio::test]
async fn h1_10_a_reader_that_stopped_long_ago_has_one_limit_not_two() {
    const STALL: Duration = Duration::from_secs(2);
    let mut limits = Limits::default();
    limits.stall_draining = STALL;
    let grace = Duration::from_secs(5);
    let plan = plan(Window::NONE).with_grace(grace).expect("a plan");
    assert!(plan.drain_end() > STALL * 3 / 2 && plan.drain_end() < STALL * 2);
    let rig = Rig::limited(plan, limits).await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /large?bytes=67108864 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    client.head_seen().await;
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    assert_eq!(rig.count(Count::StallExpired), 1);
}

#[tokio::test]
async fn h1_11_a_chunked_response_that_ends_in_the_drain_is_whole() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let chunks = rig.control.stream().await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    chunks
        .send(Bytes::from_static(b"one"))
        .await
        .expect("a reader");
    chunks
        .send(Bytes::from_static(b"two"))
        .await
        .expect("a reader");
    drop(chunks);
    assert_eq!(client.served().await.text(), "onetwo");
    assert_eq!(rig.outcome().await, Outcome::Drained);
}

/// A plan whose drain deadline comes a moment after T.
fn hasty() -> Plan {
    plan(Window::NONE)
        .with_grace(Plan::LEAST_GRACE)
        .expect("the least grace")
}

fn straggler_paths(rig: &Rig) -> Vec<String> {
    let report = rig.life.report().expect("a report");
    let paths = report
        .stragglers
        .iter()
        .filter_map(|straggler| match &straggler.what {
            Known::Request { path, .. } => Some(path.clone()),
            _ => None,
        });
    paths.collect()
}

#[tokio::test]
async fn h1_11_an_endless_response_looks_cut_and_is_named() {
    let rig = Rig::start(hasty()).await;
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
    rig.terminate().await;
    let answer = client.answer().await.expect("a head");
    assert!(!answer.whole, "{answer:?}");
    assert_eq!(rig.outcome().await, Outcome::Forced { code: None });
    assert_eq!(straggler_paths(&rig), ["/stream"]);
    assert_eq!(rig.count(Count::Ended), 1);
    soon("the stream's end", chunks.closed()).await;
}

#[tokio::test]
async fn h1_11_a_response_delimited_by_its_close_is_reset_when_it_is_cut() {
    let rig = Rig::start(hasty()).await;
    let chunks = rig.control.stream().await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /stream HTTP/1.0\r\nhost: a\r\n\r\n")
        .await;
    rig.control.entered().await;
    chunks
        .send(Bytes::from_static(b"one"))
        .await
        .expect("a reader");
    rig.terminate().await;
    let answer = client.answer().await.expect("a head");
    assert!(!answer.whole, "{answer:?}");
    assert_eq!(client.ended, Some(Ended::Reset));
}

#[tokio::test]
async fn p2_a_request_that_never_ends_is_ended_by_the_deadline_and_named() {
    let rig = Rig::start(hasty()).await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /never?secret=1 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    rig.control.entered().await;
    rig.terminate().await;
    assert!(client.answer().await.is_none());
    assert_eq!(rig.outcome().await, Outcome::Forced { code: None });
    assert_eq!(straggler_paths(&rig), ["/never"]);
}

#[tokio::test]
async fn h1_12_an_early_answer_to_an_unread_upload_is_readable() {
    let rig = Rig::start(plan(window(0, 5_000, 5_000))).await;
    let mut client = rig.connect().await;
    client
        .send(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 4194304\r\n\r\n")
        .await;
    // The answer is given before the upload; its FIN must not become a reset while the client goes on.
    client.head_seen().await;
    rig.terminate().await;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..32 {
        client
            .try_send(&piece)
            .await
            .expect("no reset while the client still sends");
        tokio::task::yield_now().await;
    }
    assert_eq!(client.served().await.text(), "early");
    assert_eq!(client.end().await, &Ended::Fin);
}

#[tokio::test]
async fn h1_13_expect_continue_waiting_at_t_is_served() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let mut client = rig.connect().await;
    client
        .send(
            b"POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
        )
        .await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.window_end().await;
    let interim = client.interim().await;
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    client.send(b"body").await;
    let answer = client.served().await;
    assert_eq!(answer.text(), "4");
    assert!(answer.close);
}
