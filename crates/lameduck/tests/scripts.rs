//! Scripts in, traces out: what happens, line by line, and everything that the machine then wants done.
//!
//! Read the first three to know the machine. A script's words are explained in `scripts/script.rs`.

#[path = "scripts/negotiation.rs"]
mod negotiation;
#[path = "scripts/script.rs"]
mod script;

use std::time::Duration;

use lameduck::{HookState, Outcome, ParticipantState, Phase, Repeat, SignalVerdict, Window};
use script::{check, plan, play, play_with, window};

/// The window: nobody sends anything for 0.1 s, so admission closes; nothing is in flight, so it is over.
#[test]
fn told_to_stop_when_idle() {
    check(
        plan(window(0, 100, 1_000)),
        "0.000 started
         5.000 SIGTERM",
        "0.000 listeners open
         0.000 Running
         5.000 tell everyone: SIGTERM from outside this pid namespace (container runtime or kubelet)
         5.000 Terminating
         5.100 listeners close
         5.100 Draining
         5.100 no more connections
         5.100 no more guards
         5.100 Stopped
         5.100 exit 0 (drained)",
    );
}

/// The drain: a connection that is still busy is waited for; the guards' gate closes after the last connection.
#[test]
fn what_is_in_flight_is_waited_for() {
    check(
        plan(window(0, 100, 1_000)),
        "0.000 started
         4.900 connection 1.500
         4.900 guard 2.000
         5.000 shutdown deploy",
        "0.000 listeners open
         0.000 Running
         5.000 tell everyone: asked by the program: deploy
         5.000 Terminating
         5.100 listeners close
         5.100 Draining
         5.100 no more connections
         6.400 no more guards
         6.900 Stopped
         6.900 exit 0 (drained)",
    );
}

/// The order: the server stops before the outbox that its handlers write to, and the hooks run in that order too.
#[test]
fn participants_stop_before_what_they_depend_on() {
    check(
        plan(Window::NONE),
        "0.000 enrol outbox hook 0.2
         0.000 enrol server listens after outbox hook 0.1
         0.000 ready outbox server
         0.000 started
         1.000 SIGTERM
         1.300 done server
         1.500 done outbox",
        "0.000 listeners open
         0.000 Running
         1.000 tell everyone: SIGTERM from outside this pid namespace (container runtime or kubelet)
         1.000 Terminating
         1.000 listeners close
         1.000 Draining
         1.000 no more connections
         1.000 server may finish
         1.300 outbox may finish
         1.300 no more guards
         1.500 Stopped
         1.500 stop hook of server
         1.600 stop hook of outbox
         1.800 exit 0 (drained)",
    );
}

// ---- The window --------------------------------------------------------------------------------------------------

/// When the window ended, in milliseconds after a request at 1 s.
#[track_caller]
fn window_ends(window: Window, script: &str) -> u128 {
    let script = format!("0 started\n1 SIGTERM\n{script}");
    let (run, trace) = play(plan(window), &script);
    let entered = run
        .entered(Phase::Draining)
        .unwrap_or_else(|| panic!("{trace}"));
    entered.as_millis() - 1_000
}

#[test]
fn a_request_extends_the_window_by_what_is_quiet() {
    assert_eq!(window_ends(window(0, 100, 1_000), "1.050 request"), 150);
}

#[test]
fn inv_3_the_window_lasts_for_its_floor() {
    assert_eq!(window_ends(window(500, 100, 1_000), ""), 500);
    assert_eq!(window_ends(window(500, 100, 1_000), "1.450 request"), 550);
}

#[test]
fn the_window_ends_at_its_ceiling_under_any_traffic() {
    let requests: String = (0..200)
        .map(|n| format!("1.{:03} request\n", n * 5))
        .collect();
    assert_eq!(window_ends(window(0, 100, 700), &requests), 700);
}

#[test]
fn no_window_closes_at_once() {
    assert_eq!(window_ends(Window::NONE, "1.000 request"), 0);
}

#[test]
fn five_mean_gaps_are_quiet_where_they_are_longer() {
    let quiet_after = |gap| {
        let (run, _) = play_with(plan(window(0, 100, 5_000)), "0 started\n1 SIGTERM", |sim| {
            sim.mean_gap(Duration::from_millis(gap));
        });
        run.entered(Phase::Draining).expect("it drains").as_millis() - 1_000
    };
    assert_eq!(quiet_after(10), 100);
    assert_eq!(quiet_after(300), 1_500);
    assert_eq!(quiet_after(60_000), 5_000);
}

// ---- Repeats -----------------------------------------------------------------------------------------------------

fn verdicts(run: &lameduck::sim::Run) -> Vec<SignalVerdict> {
    run.report.signals.iter().map(|note| note.verdict).collect()
}

#[test]
fn p9_repeats_change_nothing_where_they_are_recorded() {
    let drain = "0 started\n0.9 connection 5\n1 SIGTERM\n";
    let (once, alone) = play(plan(window(0, 100, 1_000)), drain);
    let hundred: String = (1..=100).map(|n| format!("1.{n:03} SIGTERM\n")).collect();
    for (repeats, last) in [
        ("1.005 SIGTERM", SignalVerdict::Merged),
        ("2.000 SIGTERM", SignalVerdict::Recorded),
        (hundred.as_str(), SignalVerdict::Merged),
    ] {
        let (run, trace) = play(plan(window(0, 100, 1_000)), &format!("{drain}{repeats}"));
        assert_eq!(trace, alone);
        assert_eq!(run.outcome, once.outcome);
        assert_eq!(verdicts(&run)[0], SignalVerdict::Started);
        assert_eq!(verdicts(&run).last(), Some(&last));
    }
}

#[test]
fn an_escalating_plan_ends_the_window_then_cuts() {
    let run = check(
        plan(window(5_000, 100, 8_000)).with_repeat(Repeat::Escalate),
        "0.000 started
         0.900 connection 20
         1.000 SIGTERM
         1.500 SIGTERM
         2.500 SIGTERM
         3.600 SIGTERM",
        "0.000 listeners open
         0.000 Running
         1.000 tell everyone: SIGTERM from outside this pid namespace (container runtime or kubelet)
         1.000 Terminating
         2.500 listeners close
         2.500 Draining
         2.500 no more connections
         3.600 exit 143 (cut by a repeated SIGTERM)",
    );
    let expected = [
        SignalVerdict::Started,
        SignalVerdict::Merged,
        SignalVerdict::EndedWindow,
        SignalVerdict::Cut,
    ];
    assert_eq!(verdicts(&run), expected);
}

#[test]
fn a_repeat_after_the_window_ends_no_window() {
    let escalates = plan(window(0, 100, 1_000)).with_repeat(Repeat::Escalate);
    let (run, _) = play(
        escalates,
        "0 started\n0.9 connection 3\n1 SIGTERM\n2.5 SIGTERM",
    );
    assert_eq!(
        verdicts(&run),
        [SignalVerdict::Started, SignalVerdict::Recorded]
    );
    assert_eq!(run.outcome, Some(Outcome::Drained));
}

#[test]
fn a_second_typed_interrupt_cuts_under_both_policies() {
    for repeat in [Repeat::Record, Repeat::Escalate] {
        let script =
            "0 started\n0.9 connection 9\n1 SIGINT typed\n1.2 SIGINT typed\n1.6 SIGINT typed";
        let (run, trace) = play(plan(Window::NONE).with_repeat(repeat), script);
        assert!(
            trace.ends_with("1.600 exit 130 (cut by a repeated SIGINT)"),
            "{trace}"
        );
        assert_eq!(verdicts(&run)[1], SignalVerdict::Merged);
    }
}

// ---- Before Running ----------------------------------------------------------------------------------------------

#[test]
fn p4_a_signal_before_readiness_stops_without_a_window() {
    let run = check(
        plan(window(5_000, 100, 8_000)),
        "0.000 enrol db hook 0.1
         0.000 enrol server listens after db hook 0.1
         0.100 ready db
         0.200 SIGTERM
         0.250 done db",
        "0.200 tell everyone: SIGTERM from outside this pid namespace (container runtime or kubelet)
         0.200 Terminating
         0.200 listeners close
         0.200 Draining
         0.200 no more connections
         0.200 db may finish
         0.200 no more guards
         0.250 Stopped
         0.250 stop hook of db
         0.350 exit 0 (drained)",
    );
    assert_eq!(
        run.report.participants[1].state,
        ParticipantState::NotStarted
    );
}

#[test]
fn a_failed_start_runs_the_hooks_of_what_had_started() {
    check(
        plan(window(0, 100, 1_000)),
        "0.000 enrol db hook 0.1
         0.100 ready db
         0.200 start fails no such table
         0.300 done db",
        "0.200 tell everyone: start failed: no such table
         0.200 Terminating
         0.200 listeners close
         0.200 Draining
         0.200 no more connections
         0.200 db may finish
         0.200 no more guards
         0.300 Stopped
         0.300 stop hook of db
         0.400 exit 70 (start-failed)",
    );
}

// ---- Participants and hooks --------------------------------------------------------------------------------------

#[test]
fn a_silent_participant_is_asked_again_and_given_up_by_name() {
    let run = check(
        plan(Window::NONE),
        "0.000 enrol outbox budget 2
         0.000 enrol cache budget 2
         0.000 ready outbox cache
         0.000 started
         1.000 SIGTERM
         1.100 ack cache",
        "0.000 listeners open
         0.000 Running
         1.000 tell everyone: SIGTERM from outside this pid namespace (container runtime or kubelet)
         1.000 Terminating
         1.000 listeners close
         1.000 Draining
         1.000 no more connections
         1.000 outbox may finish
         1.000 cache may finish
         1.000 no more guards
         2.000 ask outbox again
         3.000 Stopped
         3.000 exit 124 (forced)",
    );
    let state = |index: usize| run.report.participants[index].state.clone();
    assert_eq!(state(0), ParticipantState::Overdue { answered: false });
    assert_eq!(state(1), ParticipantState::Overdue { answered: true });
}

/// Its state stands; what was wrong is told while somebody can still be told. Who ended otherwise has said all there is.
#[test]
fn why_an_overdue_participant_failed_is_told_also_in_stopped() {
    let (run, _) = play(
        plan(Window::NONE),
        "0.000 enrol db budget 1
         0.000 enrol outbox hook 1
         0.000 ready db outbox
         0.000 started
         1.000 SIGTERM
         1.500 done outbox
         2.100 fails db
         2.200 fails outbox",
    );
    assert!(matches!(run.outcome, Some(Outcome::Forced { .. })));
    let state = &run.report.participants[0].state;
    assert_eq!(*state, ParticipantState::Overdue { answered: false });
    let events = run.report.events.iter();
    let failed: Vec<_> = events
        .filter(|event| event.what.contains("failed"))
        .map(|event| (event.at.as_millis(), &*event.what))
        .collect();
    assert_eq!(failed, [(2_100, "participant db failed: it broke")]);
}

#[test]
fn inv_10_order_reaches_through_a_participant_without_a_hook() {
    let (run, trace) = play(
        plan(Window::NONE),
        "0 enrol db hook 0.1
         0 enrol pool after db
         0 enrol api after pool hook 0.3
         0 ready db pool api
         0 started
         0.5 done pool
         1 SIGTERM
         1.2 done api
         1.4 done db",
    );
    assert!(trace.contains("1.200 db may finish"), "{trace}");
    assert!(trace.contains("1.400 stop hook of api"), "{trace}");
    assert!(trace.contains("1.700 stop hook of db"), "{trace}");
    assert_eq!(run.outcome, Some(Outcome::Drained));
}

#[test]
fn a_hook_that_overruns_forces_the_end() {
    let script = "0 enrol db hook 60\n0 ready db\n0 started\n1 SIGTERM\n1 done db";
    let (run, trace) = play(plan(Window::NONE), script);
    // The deadline is 9.5 s after the signal; 0.1 s of it are kept for the report.
    assert!(trace.ends_with("10.400 exit 124 (forced)"), "{trace}");
    let hook = run.report.participants[0].hook.clone().expect("it has one");
    assert_eq!(hook.state, HookState::Overran);
}

#[test]
fn a_hook_that_fails_is_a_failure_and_the_others_still_run() {
    let script =
        "0 enrol db hook 0.1\n0 enrol api after db hook 0.1 fails\n0 ready db api\n0 started
                  1 SIGTERM\n1.1 done api\n1.2 done db";
    let (_, trace) = play(plan(Window::NONE), script);
    assert!(trace.contains("1.300 stop hook of db"), "{trace}");
    assert!(trace.ends_with("1.400 exit 1 (failed)"), "{trace}");
}

#[test]
fn a_participant_that_fails_ends_the_service_through_the_window() {
    let script = "0 enrol db\n0 ready db\n0 started\n1 fails db";
    let (_, trace) = play(plan(window(200, 100, 1_000)), script);
    assert!(
        trace.contains("1.000 tell everyone: participant db failed: it broke"),
        "{trace}"
    );
    assert!(trace.contains("1.200 Draining"), "{trace}");
    assert!(trace.ends_with("1.200 exit 1 (failed)"), "{trace}");
}

// ---- The deadline and the cut ------------------------------------------------------------------------------------

#[test]
fn inv_5_what_the_deadline_ends_is_named_after_its_gates_closed() {
    let run = check(
        plan(Window::NONE),
        "0.000 enrol db hook 0.1
         0.000 ready db
         0.000 started
         0.900 connection 60
         0.900 guard 60
         1.000 SIGTERM
         1.100 done db",
        "0.000 listeners open
         0.000 Running
         1.000 tell everyone: SIGTERM from outside this pid namespace (container runtime or kubelet)
         1.000 Terminating
         1.000 listeners close
         1.000 Draining
         1.000 no more connections
         1.000 db may finish
         9.500 no more guards
         9.500 end and name what is left
         9.500 Stopped
         9.500 stop hook of db
         9.600 exit 124 (forced)",
    );
    assert_eq!(
        run.report.stragglers.len(),
        2,
        "{:?}",
        run.report.stragglers
    );
}

/// Of 4 s 0.5 s are margin and 1 s is reserve.
#[test]
fn inv_2_whoever_has_less_time_gets_an_earlier_deadline() {
    let run = check(
        plan(window(0, 5_000, 5_000)),
        "0.000 started
         0.900 connection 60
         1.000 shutdown within 4.000
         1.500 shutdown within 2.000",
        "0.000 listeners open
         0.000 Running
         1.000 tell everyone: asked by the program: within 4.000
         1.000 Terminating
         2.800 listeners close
         2.800 Draining
         2.800 no more connections
         3.500 no more guards
         3.500 end and name what is left
         3.500 Stopped
         3.500 exit 124 (forced)",
    );
    assert_eq!(run.report.plan.grace(), Duration::from_secs(4));
}

#[test]
fn nobody_gets_more_time_than_the_plan_has() {
    let script = |how: &str| format!("0 started\n0.9 connection 60\n1 {how}");
    let (_, asked) = play(plan(Window::NONE), &script("shutdown"));
    let (run, more) = play(plan(Window::NONE), &script("shutdown within 600"));
    assert_eq!(asked, more.replace("within 600", ""));
    assert_eq!(run.report.plan, plan(Window::NONE));
    // What leaves no time at all is as little as there can be.
    let (run, _) = play(plan(Window::NONE), &script("shutdown within 0"));
    assert_eq!(run.report.plan.grace(), lameduck::Plan::LEAST_GRACE);
}

#[test]
fn the_exit_code_of_a_forced_end_can_be_set() {
    let script = "0 started\n0.9 connection 60\n1 SIGTERM";
    let (run, _) = play(plan(Window::NONE).with_forced_exit_code(3), script);
    assert_eq!(run.outcome.expect("over").exit_code(), 3);
}

#[test]
fn a_cut_ends_every_phase_at_once() {
    let before = "0 enrol db hook 5\n0 ready db\n";
    let story = "0.1 started\n0.9 connection 1\n1 SIGTERM\n3 done db\n";
    for (cut, phase) in [
        ("0.05 cut", Phase::Initializing),
        ("0.50 cut", Phase::Running),
        ("1.05 cut", Phase::Terminating),
        ("1.50 cut", Phase::Draining),
        ("3.50 cut", Phase::Stopped),
    ] {
        let script = format!("{before}{story}{cut}");
        let (run, trace) = play(plan(window(0, 100, 1_000)), &script);
        let at = cut.split_once(' ').expect("a time").0;
        let end = format!("{at}0 exit 125 (cut by request)");
        assert!(trace.ends_with(&end), "{trace}");
        assert_eq!(run.report.phases.last().expect("one").phase, phase);
    }
}

// ---- The other signals -------------------------------------------------------------------------------------------

#[test]
fn a_hangup_reloads_while_running_and_is_refused_while_leaving() {
    let script = "0 started\n0.5 SIGHUP\n0.9 connection 2\n1 SIGTERM\n1.5 SIGHUP";
    let (run, trace) = play(plan(Window::NONE), script);
    assert_eq!(trace.matches("reload").count(), 1, "{trace}");
    assert!(trace.contains("0.500 reload"), "{trace}");
    let expected = [
        SignalVerdict::Reload,
        SignalVerdict::Started,
        SignalVerdict::Refused,
    ];
    assert_eq!(verdicts(&run), expected);
}

#[test]
fn quit_and_status_work_in_every_phase() {
    for at in ["0.050", "0.500", "1.050", "1.500"] {
        let story = "0 enrol db\n0 ready db\n0.1 started\n0.9 connection 1\n1 SIGTERM\n";
        let script = format!("{story}{at} SIGQUIT\n{at} SIGUSR1");
        let (_, trace) = play(plan(window(0, 100, 1_000)), &script);
        assert!(
            trace.contains(&format!("{at} say what is in flight, die")),
            "{trace}"
        );
        assert!(trace.contains(&format!("{at} show the status")), "{trace}");
    }
}
