//! Behind a front: A2 against a duck that accepts for as long as the front sends (must pass) and one that does not
//! (must fail), what users of each front would have seen, and the arithmetic of the grace period.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[expect(dead_code, reason = "other tests use the rest")]
mod duck;

use std::time::Duration;

use duck::{only, options, seat};
use lameduck_verify::{Figure, FrontView, Options, Report, Verdict, Verification, VerifyError};

/// The duck behind `front`, accepting for 1.5 s after the signal.
fn behind(front: &str, broken: &str, ids: &[&str]) -> Options {
    let mut options = options(broken, ids);
    options.front = front.parse().unwrap();
    options.grace = Duration::from_secs(6);
    options
        .target
        .argv
        .extend(["--accept-for", "1500"].map(str::to_owned));
    options
}

fn run(options: &Options) -> Report {
    Verification::from(options.clone()).run().unwrap()
}

fn count(report: &Report, figure: &str) -> u64 {
    match only(report).figures.get(figure) {
        Some(Figure::Count(count)) => *count,
        other => panic!("{figure} is {other:?} in {}", report.to_json()),
    }
}

fn declared(report: &Report) -> &FrontView {
    report.users.iter().find(|view| view.declared).unwrap()
}

fn answers(report: &Report, verdict: Verdict, words: &str) {
    let finding = only(report);
    assert_eq!(finding.verdict, verdict, "{}", report.to_json());
    assert!(
        finding.detail.contains(words),
        "{:?} in {:?}",
        words,
        finding.detail
    );
}

#[test]
fn a2_passes_when_new_connections_are_served_while_the_front_learns() {
    let _seat = seat();
    let report = run(&behind("kubernetes:1500ms", "", &["A2"]));
    answers(
        &report,
        Verdict::Pass,
        "while kubernetes still sends them (1.5 s)",
    );
    assert!(count(&report, "new_connections") >= 12);
    let view = declared(&report);
    assert_eq!(
        (view.front.as_str(), view.visible()),
        ("kubernetes", 0),
        "{view:?}"
    );
    assert!(view.served >= 12, "{view:?}");
}

#[test]
fn a2_fails_when_the_door_shuts_before_the_front_has_learned() {
    let _seat = seat();
    let report = run(&behind("kubernetes:1500ms", "A2", &["A2"]));
    answers(&report, Verdict::Fail, "could not connect");
    let next = only(&report).next.as_deref().unwrap();
    assert!(
        next.contains("--only A2") && next.contains("--front kubernetes:1500ms"),
        "{next}"
    );
    let view = declared(&report);
    assert!(view.refused > 0 && view.uncovered_ms.is_some(), "{view:?}");
    assert!(
        view.first_error_ms.is_some_and(|first| first < 1_500.0),
        "{view:?}"
    );
    assert!(view.first_error_ms <= view.last_error_ms, "{view:?}");
    // The same run behind a front that asks elsewhere when a connect is refused.
    let istio = report
        .users
        .iter()
        .find(|view| view.front == "istio")
        .unwrap();
    assert_eq!((istio.visible(), istio.declared), (0, false), "{istio:?}");
    assert!(istio.retried > 0, "{istio:?}");
}

#[test]
fn a2_passes_when_the_front_asks_elsewhere_for_what_is_refused() {
    let _seat = seat();
    let report = run(&behind("ingress-nginx:1500ms", "A2", &["A2"]));
    answers(&report, Verdict::Pass, "asks elsewhere");
    assert!(count(&report, "retried_by_the_front") > 0);
}

#[test]
fn a2_passes_when_a_pre_stop_sleep_covers_the_propagation() {
    let _seat = seat();
    let mut options = behind("kubernetes:1500ms", "A2", &["A2"]);
    options.pre_stop = Duration::from_millis(1_600);
    let report = run(&options);
    answers(&report, Verdict::Pass, "after a preStop of 1.6 s");
    let text = report.render_text(lameduck_verify::Style::plain());
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("of which a preStop sleep of 1.60 s leaves 0.00 s"),
        "{text}"
    );
    let grace = &report.grace;
    assert_eq!((grace.grace_ms, grace.pre_stop_ms), (6_000.0, 1_600.0));
    assert_eq!((grace.signal_to_kill_ms, grace.exposed_ms), (4_400.0, 0.0));
}

#[test]
fn a2_is_inconclusive_when_the_grace_period_ends_before_the_front_has_learned() {
    let _seat = seat();
    let mut options = behind("kubernetes", "", &["A2"]);
    options.grace = Duration::from_millis(1_400);
    let report = run(&options);
    answers(
        &report,
        Verdict::Inconclusive,
        "the grace period is too short for this front",
    );
    assert!(
        only(&report).detail.contains("in the last 3.60 s"),
        "{}",
        report.to_json()
    );
}

#[test]
fn a2_does_not_apply_where_clients_connect_directly() {
    let _seat = seat();
    let report = run(&options("", &["A2"]));
    answers(&report, Verdict::NotApplicable, "no front is declared");
}

#[test]
fn a_sleep_that_takes_the_whole_grace_period_is_a_usage_error() {
    let mut options = options("", &["A2"]);
    options.pre_stop = options.grace;
    let error = Verification::from(options).run().unwrap_err();
    assert!(
        matches!(error, VerifyError::NoGraceLeft { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("hint: raise --grace"), "{error}");
}

#[test]
fn every_front_gets_its_view_and_the_exit_is_held_against_the_platforms() {
    let _seat = seat();
    let report = run(&options("", &["P1", "H1-01", "H1-02"]));
    let names: Vec<_> = report
        .users
        .iter()
        .map(|view| view.front.as_str())
        .collect();
    assert_eq!(
        names,
        ["none", "kubernetes", "istio", "ingress-nginx", "alb", "nlb"]
    );
    let direct = declared(&report);
    assert_eq!(
        (direct.front.as_str(), direct.lost, &*direct.basis),
        ("none", 0, "computed")
    );
    assert!(direct.served > 0, "{direct:?}");
    let grace = &report.grace;
    let exit = grace.exit_after_ms.unwrap();
    assert!(
        grace
            .headroom_ms
            .is_some_and(|left| (left + exit - 4_000.0).abs() < 1.0),
        "{grace:?}"
    );
    assert!(
        grace
            .longest_request_ms
            .is_some_and(|longest| longest > 500.0),
        "{grace:?}"
    );
    let docker = grace
        .platforms
        .iter()
        .find(|fit| fit.platform == "docker")
        .unwrap();
    assert_eq!(docker.killed, Some(false));
    let text = report.render_text(lameduck_verify::Style::plain());
    assert!(
        text.contains("\ngrace    exits ") && text.contains("docker"),
        "{text}"
    );
    assert!(text.contains("clients that connect directly"), "{text}");
}

#[test]
fn a_loss_has_its_time_in_the_view() {
    let _seat = seat();
    let report = run(&options("H1-02", &["H1-02"]));
    let direct = declared(&report);
    assert!(direct.lost > 0, "{direct:?}");
    assert!(
        direct
            .first_error_ms
            .is_some_and(|first| (0.0..4_000.0).contains(&first)),
        "{direct:?}"
    );
    assert!(
        direct.seen.values().sum::<u64>() >= direct.lost,
        "{direct:?}"
    );
}
