//! Participants that are other processes: from hello to over, and everything that goes wrong in between.

use std::time::Duration;

use lameduck::{Outcome, ParticipantState, Phase, Window};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::{Controlled, Sidecar};
use crate::support::{plan, soon};

async fn leave(controlled: &Controlled) {
    controlled.rig.life.shutdown("the test");
    soon("it leaves", controlled.rig.life.drain().steering()).await;
}

fn state(controlled: &Controlled, name: &str) -> ParticipantState {
    let report = controlled.rig.life.report().expect("it is over");
    let mut all = report.participants.iter();
    let one = all.find(|one| one.name == name).expect("it took part");
    one.state.clone()
}

#[tokio::test]
async fn a_sidecar_takes_part_from_hello_to_over() {
    let controlled = Controlled::start("whole", plan(Window::NONE)).await;
    let how = r#"{"name": "shipper", "budget_ms": 15000, "unknown": 1}"#;
    let mut sidecar = Sidecar::join(&controlled, how).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    controlled
        .until_it("shipper", "it is up", |one| one["state"] == "up")
        .await;
    let one = controlled.participant("shipper").await;
    assert_eq!(one["session"]["pid"], std::process::id(), "{one}");
    assert_eq!(one["budget_ms"], 15_000.0, "{one}");
    leave(&controlled).await;
    let asked = sidecar.told("shutdown_request").await;
    assert_eq!(asked["id"], controlled.rig.life.drain_id());
    assert_eq!(sidecar.drain, controlled.rig.life.drain_id());
    assert_eq!(asked["again"], false);
    assert_eq!(asked["budget_ms"], 15_000);
    assert_eq!(asked["cause"]["kind"], "api");
    let left = asked["left_ms"].as_u64().expect("a number");
    assert!((1..=30_000).contains(&left), "{left}");
    sidecar
        .says_taken(r#"{"type": "ack", "id": "DRAIN"}"#)
        .await;
    sidecar.told("close").await;
    let working = r#"{"type": "working", "id": "DRAIN", "done": 3, "total": 9, "note": "half"}"#;
    sidecar.says_taken(working).await;
    controlled
        .until_it("shipper", "it works", |one| {
            one["state"] == "working" && one["progress"]["note"] == "half"
        })
        .await;
    assert_eq!(
        controlled.rig.life.phase(),
        Phase::Draining,
        "it is waited for"
    );
    let done = r#"{"type": "done", "id": "DRAIN", "figures": {"sent": 41}}"#;
    sidecar.says_taken(done).await;
    let over = sidecar.told("over").await;
    assert_eq!(over["state"], "done");
    assert_eq!(soon("the end", sidecar.next()).await, None);
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
    assert_eq!(state(&controlled, "shipper"), ParticipantState::Done);
    let report = controlled.rig.life.report().expect("it is over").to_json();
    assert!(report.contains(r#""figures":{"sent":41}"#), "{report}");
}

#[tokio::test]
async fn wishes_are_granted_once_and_answered_again_and_operators_give_too() {
    let controlled = Controlled::start("wishes", plan(Window::NONE)).await;
    let how = r#"{"name": "slow", "budget_ms": 10000}"#;
    let mut sidecar = Sidecar::join(&controlled, how).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    let gift = r#"{"name": "slow", "by_ms": 1000}"#;
    let (status, said) = controlled.json("POST /grant", gift).await;
    assert_eq!(status, 409, "nothing is to be given yet: {said}");
    leave(&controlled).await;
    sidecar.told("shutdown_request").await;
    sidecar.told("close").await;
    let wish = r#"{"type": "need_more", "id": "DRAIN", "wish": 7, "by_ms": 2000, "why": "much"}"#;
    for _ in 0..3 {
        sidecar.says_taken(wish).await;
        let granted = sidecar.told("granted").await;
        assert_eq!(
            (&granted["wish"], &granted["by_ms"]),
            (&7.into(), &2_000.into())
        );
        assert_eq!(granted["budget_ms"], 12_000, "once only: {granted}");
    }
    let (status, said) = controlled.json("POST /grant", gift).await;
    assert_eq!((status, &said["by_ms"]), (200, &1_000.into()), "{said}");
    let granted = sidecar.told("granted").await;
    assert_eq!(
        (&granted["wish"], &granted["by_ms"]),
        (&Value::Null, &1_000.into())
    );
    assert_eq!(granted["budget_ms"], 13_000, "{granted}");
    // No more than the drain has.
    let (status, said) = controlled
        .json("POST /grant", r#"{"name": "slow", "by_ms": 600000}"#)
        .await;
    let got = said["by_ms"].as_u64().expect("a number");
    assert_eq!((status, got < 30_000), (200, true), "{said}");
    assert_eq!(sidecar.told("granted").await["by_ms"], got);
    let (status, _) = controlled
        .json("POST /grant", r#"{"name": "nobody", "by_ms": 1}"#)
        .await;
    assert_eq!(status, 404);
    sidecar
        .says_taken(r#"{"type": "done", "id": "DRAIN"}"#)
        .await;
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
}

#[tokio::test]
async fn one_that_refuses_is_not_waited_for_and_is_named() {
    let controlled = Controlled::start("refuses", plan(Window::NONE)).await;
    let mut sidecar = Sidecar::join(&controlled, r#"{"name": "stubborn"}"#).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    leave(&controlled).await;
    sidecar.told("shutdown_request").await;
    let refused = r#"{"type": "refused", "id": "DRAIN", "why": "a backup runs"}"#;
    sidecar.says_taken(refused).await;
    let over = loop {
        let told = soon("its end", sidecar.next()).await.expect("not over");
        if told["type"] == "over" {
            break told;
        }
    };
    assert_eq!(over["state"], "refused");
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Failed);
    let why = "a backup runs".to_owned();
    assert_eq!(
        state(&controlled, "stubborn"),
        ParticipantState::Refused { why }
    );
}

#[tokio::test]
async fn one_that_vanishes_while_it_is_waited_for_has_failed_at_once() {
    let controlled = Controlled::start("vanishes", plan(Window::NONE)).await;
    let mut sidecar = Sidecar::join(&controlled, r#"{"name": "frail"}"#).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    leave(&controlled).await;
    sidecar.told("shutdown_request").await;
    sidecar.told("close").await;
    // As after kill -9: the kernel closes what it had.
    drop(sidecar);
    let outcome = soon(
        "the end, long before the drain's",
        controlled.rig.life.outcome(),
    )
    .await;
    assert_eq!(outcome, Outcome::Failed);
    let why = "its connection ended".to_owned();
    assert_eq!(
        state(&controlled, "frail"),
        ParticipantState::Failed { why }
    );
}

#[tokio::test]
async fn one_that_says_nothing_is_asked_again_and_named_at_its_budget() {
    let controlled = Controlled::start("silent", plan(Window::NONE)).await;
    let how = r#"{"name": "silent", "budget_ms": 300}"#;
    let mut sidecar = Sidecar::join(&controlled, how).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    leave(&controlled).await;
    sidecar.told("shutdown_request").await;
    sidecar.told("close").await;
    assert_eq!(sidecar.told("shutdown_request").await["again"], true);
    assert_eq!(sidecar.told("over").await["state"], "overdue");
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert!(matches!(outcome, Outcome::Forced { .. }), "{outcome}");
    let answered = false;
    assert_eq!(
        state(&controlled, "silent"),
        ParticipantState::Overdue { answered }
    );
}

#[tokio::test]
async fn one_that_goes_away_while_running_may_come_back_to_its_place() {
    let controlled = Controlled::start("away", plan(Window::NONE)).await;
    let sidecar = Sidecar::join(&controlled, r#"{"name": "agent"}"#).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    let old = sidecar.session.clone();
    drop(sidecar);
    controlled
        .until_it("agent", "it is away", |one| one["state"] == "away")
        .await;
    assert_eq!(
        controlled.rig.life.phase(),
        Phase::Running,
        "nothing failed"
    );
    let mut sidecar = Sidecar::join(&controlled, r#"{"name": "agent"}"#).await;
    assert_ne!(sidecar.session, old);
    let line = format!("POST /v1/sessions/{old}");
    assert_eq!(controlled.json(&line, r#"{"type": "ready"}"#).await.0, 404);
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    leave(&controlled).await;
    sidecar.told("shutdown_request").await;
    sidecar
        .says_taken(r#"{"type": "done", "id": "DRAIN"}"#)
        .await;
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
}

#[tokio::test]
async fn whoever_comes_back_comes_with_the_terms_it_had() {
    let controlled = Controlled::start("terms", plan(Window::NONE)).await;
    let first = Sidecar::join(&controlled, r#"{"name":"cache","budget_ms":300}"#).await;
    drop(first);
    controlled
        .until_it("cache", "it is away", |one| one["state"] == "away")
        .await;
    for other in [
        r#"{"name":"cache","budget_ms":400}"#,
        r#"{"name":"cache"}"#,
        r#"{"name":"cache","budget_ms":300,"after":["side"]}"#,
    ] {
        let (status, said) = controlled.json("POST /v1/participants", other).await;
        assert_eq!(status, 409, "{said}");
        let said = said["said"].as_str().expect("a sentence");
        assert!(
            said.contains("with a budget of 300 ms, after nobody"),
            "{said}"
        );
    }
    let mut back = Sidecar::join(&controlled, r#"{"name":"cache","budget_ms":300}"#).await;
    back.says_taken(r#"{"type":"ready"}"#).await;
    leave(&controlled).await;
    back.told("shutdown_request").await;
    back.says_taken(r#"{"type":"done","id":"DRAIN"}"#).await;
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
}

#[tokio::test]
async fn names_from_outside_leave_room_for_the_program_s_own() {
    let controlled = Controlled::start("names", plan(Window::NONE)).await;
    for number in 0..512 {
        let how = format!(r#"{{"name":"n{number}"}}"#);
        drop(Sidecar::join(&controlled, &how).await);
    }
    let (status, said) = controlled
        .json("POST /v1/participants", r#"{"name":"one more"}"#)
        .await;
    assert_eq!(status, 409, "{said}");
    let own = controlled.rig.life.participate("own").register();
    own.expect("room").done();
    controlled.rig.life.cut();
}

#[tokio::test]
async fn operators_that_give_at_once_are_told_what_each_gave() {
    let controlled = Controlled::start("gifts", plan(Window::NONE)).await;
    let mut sidecar = Sidecar::join(&controlled, r#"{"name":"cache","budget_ms":3000}"#).await;
    sidecar.says_taken(r#"{"type":"ready"}"#).await;
    leave(&controlled).await;
    sidecar.told("shutdown_request").await;
    let give = async |by: u64| {
        let gift = format!(r#"{{"name":"cache","by_ms":{by}}}"#);
        let (status, said) = controlled.json("POST /grant", &gift).await;
        assert_eq!((status, said["by_ms"].as_u64()), (200, Some(by)), "{said}");
    };
    tokio::join!(give(11), give(12), give(13), give(14));
    let nothing = r#"{"name":"cache","by_ms":0}"#;
    let (status, said) = controlled.json("POST /grant", nothing).await;
    assert_eq!(status, 409, "{said}");
    let grants = &controlled.participant("cache").await["grants"];
    assert_eq!(grants.as_array().map(Vec::len), Some(4), "{grants}");
    sidecar.says_taken(r#"{"type":"done","id":"DRAIN"}"#).await;
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
}

#[tokio::test]
async fn nobody_waits_for_one_that_is_away() {
    let controlled = Controlled::start("absent", plan(Window::NONE)).await;
    let sidecar = Sidecar::join(&controlled, r#"{"name": "agent"}"#).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    drop(sidecar);
    controlled
        .until_it("agent", "it is away", |one| one["state"] == "away")
        .await;
    leave(&controlled).await;
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
}

#[tokio::test]
async fn late_and_repeated_answers_are_harmless_and_counted() {
    let controlled = Controlled::start("late", plan(Window::NONE)).await;
    // The service waits for this one until the other has said all that it has to say.
    let mut holding = Sidecar::join(&controlled, r#"{"name": "holding"}"#).await;
    holding.says_taken(r#"{"type": "ready"}"#).await;
    let mut sidecar = Sidecar::join(&controlled, r#"{"name": "chatty"}"#).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    for other in [
        r#"{"type": "done", "id": "of another drain"}"#,
        r#"{"type": "ack", "id": ""}"#,
    ] {
        let (status, answer) = sidecar.says(other).await;
        assert_eq!((status, &answer["taken"]), (200, &false.into()), "{answer}");
    }
    controlled
        .until_it("chatty", "both were counted", |one| {
            one["session"]["ignored"] == 2
        })
        .await;
    leave(&controlled).await;
    sidecar.told("shutdown_request").await;
    for _ in 0..3 {
        sidecar
            .says_taken(r#"{"type": "ack", "id": "DRAIN"}"#)
            .await;
    }
    sidecar
        .says_taken(r#"{"type": "done", "id": "DRAIN"}"#)
        .await;
    let (status, answer) = sidecar.says(r#"{"type": "done", "id": "DRAIN"}"#).await;
    assert!(status == 404 || answer["taken"] == false, "{answer}");
    holding.told("shutdown_request").await;
    holding
        .says_taken(r#"{"type": "done", "id": "DRAIN"}"#)
        .await;
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_a_reason() {
    let controlled = Controlled::start("refused", plan(Window::NONE)).await;
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(65));
    let large = format!(r#"{{"name": "a", "more": "{}"}}"#, "x".repeat(17 * 1024));
    for (body, status, why) in [
        ("", 400, "no JSON"),
        ("[]", 400, "name"),
        ("{}", 400, "name is missing"),
        (r#"{"name": ""}"#, 400, "1 to 64 bytes"),
        (r#"{"name": "a\nb"}"#, 400, "1 to 64 bytes"),
        (&long, 400, "1 to 64 bytes"),
        (&large, 400, "more than 16384 bytes"),
        (r#"{"name": "a", "budget_ms": 0}"#, 400, "budget_ms"),
        (r#"{"name": "a", "after": "b"}"#, 400, "after"),
        (
            r#"{"name": "a", "after": ["nobody"]}"#,
            409,
            r#"enrolled as "nobody""#,
        ),
    ] {
        let (got, said) = controlled.json("POST /v1/participants", body).await;
        assert_eq!(got, status, "{body}: {said}");
        assert!(
            said["said"].as_str().expect("text").contains(why),
            "{body}: {said}"
        );
    }
    let sidecar = Sidecar::join(&controlled, r#"{"name": "taken"}"#).await;
    let (status, said) = controlled
        .json("POST /v1/participants", r#"{"name": "taken"}"#)
        .await;
    assert_eq!(status, 409);
    let who = format!("as pid {}", std::process::id());
    assert!(
        said["said"].as_str().expect("text").contains(&who),
        "{said}"
    );
    for (message, why) in [
        ("", "no JSON"),
        ("3", "JSON"),
        (r#"{"type": "dance"}"#, r#"type "dance""#),
        (r#"{"type": "ack"}"#, r#"field "id""#),
        (
            r#"{"type": "working", "id": "x", "done": -1, "total": 2}"#,
            r#"field "done""#,
        ),
    ] {
        let (status, said) = sidecar.says(message).await;
        assert_eq!(status, 400, "{message}: {said}");
        assert!(said["said"].as_str().expect("text").contains(why), "{said}");
    }
    // It is waited for, so that there is somebody to ask.
    sidecar.says_taken(r#"{"type": "ready"}"#).await;
    leave(&controlled).await;
    let (status, said) = controlled
        .json("POST /v1/participants", r#"{"name": "late"}"#)
        .await;
    assert_eq!(status, 409, "{said}");
    drop(sidecar);
    let _ = soon("the end", controlled.rig.life.outcome()).await;
}

#[tokio::test]
async fn what_others_depend_on_closes_after_them() {
    let controlled = Controlled::start("order", plan(Window::NONE)).await;
    let mut store = Sidecar::join(&controlled, r#"{"name": "store"}"#).await;
    let mut writer = Sidecar::join(&controlled, r#"{"name": "writer", "after": ["store"]}"#).await;
    for sidecar in [&store, &writer] {
        sidecar.says_taken(r#"{"type": "ready"}"#).await;
    }
    leave(&controlled).await;
    store.told("shutdown_request").await;
    writer.told("shutdown_request").await;
    writer.told("close").await;
    let early = tokio::time::timeout(Duration::from_millis(50), store.next()).await;
    assert!(early.is_err(), "{early:?}");
    writer
        .says_taken(r#"{"type": "done", "id": "DRAIN"}"#)
        .await;
    store.told("close").await;
    store.says_taken(r#"{"type": "done", "id": "DRAIN"}"#).await;
    let outcome = soon("the end", controlled.rig.life.outcome()).await;
    assert_eq!(outcome, Outcome::Drained);
}

#[tokio::test]
async fn one_that_dies_is_gone_whatever_it_sent_behind_its_request() {
    let controlled = Controlled::start("trailing", plan(Window::NONE)).await;
    let pipelined = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for (behind, late) in [("\r\n", ""), (pipelined, ""), ("", "x"), ("", "")] {
        let mut sidecar = Sidecar::join_with(&controlled, r#"{"name": "frail"}"#, behind).await;
        if !late.is_empty() {
            let stream = sidecar.stream.get_mut();
            stream.write_all(late.as_bytes()).await.expect("written");
            // hyper has taken it up by the time an answer is here.
            sidecar.says_taken(r#"{"type": "ready"}"#).await;
        }
        controlled
            .until_it("frail", "it takes part", |one| !one["session"].is_null())
            .await;
        drop(sidecar);
        controlled
            .until_it("frail", "its connection is seen to end", |one| {
                one["session"].is_null()
            })
            .await;
    }
}
