//! What participants and operators may say while the service leaves, and what comes of it.

use std::time::Duration;

use lameduck::{News, Outcome, ParticipantState, Phase, Window};

use crate::script::{check, plan, play};

const START: &str = "0.000 enrol outbox budget 2
     0.000 ready outbox
     0.000 started
     1.000 SIGTERM";

fn script(more: &str) -> String {
    format!("{START}\n{more}")
}

#[track_caller]
fn state(script: &str) -> ParticipantState {
    let (run, _) = play(plan(Window::NONE), script);
    run.report.participants[0].state.clone()
}

/// The drain ends at 9.5 s: there is room for all of it.
#[test]
fn n_3_a_wish_moves_the_end_of_a_budget() {
    let run = check(
        plan(Window::NONE),
        &script("2.500 wish 1 of outbox 1.5\n4.400 done outbox"),
        "0.000 listeners open
         0.000 Running
         1.000 tell everyone: SIGTERM from outside this pid namespace (container runtime or kubelet)
         1.000 Terminating
         1.000 listeners close
         1.000 Draining
         1.000 no more connections
         1.000 outbox may finish
         1.000 no more guards
         2.000 ask outbox again
         2.500 outbox gets 1.500 for wish 1
         4.400 Stopped
         4.400 exit 0 (drained)",
    );
    let grant = &run.report.participants[0].grants[0];
    assert_eq!((grant.wish, &*grant.why), (Some(1), "so much left"));
    assert_eq!(grant.by, Duration::from_millis(1_500));
}

/// What is granted is waited for, and no longer.
#[test]
fn n_5_who_is_not_done_by_its_grant_is_given_up() {
    let (run, trace) = play(plan(Window::NONE), &script("1.500 wish 1 of outbox 1.5"));
    assert_eq!(
        run.entered(Phase::Stopped),
        Some(Duration::from_millis(4_500)),
        "{trace}"
    );
    assert!(!trace.contains("again"), "who wishes has answered: {trace}");
    let state = &run.report.participants[0].state;
    assert_eq!(*state, ParticipantState::Overdue { answered: true });
}

/// The end of the drain stays where it is: at 9.5 s.
#[test]
fn n_3_no_grant_reaches_beyond_the_end_of_the_drain() {
    let (run, trace) = play(
        plan(Window::NONE),
        &script("1.500 wish 1 of outbox 60\n1.600 wish 2 of outbox 1\n1.700 grant outbox 1"),
    );
    for told in [
        "1.500 outbox gets 6.500 for wish 1",
        "1.600 outbox gets 0.000 for wish 2",
        "1.700 outbox gets 0.000 for no wish",
        "9.500 end and name what is left",
    ] {
        assert!(trace.contains(told), "{told}: {trace}");
    }
    assert!(matches!(run.outcome, Some(Outcome::Forced { .. })));
}

/// Before it is told to close, its budget is reckoned as if that were now; the drain's end bounds it all the same.
#[test]
fn n_3_a_wish_in_the_window_is_granted_too() {
    let (_, trace) = play(
        plan(crate::window(3_000, 0, 3_000)),
        &script("2.000 wish 1 of outbox 60\n9.000 done outbox"),
    );
    assert!(
        trace.contains("2.000 outbox gets 5.500 for wish 1"),
        "{trace}"
    );
    assert!(trace.contains("4.000 outbox may finish"), "{trace}");
    assert!(trace.contains("9.000 Stopped"), "{trace}");
}

#[test]
fn n_4_the_same_wish_gets_the_same_again_in_any_order() {
    let (run, trace) = play(
        plan(Window::NONE),
        &script(
            "1.500 wish 2 of outbox 1
             1.600 wish 1 of outbox 5
             1.700 wish 2 of outbox 9
             1.800 done outbox
             1.900 wish 1 of outbox 5",
        ),
    );
    let told: Vec<_> = trace.lines().filter(|line| line.contains("gets")).collect();
    assert_eq!(
        told,
        [
            "1.500 outbox gets 1.000 for wish 2",
            "1.600 outbox gets 5.000 for wish 1",
            "1.700 outbox gets 1.000 for wish 2",
        ],
        "after the end there is nobody to tell"
    );
    assert_eq!(run.report.participants[0].grants.len(), 2);
    assert_eq!(run.outcome, Some(Outcome::Drained));
}

#[test]
fn n_3_who_has_no_budget_or_is_not_asked_gets_nothing() {
    let (run, trace) = play(
        plan(Window::NONE),
        "0.000 enrol cache
         0.000 enrol late
         0.000 ready cache
         0.500 wish 1 of cache 1
         1.000 SIGTERM
         1.100 wish 1 of cache 1
         1.100 wish 1 of late 1
         1.200 done cache",
    );
    let told = trace.lines().filter(|line| line.contains("gets"));
    let told: Vec<_> = told.map(|line| &line[..line.len() - 2]).collect();
    assert_eq!(
        told,
        [
            "0.500 cache gets 0.000 for wish",
            "1.100 cache gets 0.000 for wish",
            "1.100 late gets 0.000 for wish",
        ]
    );
    // Before the request it is no record either.
    assert_eq!(run.report.participants[0].grants.len(), 1);
}

#[test]
fn inv_11_wishes_have_a_bound() {
    let many: String = (1..=40)
        .map(|number| format!("1.500 wish {number} of outbox 0.1\n"))
        .collect();
    let given = "1.600 grant outbox 0.1\n".repeat(20);
    let (run, trace) = play(
        plan(Window::NONE),
        &script(&format!("{many}{given}1.700 wish 39 of outbox 0.1")),
    );
    let grants = &run.report.participants[0].grants;
    assert_eq!(grants.len(), 32, "16 of either kind");
    assert!(trace.contains("outbox gets 0.000 for wish 17"), "{trace}");
    assert!(
        trace.contains("1.700 outbox gets 0.000 for wish 39"),
        "{trace}"
    );
    assert_eq!(
        run.entered(Phase::Stopped),
        Some(Duration::from_millis(6_200)),
        "3 s after the request, and 3.2 s more"
    );
}

#[test]
fn n_2_who_refuses_is_not_waited_for_and_is_named() {
    let script = script("1.500 refuses outbox\n1.600 done outbox\n1.600 refuses outbox");
    let (run, trace) = play(plan(Window::NONE), &script);
    let why = "it is busy".to_owned();
    let state = &run.report.participants[0].state;
    assert_eq!(*state, ParticipantState::Refused { why });
    assert!(trace.contains("1.500 exit 1 (failed)"), "{trace}");
    assert_eq!(run.outcome, Some(Outcome::Failed));
    let told: Vec<_> = run.report.events.iter().map(|one| &*one.what).collect();
    assert_eq!(told, ["participant outbox refused to finish: it is busy"]);
}

#[test]
fn who_goes_away_while_serving_may_return_and_is_waited_for_then() {
    let back = "0.000 enrol outbox budget 2
         0.000 ready outbox
         0.000 started
         0.200 away outbox
         0.200 away outbox
         0.300 returned outbox
         0.300 returned outbox
         0.400 ready outbox
         1.000 SIGTERM
         1.500 done outbox";
    let (run, trace) = play(plan(Window::NONE), back);
    assert!(trace.contains("1.000 outbox may finish"), "{trace}");
    assert_eq!(run.outcome, Some(Outcome::Drained));
    let told = run
        .observed
        .iter()
        .filter(|one| matches!(one.news, News::Away { .. } | News::Returned { .. }));
    assert_eq!(told.count(), 2, "repeats are no news");
}

#[test]
fn n_2_who_is_away_at_the_request_is_neither_asked_nor_waited_for() {
    let (run, trace) = play(
        plan(Window::NONE),
        "0.000 enrol sidecar hook 1
         0.000 enrol server after sidecar
         0.000 ready sidecar server
         0.000 started
         0.200 away sidecar
         1.000 SIGTERM
         1.100 returned sidecar
         1.100 ready sidecar
         1.500 done server",
    );
    assert!(!trace.contains("sidecar"), "{trace}");
    assert!(trace.contains("1.500 exit 0 (drained)"), "{trace}");
    let why = "its connection ended".to_owned();
    let state = &run.report.participants[0].state;
    assert_eq!(*state, ParticipantState::Away { why });
}

#[test]
fn who_is_away_does_not_hold_up_the_start() {
    let (run, _) = play(
        plan(Window::NONE),
        "0.000 enrol sidecar
         0.000 started
         0.500 away sidecar
         1.000 SIGTERM",
    );
    assert_eq!(
        run.entered(Phase::Running),
        Some(Duration::from_millis(500))
    );
}

#[test]
fn n_2_who_vanishes_while_the_service_leaves_has_failed() {
    let why = "its connection ended".to_owned();
    assert_eq!(
        state(&script("1.500 away outbox\n1.600 returned outbox")),
        ParticipantState::Failed { why }
    );
    // After its last word it may go where it likes.
    assert_eq!(
        state(&script("1.500 done outbox\n1.600 away outbox")),
        ParticipantState::Done
    );
}
