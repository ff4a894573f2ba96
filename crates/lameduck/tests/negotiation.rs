//! Participants that negotiate with a lifecycle in the same process.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use lameduck::{Lifecycle, Outcome, Participant, ParticipantState, Phase, Plan, Preset, Window};

/// Longer than anything here takes: a test that waits for this has failed.
const LONG: Duration = Duration::from_secs(20);
const MS: Duration = Duration::from_millis(1);

/// The drain ends 28.5 s after the request.
fn life() -> Lifecycle {
    let plan = Plan::preset(Preset::Local)
        .with_grace(Duration::from_secs(30))
        .and_then(|plan| plan.with_window(Window::NONE))
        .expect("a plan that can be kept");
    Lifecycle::embedded(plan).expect("a lifecycle")
}

/// A participant with a budget of 5 s, told to finish.
async fn told_to_finish(life: &Lifecycle) -> Participant {
    let outbox = life.participate("outbox").budget(5_000 * MS);
    let outbox = outbox.register().expect("enrolled");
    outbox.ready();
    life.ready();
    life.shutdown("test");
    soon(outbox.closing()).await;
    outbox
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("in time")
}

#[tokio::test]
async fn n_3_a_participant_is_told_what_it_gets() {
    let life = life();
    let outbox = life.participate("outbox").budget(5_000 * MS);
    let outbox = outbox.register().expect("enrolled");
    outbox.ready();
    life.ready();
    assert_eq!(
        soon(outbox.need_more(MS, "too early")).await,
        Duration::ZERO
    );
    assert_eq!(outbox.terms(), None);
    life.shutdown("test");
    soon(outbox.closing()).await;
    let first = outbox.need_more(1_000 * MS, "so much left");
    drop(outbox.need_more(2_000 * MS, "dropped, and granted all the same"));
    let third = outbox.need_more(1_000_000 * MS, "everything");
    let rest = soon(third).await;
    assert_eq!(soon(first).await, 1_000 * MS);
    let terms = outbox.terms().expect("it leaves");
    assert_eq!(terms.budget, Some(8_000 * MS + rest));
    assert!(
        terms.used.is_some() && terms.left > 20_000 * MS,
        "{terms:?}"
    );
    assert!(
        rest < 21_000 * MS,
        "the drain has no more than that: {rest:?}"
    );
    outbox.done_with([("batches", 3), ("bytes", -1)]);
    assert_eq!(soon(life.outcome()).await, Outcome::Drained);
    let one = &life.report().expect("it is over").participants[0];
    assert_eq!(one.grants.len(), 3);
    let figures = [("batches".to_owned(), 3), ("bytes".to_owned(), -1)];
    assert_eq!(one.figures, figures);
}

#[tokio::test]
async fn n_3_wishes_beyond_the_bound_and_after_the_end_get_nothing_and_do_not_hang() {
    let life = life();
    let outbox = told_to_finish(&life).await;
    let mut got = Vec::new();
    for _ in 0..20 {
        got.push(soon(outbox.need_more(MS, "")).await);
    }
    assert_eq!(got[..16], [MS; 16]);
    assert_eq!(got[16..], [Duration::ZERO; 4]);
    let other = life.participate("too late").register();
    assert!(other.is_err(), "nothing enrols while it leaves");
    life.cut();
    let _ = soon(life.outcome()).await;
    assert_eq!(soon(outbox.need_more(MS, "late")).await, Duration::ZERO);
    outbox.done();
}

#[tokio::test]
async fn operators_give_time_by_name() {
    let life = life();
    let outbox = told_to_finish(&life).await;
    let mut given = pin!(outbox.given());
    let pending = std::future::poll_fn(|cx| Poll::Ready(given.as_mut().poll(cx).is_pending()));
    assert!(pending.await, "nobody gave anything yet");
    life.grant("outbox", 700 * MS).expect("it is there");
    assert_eq!(soon(given).await, 700 * MS);
    assert_eq!(outbox.terms().expect("it leaves").budget, Some(5_700 * MS));
    assert!(life.place("outbox").is_some() && life.place("inbox").is_none());
    let none = life.grant("inbox", MS).expect_err("nobody has this name");
    assert_eq!(none.to_string(), r#"no participant is named "inbox""#);
    outbox.done();
    assert_eq!(soon(life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn progress_is_in_status_and_report() {
    let life = life();
    let outbox = life.participate("outbox").register().expect("enrolled");
    outbox.ready();
    life.ready();
    life.shutdown("test");
    soon(outbox.closing()).await;
    outbox.working_on(3, 10, "flushing \"a\"");
    // Its own wish is answered after what it said before.
    soon(outbox.need_more(MS, "")).await;
    let status: serde_json::Value =
        serde_json::from_str(&life.status().to_json()).expect("a status is JSON");
    let one = &status["participants"][0];
    let told = serde_json::json!({"done": 3, "total": 10, "note": "flushing \"a\""});
    assert_eq!(one["progress"], told);
    assert_eq!(one["grants"][0]["by_ms"], 0.0, "it has no budget");
    let holds = life.status().holds().expect("it leaves");
    assert!(
        holds.contains("outbox (3 of 10, flushing \"a\")"),
        "{holds}"
    );
    outbox.refuse("later");
    assert_eq!(soon(life.outcome()).await, Outcome::Failed);
    let report = life.report().expect("it is over");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
    assert_eq!(json["participants"][0]["progress"], told);
    assert_eq!(json["participants"][0]["state"], "refused");
    assert_eq!(json["participants"][0]["why"], "later");
}

#[tokio::test]
async fn who_is_away_is_not_waited_for() {
    let life = life();
    let sidecar = life.participate("sidecar").register().expect("enrolled");
    sidecar.ready();
    life.ready();
    soon(life.running()).await;
    sidecar.away("its connection ended");
    life.shutdown("test");
    assert_eq!(soon(life.outcome()).await, Outcome::Drained);
    assert_eq!(life.phase(), Phase::Stopped);
    let state = &life.report().expect("it is over").participants[0].state;
    assert!(matches!(state, ParticipantState::Away { why } if why == "its connection ended"));
    sidecar.done();
}

#[tokio::test]
async fn workers_negotiate_too() {
    let life = life();
    life.worker_within("outbox", 5_000 * MS, async |stop: lameduck::Stop| {
        stop.closing().await;
        stop.working_on(1, 2, "half");
        let more = stop.need_more(500 * MS, "the other half").await;
        assert_eq!(more, 500 * MS);
        assert_eq!(stop.terms().expect("it leaves").budget, Some(5_500 * MS));
    })
    .expect("enrolled");
    life.ready();
    life.shutdown("test");
    assert_eq!(soon(life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn n_2_who_speaks_for_it_is_told_how_it_ended() {
    let life = life();
    let outbox = told_to_finish(&life).await;
    let ended = outbox.ended();
    let why = "its connection ended".to_owned();
    outbox.away(why.clone());
    assert_eq!(soon(ended).await, Some(ParticipantState::Failed { why }));
    assert_eq!(soon(life.outcome()).await, Outcome::Failed);
    outbox.done();
    // A cut ends the process before anybody has ended.
    let life = self::life();
    let outbox = told_to_finish(&life).await;
    let ended = outbox.ended();
    life.cut();
    assert_eq!(soon(ended).await, None);
    outbox.done();
}
