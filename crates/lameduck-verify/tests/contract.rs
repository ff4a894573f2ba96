//! Every id, held against a server that keeps its promises (must pass) and against the same server with that one
//! promise broken (must fail, or differ where it is a matter of manners): no check is vacuous.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod duck;

use duck::{alone, breaks, only, run};
use lameduck_verify::{FailOn, Figure, Outcome, Verdict};

#[test]
fn a_server_that_keeps_its_promises_passes_every_id() {
    let _alone = alone();
    let report = run("", &[]);
    for finding in &report.checks {
        // A4 needs the right to make a network namespace, P8 that to make one of processes.
        let lacks_network = ["A4", "P8"].contains(&finding.id.as_ref())
            && (finding.detail.contains("network namespace")
                || finding.detail.contains("namespace can be made"));
        let expected = if finding.id == "A2" || lacks_network {
            Verdict::NotApplicable
        } else {
            Verdict::Pass
        };
        assert_eq!(
            finding.verdict,
            expected,
            "{}: {}\n{}",
            finding.id,
            finding.detail,
            report.to_json()
        );
    }
    assert_eq!(report.checks.len(), lameduck_verify::list().len());
    assert_eq!((report.lost, report.exit_code(FailOn::Any)), (0, 0));
    assert_eq!(
        (report.exit.code, report.exit.killed_at_grace),
        (Some(0), false)
    );
}

#[test]
fn p1_fails_when_the_signal_is_ignored() {
    let report = breaks("P1", "P1", Verdict::Fail);
    assert_eq!(report.exit_code(FailOn::Loss), 1);
    assert!(report.exit.killed_at_grace);
}

#[test]
fn p1_differs_when_the_exit_code_says_failure() {
    let report = breaks("P1-code", "P1", Verdict::Differs);
    assert_eq!(
        (
            report.exit_code(FailOn::Loss),
            report.exit_code(FailOn::Any)
        ),
        (0, 1)
    );
}

#[test]
fn p2_fails_when_a_stuck_request_holds_the_exit() {
    breaks("P2", "P2", Verdict::Fail);
}

#[test]
fn p2_differs_when_the_exit_code_hides_the_force() {
    breaks("P2-code", "P2", Verdict::Differs);
}

#[test]
fn p3_differs_when_the_third_signal_does_not_cut() {
    breaks("P3", "P3", Verdict::Differs);
}

#[test]
fn p4_fails_when_an_early_signal_is_swallowed() {
    breaks("P4", "P4", Verdict::Fail);
}

#[test]
fn p9_fails_when_a_repeat_cuts() {
    let report = breaks("P9", "P9", Verdict::Fail);
    assert!(only(&report).requests.lost > 0);
}

#[test]
fn a1_differs_when_balancers_are_told_too_late() {
    breaks("A1", "A1", Verdict::Differs);
}

#[test]
fn a3_fails_when_the_accept_queue_is_thrown_away() {
    breaks("A3", "A3", Verdict::Fail);
}

#[test]
fn a5_fails_when_connections_are_taken_and_dropped() {
    breaks("A5", "A5", Verdict::Fail);
}

#[test]
fn h1_01_fails_when_requests_in_flight_are_cut() {
    let report = breaks("H1-01", "H1-01", Verdict::Fail);
    assert!(only(&report).requests.count(Outcome::Eof) > 0);
}

#[test]
fn h1_02_fails_when_idle_connections_are_closed_unseen() {
    let report = breaks("H1-02", "H1-02", Verdict::Fail);
    assert!(report.lost > 0);
}

#[test]
fn h1_03_fails_when_idle_connections_are_reset() {
    breaks("H1-03", "H1-03", Verdict::Fail);
}

#[test]
fn h1_04_fails_when_silent_connections_are_closed_unseen() {
    breaks("H1-04", "H1-04", Verdict::Fail);
}

#[test]
fn h1_05_fails_when_unread_requests_are_thrown_away() {
    breaks("H1-05", "H1-05", Verdict::Fail);
}

#[test]
fn h1_06_fails_when_half_heads_are_thrown_away() {
    breaks("H1-06", "H1-06", Verdict::Fail);
}

#[test]
fn h1_10_fails_when_the_exit_leaves_bytes_in_the_kernel() {
    breaks("H1-10", "H1-10", Verdict::Fail);
}

#[test]
fn l_h1_fails_when_idle_connections_are_closed_unseen() {
    let report = breaks("L-H1", "L-H1", Verdict::Fail);
    assert!(report.lost > 0 && report.requests.lost == report.lost);
}

#[test]
fn h1_07_fails_when_half_a_head_holds_the_exit() {
    let report = breaks("H1-07", "H1-07", Verdict::Fail);
    assert!(report.exit_code(FailOn::Loss) == 1);
}

#[test]
fn h1_08_fails_when_pipelined_requests_are_dropped_untold() {
    let report = breaks("H1-08", "H1-08", Verdict::Fail);
    assert!(only(&report).requests.count(Outcome::Eof) > 0);
}

#[test]
fn h1_09_fails_when_slow_uploads_are_cut() {
    breaks("H1-09", "H1-09", Verdict::Fail);
}

#[test]
fn h1_09_fails_when_a_stalled_upload_holds_the_exit() {
    breaks("H1-09-stall", "H1-09", Verdict::Fail);
}

#[test]
fn h1_11_fails_when_a_stream_that_would_end_is_cut() {
    let report = breaks("H1-11", "H1-11", Verdict::Fail);
    assert!(only(&report).requests.count(Outcome::Truncated) > 0);
}

#[test]
fn h1_11_fails_when_a_cut_stream_looks_whole() {
    breaks("H1-11-end", "H1-11", Verdict::Fail);
}

#[test]
fn h1_11_differs_when_nobody_names_what_was_cut() {
    breaks("H1-11-name", "H1-11", Verdict::Differs);
}

#[test]
fn h1_12_fails_when_an_early_answer_meets_a_reset() {
    breaks("H1-12", "H1-12", Verdict::Fail);
}

#[test]
fn h1_13_fails_when_those_who_wait_for_continue_are_dropped() {
    breaks("H1-13", "H1-13", Verdict::Fail);
}

#[test]
fn h1_14_fails_when_an_event_is_cut() {
    breaks("H1-14", "H1-14", Verdict::Fail);
}

#[test]
fn ws_01_fails_when_no_close_frame_comes() {
    breaks("WS-01", "WS-01", Verdict::Fail);
}

#[test]
fn ws_02_fails_when_the_close_falls_inside_a_frame() {
    breaks("WS-02", "WS-02", Verdict::Fail);
}

#[test]
fn ws_03_fails_when_a_silent_client_holds_the_exit() {
    breaks("WS-03", "WS-03", Verdict::Fail);
}

#[test]
fn ws_04_differs_when_the_application_is_not_heard() {
    breaks("WS-04", "WS-04", Verdict::Differs);
}

#[test]
fn ws_06_differs_when_all_closes_come_at_once() {
    breaks("WS-06", "WS-06", Verdict::Differs);
}

#[test]
fn l_ws_fails_when_messages_meet_a_bare_end() {
    let report = breaks("L-WS", "L-WS", Verdict::Fail);
    assert!(report.lost > 0 && report.requests.lost == report.lost);
}

#[test]
fn l_mix_fails_when_the_honest_lose_among_the_hostile() {
    let report = breaks("L-MIX", "L-MIX", Verdict::Fail);
    assert!(report.lost > 0 && report.requests.lost == report.lost);
}

/// Its event streams are cut inside an event, which is a matter of H1-14: no request under test is lost by it.
#[test]
fn l_mix_leaves_cut_event_streams_to_h1_14() {
    let _alone = alone();
    let report = run("H1-14", &["L-MIX"]);
    let finding = only(&report);
    assert_eq!(finding.verdict, Verdict::Pass, "{}", report.to_json());
    let cut = finding.figures.get("event_streams_cut");
    assert!(
        matches!(cut, Some(Figure::Count(1..))) && finding.detail.contains("were cut: H1-14"),
        "{}",
        report.to_json()
    );
    assert_eq!(report.lost, 0);
}

/// Where no network namespace can be made (no privilege), there is nothing to see; the reason says so.
#[test]
fn a4_fails_when_the_door_shuts_before_the_last_ack() {
    let _alone = alone();
    let report = run("A4", &["A4"]);
    let finding = only(&report);
    let lacks_network = finding.detail.contains("network namespace");
    assert!(
        finding.verdict == Verdict::Fail
            || finding.verdict == Verdict::NotApplicable && lacks_network,
        "{}",
        report.to_json()
    );
}

#[test]
fn ws_05_fails_when_a_tunnel_ends_without_a_close() {
    breaks("WS-05", "WS-05", Verdict::Fail);
}

#[test]
fn n_1_fails_when_no_participant_is_waited_for() {
    breaks("N-1", "N-1", Verdict::Fail);
}

#[test]
fn n_2_fails_when_a_silent_participant_holds_the_exit() {
    breaks("N-2", "N-2", Verdict::Fail);
}

#[test]
fn n_2_fails_when_a_silent_participant_is_asked_only_once() {
    breaks("N-2-again", "N-2", Verdict::Fail);
}

#[test]
fn n_3_fails_when_more_is_granted_than_the_drain_leaves() {
    breaks("N-3", "N-3", Verdict::Fail);
}

#[test]
fn n_3_fails_when_no_wish_is_answered() {
    breaks("N-3-mute", "N-3", Verdict::Fail);
}

#[test]
fn n_4_fails_when_the_same_wish_is_granted_twice() {
    breaks("N-4", "N-4", Verdict::Fail);
}

#[test]
fn n_5_fails_when_participants_are_given_up_early() {
    breaks("N-5", "N-5", Verdict::Fail);
}

#[test]
fn n_8_fails_when_answers_of_another_drain_are_taken() {
    breaks("N-8", "N-8", Verdict::Fail);
}

#[test]
fn n_9_fails_when_what_can_not_be_read_is_not_answered() {
    breaks("N-9", "N-9", Verdict::Fail);
}

#[test]
fn n_9_fails_when_a_message_does_not_fit_the_schema() {
    breaks("N-9-form", "N-9", Verdict::Fail);
}

#[test]
fn n_9_fails_when_what_can_not_be_read_ends_a_session() {
    breaks("N-9-end", "N-9", Verdict::Fail);
}

#[test]
fn n_10_fails_when_a_lost_participant_is_waited_for() {
    breaks("N-10", "N-10", Verdict::Fail);
}

#[test]
fn n_10_fails_when_a_lost_participant_keeps_its_name() {
    breaks("N-10-name", "N-10", Verdict::Fail);
}
