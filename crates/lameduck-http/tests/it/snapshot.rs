//! Health snapshots of requests, by the layer that takes them.

use std::sync::mpsc;

use lameduck::{Lifecycle, Outcome, Phase, Window};
use lameduck_http::{HealthSnapshot, SnapshotHealth};

use crate::support::{Control, GET, Rig, SLOW, app, plan, window};

async fn rig(seen: mpsc::Sender<HealthSnapshot>, window: Window) -> Rig {
    let life = Lifecycle::embedded(plan(window)).expect("a lifecycle");
    let control = Control::new();
    let layer = SnapshotHealth::new(&life, move |snapshot| {
        seen.send(snapshot.clone()).expect("the test listens");
    });
    let app = app(control.clone()).layer(layer);
    let server = lameduck_http::serve(&life, "127.0.0.1:0", app)
        .await
        .expect("a server");
    let addr = server.local_addr().tcp().expect("tcp");
    Rig::running(life, addr, control).await
}

#[tokio::test]
async fn each_request_has_one_taken_when_its_answer_begins() {
    let (sender, seen) = mpsc::channel();
    let rig = rig(sender, window(0, 5_000, 5_000)).await;
    let mut client = rig.connect().await;
    client
        .send(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let chunks = rig.control.stream().await;
    client.head_seen().await;
    // The head is here and the body is not: it was not taken at the end.
    let first = seen.try_recv().expect("taken with the head");
    assert_eq!(
        (first.status.as_u16(), first.health.phase),
        (200, Phase::Running)
    );
    assert_eq!(first.health.connections, 1);
    assert!(first.health.tasks.expect("on a runtime") >= 1);
    assert!(first.health.uptime >= first.took);
    if cfg!(target_os = "linux") && !cfg!(lameduck_portable) {
        let resident = first.health.resident_bytes.expect("memory");
        assert!((1 << 20..1 << 40).contains(&resident), "{resident}");
        assert!(
            first.health.threads.expect("threads") >= 2,
            "the driver's, too"
        );
    }
    drop(chunks);
    client.served().await;

    let mut slow = rig.connect().await;
    slow.send(SLOW).await;
    rig.control.entered().await;
    rig.terminate().await;
    rig.control.release.add_permits(1);
    slow.served().await;
    let slow = seen.try_recv().expect("taken");
    assert_eq!(
        (slow.status.as_u16(), slow.health.phase),
        (200, Phase::Terminating)
    );
    assert_eq!(seen.try_recv(), Err(mpsc::TryRecvError::Empty), "one each");
    let mut missing = rig.connect().await;
    missing
        .send(b"GET /missing HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    missing.answer().await.expect("an answer");
    assert_eq!(seen.try_recv().expect("taken").status.as_u16(), 404);
}

#[tokio::test]
async fn the_report_says_how_the_process_was_at_its_end() {
    let (sender, _seen) = mpsc::channel();
    let rig = rig(sender, Window::NONE).await;
    let mut client = rig.connect().await;
    client.send(GET).await;
    client.served().await;
    rig.terminate().await;
    assert_eq!(rig.outcome().await, Outcome::Drained);
    let report = rig.life.report().expect("over");
    let health = report.health.expect("taken by the driver");
    assert_eq!((health.connections, health.guards), (0, 0));
    assert!(health.uptime <= report.ended_at + std::time::Duration::from_secs(60));
    let json = report.to_json();
    assert!(json.contains(r#""health":{"uptime_ms":"#), "{json}");
}
