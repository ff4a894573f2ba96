//! Departures that wait, for their time or their turn, against the real driver thread: who gives turns, what is taken back, who leaves without.
//!
//! Every wait is for an event, with a bound. Where time itself is meant, it only has to pass.

#[path = "support/embedded.rs"]
mod embedded;

use std::time::Duration;

use embedded::{begin, running, within};
use lameduck::{
    Lifecycle, Outcome, Phase, Plan, Preset, Window,
    machine::{Uncancellable, WishEnd},
};

/// A lifecycle that leaves without a turn 100 ms after it was asked.
fn impatient() -> (Lifecycle, Duration) {
    let plan = Plan::preset(Preset::Local)
        .with_window(Window::NONE)
        .expect("a plan that can be kept");
    let needs = plan.drain_end() - Duration::from_millis(100);
    (Lifecycle::embedded(plan).expect("a driver"), needs)
}

fn notes(life: &Lifecycle) -> Vec<String> {
    let report = life.report().expect("it is over");
    report.events.iter().map(|one| one.what.clone()).collect()
}

#[tokio::test]
async fn a_request_waits_until_its_turn_is_given() {
    let life = begin();
    let mut turns = life.turns(None).expect("the only one");
    running(&life).await;
    life.shutdown("a new version");
    let wish = within("the wish", turns.wanted()).await;
    assert!(wish.cause().to_string().contains("a new version"));
    assert!(wish.left() <= wish.drain_left());
    assert_eq!(life.phase(), Phase::Running);
    assert!(life.enter().is_ok(), "everything is served while it waits");
    assert!(!life.drain().is_steering());
    let status = life.status().to_json();
    assert!(status.contains(r#""waits":{"for":"turn""#), "{status}");
    assert!(life.status().holds().is_some_and(|it| it.contains("turn")));

    wish.granted("slot 1 of 1");
    assert_eq!(
        within("the end of the wish", wish.over()).await,
        WishEnd::Leaves
    );
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    let notes = notes(&life);
    assert!(
        notes.iter().any(|note| note.ends_with(": slot 1 of 1")),
        "{notes:?}"
    );
    let report = life.report().expect("it is over");
    let begun = report
        .phases
        .iter()
        .find(|one| one.phase == Phase::Terminating)
        .map(|one| one.at);
    assert!(
        begun > report.requested_at,
        "T is when it was asked, not when it left"
    );
}

#[tokio::test]
async fn nobody_s_turn_is_waited_for_beyond_what_the_drain_needs() {
    let (life, needs) = impatient();
    let mut turns = life.turns(Some(needs)).expect("the only one");
    running(&life).await;
    life.shutdown("test");
    let wish = within("the wish", turns.wanted()).await;
    assert_eq!(
        within("the end of the wish", wish.over()).await,
        WishEnd::Leaves
    );
    // Too late, and so nothing.
    wish.granted("late");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    let notes = notes(&life);
    assert!(
        notes.iter().any(|note| note.contains("it leaves without")),
        "{notes:?}"
    );
    assert!(!notes.iter().any(|note| note.contains("late")), "{notes:?}");
}

#[tokio::test]
async fn what_needs_all_the_time_there_is_waits_for_nobody() {
    let life = begin();
    let all = life.plan().drain_end();
    let _turns = life.turns(Some(all)).expect("the only one");
    running(&life).await;
    life.shutdown("test");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    assert!(
        notes(&life)
            .iter()
            .any(|note| note.contains("without a turn"))
    );
}

#[tokio::test]
async fn what_waits_is_taken_back_and_can_be_asked_for_again() {
    let life = begin();
    let mut turns = life.turns(None).expect("the only one");
    running(&life).await;
    let nothing = within("the answer", life.cancel("by mistake")).await;
    assert_eq!(nothing, Err(Uncancellable::NothingWaits));

    life.shutdown("by mistake");
    let wish = within("the wish", turns.wanted()).await;
    assert_eq!(
        within("the answer", life.cancel("it was one")).await,
        Ok(())
    );
    assert_eq!(
        within("the end of the wish", wish.over()).await,
        WishEnd::Cancelled
    );
    assert!(!life.status().to_json().contains("\"waits\""));
    // What was given for the old wish does not count for the next.
    wish.granted("for the old one");
    life.shutdown("now for good");
    let wish = within("the second wish", turns.wanted()).await;
    assert_eq!(life.phase(), Phase::Running);
    wish.granted("for the new one");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    let cause = life.report().and_then(|report| report.cause.clone());
    assert!(cause.is_some_and(|cause| cause.to_string().contains("for good")));
    let late = within("the answer", life.cancel("too late")).await;
    assert_eq!(late, Err(Uncancellable::Leaving));
}

#[tokio::test]
async fn whoever_hurries_leaves_less_time_for_the_turn() {
    let (life, _) = impatient();
    let needs = Some(Duration::from_millis(100));
    let mut turns = life.turns(needs).expect("the only one");
    running(&life).await;
    life.shutdown("a new version");
    let wish = within("the wish", turns.wanted()).await;
    let before = wish.left();
    life.shutdown_within(Duration::from_secs(6), "and soon");
    within("the hurry", async {
        let latest = Duration::from_secs(6);
        while life.status().turn_ends_in().is_none_or(|it| it > latest) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        wish.left() < before - Duration::from_secs(2),
        "{:?}, and {before:?} before",
        wish.left()
    );
    wish.granted("its turn");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn an_announced_departure_comes_at_its_time_or_is_taken_back() {
    let life = begin();
    running(&life).await;
    life.shutdown_after(Duration::from_secs(3_600), "tonight");
    assert_eq!(
        within("the answer", life.cancel("not tonight")).await,
        Ok(())
    );
    life.shutdown_after(Duration::from_secs(3_600), "tonight");
    // The last word counts.
    life.shutdown_after(Duration::from_millis(5), "soon");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    let cause = life.report().and_then(|report| report.cause.clone());
    assert!(cause.is_some_and(|cause| cause.to_string().contains("soon")));
}

#[tokio::test]
async fn a_giver_that_goes_lets_what_waits_leave() {
    let life = begin();
    let mut turns = life.turns(None).expect("the only one");
    assert!(life.turns(None).is_none(), "one gives turns at a time");
    running(&life).await;
    life.shutdown("test");
    let wish = within("the wish", turns.wanted()).await;
    drop(turns);
    assert_eq!(
        within("the end of the wish", wish.over()).await,
        WishEnd::Leaves
    );
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}

#[tokio::test]
async fn a_giver_that_goes_in_the_same_moment_lets_go_too() {
    let life = begin();
    let turns = life.turns(None).expect("the only one");
    running(&life).await;
    // The driver has not asked yet.
    life.shutdown("test");
    drop(turns);
    let _again = life.turns(Some(life.plan().drain_end()));
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
    let notes = notes(&life);
    assert!(
        !notes
            .iter()
            .any(|note| note.contains("no turn came within")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_main_that_fails_while_its_turn_is_waited_for_has_failed() {
    let life = begin();
    let mut turns = life.turns(None).expect("the only one");
    running(&life).await;
    life.shutdown("test");
    let _wish = within("the wish", turns.wanted()).await;
    life.start_failed("out of memory");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
}

#[tokio::test]
async fn a_service_that_has_failed_waits_for_nobody() {
    let life = begin();
    let mut turns = life.turns(None).expect("the only one");
    let part = life.participate("part").register().expect("a participant");
    part.ready();
    running(&life).await;
    life.shutdown("test");
    let wish = within("the wish", turns.wanted()).await;
    part.failed("broken");
    assert_eq!(
        within("the end of the wish", wish.over()).await,
        WishEnd::Leaves
    );
    assert_eq!(within("the end", life.outcome()).await, Outcome::Failed);
}

#[tokio::test]
async fn a_cut_ends_the_wish() {
    let life = begin();
    let mut turns = life.turns(None).expect("the only one");
    running(&life).await;
    life.shutdown("test");
    let wish = within("the wish", turns.wanted()).await;
    life.cut();
    assert_eq!(
        within("the end of the wish", wish.over()).await,
        WishEnd::Cut
    );
    assert!(matches!(
        within("the end", life.outcome()).await,
        Outcome::Cut(_)
    ));
}

#[tokio::test]
async fn dropping_the_wait_for_a_wish_loses_none() {
    let life = begin();
    let mut turns = life.turns(None).expect("the only one");
    running(&life).await;
    for _ in 0..3 {
        let soon = tokio::time::timeout(Duration::from_millis(1), turns.wanted());
        assert!(soon.await.is_err(), "nothing was asked");
    }
    life.shutdown("test");
    while !life.status().to_json().contains("\"waits\"") {
        tokio::task::yield_now().await;
    }
    within("the wish", turns.wanted()).await.granted("now");
    assert_eq!(within("the end", life.outcome()).await, Outcome::Drained);
}
