//! The ids of HTTP/2, gRPC and TLS, held against a server that breaks one promise: no check is vacuous. That the whole
//! server passes them is shown with all others in `contract`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod duck;

use duck::{alone, breaks, only, options, run};
use lameduck_verify::{Figure, LatePolicy, Outcome, Verdict, Verification};

/// A target that refuses late requests in a way that is safe to try again is held to what it declares, over every
/// protocol: with the declaration it passes, without it each of these checks fails.
#[test]
fn late_requests_may_be_refused_where_that_is_declared() {
    let _alone = alone();
    let ids = ["H1-02", "H1-04", "H1-06", "H2-03", "H2-10", "TLS-1"];
    let run = |late, verdict| {
        let mut options = options("", &ids);
        options
            .target
            .argv
            .extend(["--late", "refuse"].map(str::to_owned));
        options.target.late = late;
        let report = Verification::from(options).run().unwrap();
        assert_eq!(report.checks.len(), ids.len());
        for finding in &report.checks {
            let refused = finding.requests.count(Outcome::Refused503)
                + finding.requests.count(Outcome::RefusedH2);
            assert_eq!(
                (finding.verdict, refused > 0, finding.requests.lost),
                (verdict, true, 0),
                "{}: {}\n{}",
                finding.id,
                finding.detail,
                report.to_json()
            );
        }
    };
    run(LatePolicy::Refuse, Verdict::Pass);
    run(LatePolicy::Serve, Verdict::Fail);
}

#[test]
fn h2_01_differs_when_connections_are_closed_unannounced() {
    breaks("H2-01", "H2-01", Verdict::Differs);
}

#[test]
fn h2_02_fails_when_open_streams_are_cut() {
    let report = breaks("H2-02", "H2-02", Verdict::Fail);
    assert!(only(&report).requests.lost > 0);
}

#[test]
fn h2_03_fails_when_new_streams_are_reset_behind_the_notice() {
    let report = breaks("H2-03", "H2-03", Verdict::Fail);
    assert!(only(&report).requests.count(Outcome::Reset) > 0);
}

#[test]
fn h2_04_fails_when_a_late_stream_meets_a_reset() {
    breaks("H2-04", "H2-04", Verdict::Fail);
}

#[test]
fn h2_05_fails_when_the_ping_is_waited_for_without_end() {
    breaks("H2-05", "H2-05", Verdict::Fail);
}

#[test]
fn h2_06_fails_when_half_a_preface_is_waited_for_without_end() {
    breaks("H2-06", "H2-06", Verdict::Fail);
}

#[test]
fn h2_07_fails_when_what_waits_for_credit_is_dropped() {
    let report = breaks("H2-07", "H2-07", Verdict::Fail);
    assert!(only(&report).requests.count(Outcome::Truncated) > 0);
}

#[test]
fn h2_08_fails_when_the_second_half_of_the_streams_is_cancelled() {
    breaks("H2-08", "H2-08", Verdict::Fail);
}

#[test]
fn h2_09_fails_when_calls_end_without_trailers() {
    breaks("H2-09", "H2-09", Verdict::Fail);
}

#[test]
fn h2_10_fails_when_new_connections_are_sent_away_at_once() {
    let report = breaks("H2-10", "H2-10", Verdict::Fail);
    assert!(only(&report).requests.count(Outcome::RefusedH2) > 0);
}

#[test]
fn tls_1_fails_when_handshakes_under_way_are_dropped() {
    let report = breaks("TLS-1", "TLS-1", Verdict::Fail);
    assert!(only(&report).requests.count(Outcome::HandshakeFailed) > 0);
}

#[test]
fn tls_2_fails_when_a_stalled_handshake_has_no_limit() {
    breaks("TLS-2", "TLS-2", Verdict::Fail);
}

#[test]
fn tls_3_fails_when_closes_say_nothing() {
    breaks("TLS-3", "TLS-3", Verdict::Fail);
}

#[test]
fn tls_4_fails_when_handshakes_queue_up() {
    let report = breaks("TLS-4", "TLS-4", Verdict::Fail);
    // Not only the 12 and the 4: who is in the middle of a handshake at the signal (TLS-1) takes a server's time as well.
    let bad = &only(&report).figures["bad_clients"];
    assert!(matches!(bad, Figure::Count(17..)), "{bad:?}");
}

#[test]
fn l_h2_fails_when_idle_connections_are_closed_unseen() {
    let report = breaks("L-H2", "L-H2", Verdict::Fail);
    assert!(report.lost > 0);
}

#[test]
fn l_tls_fails_when_idle_connections_are_closed_unseen() {
    let report = breaks("L-TLS", "L-TLS", Verdict::Fail);
    assert!(report.lost > 0);
}

#[test]
fn a_target_that_speaks_nothing_but_tls_is_judged_by_what_it_speaks() {
    let _alone = alone();
    let mut options = options("", &["P1", "P2", "H1-02", "H2-02", "TLS-3"]);
    // The plain door is somewhere else, where nobody asks.
    let swap = |argument: &mut String| match argument.as_str() {
        "{port}" => *argument = "{probes_port}".to_owned(),
        "{tls_port}" => *argument = "{port}".to_owned(),
        _ => {}
    };
    let target = &mut options.target;
    let probes = target
        .argv
        .iter()
        .position(|argument| argument == "--probes");
    target.argv.drain(probes.unwrap()..probes.unwrap() + 2);
    target.argv.iter_mut().for_each(swap);
    target.tls_url = Some("https://localhost:{port}/".to_owned());
    target.ready_path = None;
    target.drain_signal = None;
    let report = Verification::from(options).run().unwrap();
    let verdicts: Vec<_> = report
        .checks
        .iter()
        .map(|finding| (finding.id.as_ref(), finding.verdict))
        .collect();
    let expected = [
        ("P1", Verdict::Pass),
        ("P2", Verdict::NotApplicable),
        ("H1-02", Verdict::NotApplicable),
        ("H2-02", Verdict::Pass),
        ("TLS-3", Verdict::Pass),
    ];
    assert_eq!(verdicts, expected, "{}", report.to_json());
}

#[test]
fn the_whole_server_passes_every_id_of_these_protocols() {
    let _alone = alone();
    let ids = [
        "H2-01", "H2-02", "H2-03", "H2-04", "H2-05", "H2-06", "H2-07", "H2-08", "H2-09", "H2-10",
        "TLS-1", "TLS-2", "TLS-3", "TLS-4", "L-H2", "L-TLS",
    ];
    let report = run("", &ids);
    assert_eq!(report.checks.len(), ids.len());
    for finding in &report.checks {
        let (id, detail) = (finding.id.as_ref(), &finding.detail);
        assert_eq!(
            finding.verdict,
            Verdict::Pass,
            "{id}: {detail}\n{}",
            report.to_json()
        );
    }
    assert_eq!(report.lost, 0);
}
