//! Whole lifecycles in real processes: what the parent of a service sees when it is told to stop.
//!
//! A child is this test's own binary; the variable `BODY` names the service that it is (`process/bodies.rs`).
#![cfg(all(feature = "tokio", target_os = "linux"))]

#[path = "process/bodies.rs"]
mod bodies;
#[cfg(feature = "systemd")]
#[path = "process/notify.rs"]
mod notify;
#[path = "support/pipe.rs"]
mod pipe;
#[path = "../../lameduck-cli/tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pipe::full_pipe;
use serde_json::Value;
use support::{
    BOUND,
    seats::seat,
    service::{Ended, Service, command},
    until,
};

#[used]
#[unsafe(link_section = ".init_array")]
static CHILD: extern "C" fn() = bodies::run_if_child;

/// Half a second of margin, one second of reserve, one and a half to drain.
const SHORT: (&str, &str) = ("LAMEDUCK_GRACE", "3s");
/// No test waits for this.
const LONG: (&str, &str) = ("LAMEDUCK_GRACE", "300s");
/// A window that only something else than time ends.
const WIDE: (&str, &str) = ("LAMEDUCK_WINDOW", "100,1,110");
const NONE: (&str, &str) = ("LAMEDUCK_WINDOW", "none");
const ESCALATE: (&str, &str) = ("LAMEDUCK_REPEAT", "escalate");
const RECORD: (&str, &str) = ("LAMEDUCK_REPEAT", "record");

/// More than the interval in which a SIGTERM is the same request.
const APART: Duration = Duration::from_millis(1_200);

/// What a busy machine may add to a deadline; far below what the wedged services sleep.
const SLACK: Duration = Duration::from_secs(20);

fn child(body: &str, variables: &[(&str, &str)]) -> Command {
    let program = std::env::current_exe().expect("the test has a path");
    let program = program.to_str().expect("the path is text");
    let mut command = command(program, &[], variables);
    command.env(bodies::BODY, body);
    command
}

fn start(body: &str, variables: &[(&str, &str)]) -> Service {
    Service::launch(&mut child(body, variables))
}

/// Runs a service that is told to stop as soon as it says `when`.
fn stop(body: &str, when: &str, variables: &[(&str, &str)]) -> Ended {
    let mut service = start(body, variables);
    service.line(when);
    service.signal(libc::SIGTERM);
    service.end()
}

fn verdicts(report: &Value) -> Vec<&str> {
    let signals = report["signals"].as_array().expect("a list");
    signals
        .iter()
        .filter_map(|signal| signal["verdict"].as_str())
        .collect()
}

fn phases(report: &Value) -> Vec<&str> {
    let phases = report["phases"].as_array().expect("a list");
    phases
        .iter()
        .filter_map(|phase| phase["phase"].as_str())
        .collect()
}

#[track_caller]
fn participant<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["participants"].as_array().expect("a list");
    all.iter()
        .find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {report:#}"))
}

/// Whether an event of the report has this in it.
fn tells(report: &Value, part: &str) -> bool {
    let events = report["events"].as_array().expect("a list");
    events.iter().any(|event| {
        event["what"]
            .as_str()
            .is_some_and(|what| what.contains(part))
    })
}

/// Sends SIGTERMs, each of which counts, until it is gone.
fn cut(service: &mut Service) {
    for _ in 0..10 {
        service.signal(libc::SIGTERM);
        let next = Instant::now() + APART;
        while Instant::now() < next {
            if service.is_gone() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("ten requests did not cut it");
}

// ---- INV-2: an end, whatever happens --------------------------------------------------------------------------------

#[test]
fn inv_2_p2_blocked_workers_do_not_hold_the_deadline() {
    let _seat = seat();
    let mut service = start("wedge", &[SHORT, NONE]);
    service.line("wedged");
    service.signal(libc::SIGTERM);
    let asked = Instant::now();
    let ended = service.end();
    assert!(
        asked.elapsed() < Duration::from_secs(3) + SLACK,
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(ended.how(), "exit 124", "{}", ended.stderr);
    let report = ended.report();
    assert_eq!(report["outcome"], "forced");
    assert_eq!(report["stragglers"][0]["said"], "1 guard(s)", "{report:#}");
    assert_eq!(participant(&report, "silent")["state"], "overdue");
    assert_eq!(participant(&report, "silent")["answered"], false);
}

#[test]
fn inv_2_p4_a_start_that_hangs_does_not_hold_the_deadline_beside_a_server_of_ones_own() {
    let _seat = seat();
    let mut service = start("keeps-and-hangs", &[SHORT, NONE]);
    service.line("hangs in Initializing");
    service.signal(libc::SIGTERM);
    let ended = service.end();
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
    assert_eq!(ended.report()["outcome"], "drained");
}

#[test]
fn inv_2_p3_blocked_workers_do_not_hold_the_cut() {
    let _seat = seat();
    let mut service = start("wedge", &[LONG, WIDE, ESCALATE]);
    service.line("wedged");
    cut(&mut service);
    let ended = service.end();
    assert_eq!(ended.how(), "signal 15", "{}", ended.stderr);
    let report = ended.report();
    assert_eq!(report["outcome"], "cut");
    let mut counted = verdicts(&report);
    counted.retain(|verdict| *verdict != "merged");
    assert_eq!(counted, ["started", "ended-window", "cut"]);
}

#[test]
fn inv_2_nobody_reads_stderr_and_the_deadline_holds() {
    let _seat = seat();
    let (_held, full) = full_pipe();
    let mut service =
        Service::launch_unheard(&mut child("wedge", &[SHORT, NONE]), Stdio::from(full));
    service.line("wedged");
    service.signal(libc::SIGTERM);
    let asked = Instant::now();
    assert_eq!(service.end().how(), "exit 124");
    assert!(
        asked.elapsed() < Duration::from_secs(3) + SLACK,
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn a_second_sigint_ends_the_wait_for_those_who_only_tell() {
    let _seat = seat();
    let mut service = start("tells-for-long", &[LONG, NONE, ESCALATE]);
    service.line("running");
    service.signal(libc::SIGINT);
    service.line("telling");
    // Beyond the time in which two are one.
    std::thread::sleep(std::time::Duration::from_millis(400));
    service.signal(libc::SIGINT);
    let ended = service.end();
    // All was drained: whoever has no patience changes nothing about that.
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
}

#[test]
fn inv_2_nobody_reads_stderr_and_the_cut_ends_it() {
    let _seat = seat();
    let (_held, full) = full_pipe();
    let mut command = child("wedge", &[LONG, WIDE, ESCALATE]);
    let mut service = Service::launch_unheard(&mut command, Stdio::from(full));
    service.line("wedged");
    cut(&mut service);
    assert_eq!(service.end().how(), "signal 15");
}

#[test]
fn a_second_sigint_cuts_where_repeats_escalate() {
    let _seat = seat();
    let mut service = start("guard", &[LONG, WIDE, ESCALATE]);
    service.line("running");
    service.signal(libc::SIGINT);
    until("the cut", || {
        std::thread::sleep(Duration::from_millis(400));
        service.signal(libc::SIGINT);
        service.is_gone().then_some(())
    });
    assert_eq!(service.end().how(), "signal 2");
}

#[test]
fn p6_sigquit_shows_what_is_in_flight_and_kills() {
    let _seat = seat();
    let mut service = start("guard", &[LONG]);
    service.line("running");
    service.signal(libc::SIGQUIT);
    let ended = service.end();
    assert_eq!(ended.how(), "signal 3", "{}", ended.stderr);
    for part in [
        "phase Running for ",
        "0 connection(s), 0 busy, 0 idle, 1 guard(s)",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

// ---- starting -------------------------------------------------------------------------------------------------------

#[test]
fn p4_inv_10_a_signal_before_readiness_skips_the_window_and_runs_the_hooks_of_what_had_started() {
    let _seat = seat();
    let mut service = start("never-ready", &[LONG, WIDE]);
    service.line("starting");
    service.signal(libc::SIGTERM);
    let asked = Instant::now();
    let ended = service.end();
    assert!(
        asked.elapsed() < BOUND,
        "the window's floor is longer: {:?}",
        asked.elapsed()
    );
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
    assert_eq!(ended.stdout, "starting\ndb closed");
    let report = ended.report();
    assert_eq!(
        phases(&report),
        ["Initializing", "Terminating", "Draining", "Stopped"]
    );
    assert_eq!(participant(&report, "canary")["state"], "not-started");
}

#[test]
fn a_failed_start_says_why_and_is_70() {
    let _seat = seat();
    let ended = start("refuses", &[LONG]).end();
    assert_eq!(ended.how(), "exit 70", "{}", ended.stderr);
    assert!(
        ended.stderr.contains("lameduck: start failed: no database"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stdout, "db closed");
    let report = ended.report();
    assert_eq!(report["outcome"], "start-failed");
    assert_eq!(report["cause"]["why"], "no database");
}

#[test]
fn a_body_that_panics_is_a_failed_start() {
    let _seat = seat();
    let ended = start("panics", &[LONG]).end();
    assert_eq!(ended.how(), "exit 70", "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the body has a bug"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_impossible_plan_names_its_numbers_and_is_78() {
    let _seat = seat();
    let ended = start("guard", &[("LAMEDUCK_GRACE", "1s")]).end();
    assert_eq!(ended.how(), "exit 78", "{}", ended.stderr);
    let said = ended.stderr.lines().next().unwrap_or_default();
    assert!(
        said.starts_with("lameduck: ")
            && said.contains("of 1s leaves no time to drain: 500ms margin and 1s reserve"),
        "{said}"
    );
    let ended = start("guard", &[("LAMEDUCK_WINDOW", "5,1,2")]).end();
    assert_eq!(ended.how(), "exit 78", "{}", ended.stderr);
}

#[test]
fn a_variable_that_nobody_knows_is_a_warning() {
    let _seat = seat();
    let ended = stop("idle", "running", &[("LAMEDUCK_GRASE", "2s")]);
    let report = ended.assert_drained();
    assert!(
        tells(&report, "LAMEDUCK_GRASE is not a variable of lameduck"),
        "{report:#}"
    );
}

// ---- outcomes -------------------------------------------------------------------------------------------------------

#[test]
fn p1_inv_4_told_to_stop_when_idle_it_drains_and_names_the_sender() {
    let _seat = seat();
    let report = stop("idle", "running", &[LONG]).assert_drained();
    assert_eq!(
        phases(&report),
        [
            "Initializing",
            "Running",
            "Terminating",
            "Draining",
            "Stopped"
        ]
    );
    assert_eq!(
        report["cause"]["sender"]["pid"],
        std::process::id(),
        "{report:#}"
    );
}

#[test]
fn a_hook_that_fails_is_1() {
    let _seat = seat();
    let ended = stop("bad-hook", "running", &[LONG]);
    assert_eq!(ended.how(), "exit 1", "{}", ended.stderr);
    let report = ended.report();
    assert_eq!(report["outcome"], "failed");
    assert_eq!(participant(&report, "db")["hook"]["state"], "failed");
    assert_eq!(participant(&report, "db")["hook"]["why"], "disk full");
}

#[test]
fn inv_10_a_hook_that_overruns_the_reserve_is_124() {
    let _seat = seat();
    let ended = stop("slow-hook", "running", &[SHORT]);
    assert_eq!(ended.how(), "exit 124", "{}", ended.stderr);
    assert_eq!(
        participant(&ended.report(), "db")["hook"]["state"],
        "overran"
    );
}

#[test]
fn a_participant_that_fails_ends_the_service_with_1() {
    let _seat = seat();
    let ended = start("fails", &[LONG, NONE]).end();
    assert_eq!(ended.how(), "exit 1", "{}", ended.stderr);
    let report = ended.report();
    assert_eq!(report["cause"]["kind"], "participant-failed");
    assert_eq!(report["cause"]["why"], "lost the lease");
}

#[test]
fn the_report_file_holds_the_line_of_stderr() {
    let _seat = seat();
    let path = std::env::temp_dir().join(format!("lameduck-report-{}.json", std::process::id()));
    let name = path.to_str().expect("the path is text");
    let ended = stop("idle", "running", &[LONG, ("LAMEDUCK_REPORT", name)]);
    let mut text = String::new();
    let file = File::open(&path).expect("it was written");
    file.take(1 << 20).read_to_string(&mut text).expect("text");
    fs::remove_file(&path).expect("it is there");
    ended.assert_drained();
    assert_eq!(text, format!("{}\n", ended.report_line()));
}

#[test]
fn a_report_that_cannot_be_written_is_said_at_the_start() {
    let _seat = seat();
    let ended = start("idle", &[("LAMEDUCK_REPORT", "/nonexistent/report.json")]).end();
    assert_eq!(ended.how(), "exit 78", "{}", ended.stderr);
    assert!(
        ended.stderr.contains("/nonexistent/report.json"),
        "{}",
        ended.stderr
    );
}

// ---- signals while it runs ------------------------------------------------------------------------------------------

#[test]
fn p7_sighup_reloads_and_a_refused_one_is_noted() {
    let _seat = seat();
    let mut service = start("reloads", &[LONG, NONE]);
    service.line("running");
    service.signal(libc::SIGHUP);
    service.complaint("lameduck: reloaded greeting");
    service.signal(libc::SIGHUP);
    service.complaint("lameduck: reload of greeting refused, the old one stays: not JSON");
    service.signal(libc::SIGTERM);
    let report = service.end().assert_drained();
    assert_eq!(verdicts(&report), ["reload", "reload", "started"]);
    assert!(tells(&report, "reloaded greeting"), "{report:#}");
    assert!(tells(&report, "reload of greeting refused"), "{report:#}");
}

#[test]
fn inv_11_reloads_that_come_during_one_are_one_more() {
    let _seat = seat();
    let wide = ("LAMEDUCK_WINDOW", "0.5,0.1,1");
    let mut service = start("reloads-slowly", &[LONG, wide]);
    service.line("running");
    service.signal(libc::SIGHUP);
    service.line("reload begins");
    (0..20).for_each(|_| service.signal(libc::SIGHUP));
    service.signal(libc::SIGTERM);
    let report = service.end().assert_drained();
    let events = report["events"].as_array().expect("a list");
    let rounds = events
        .iter()
        .filter(|event| event["what"] == "reloaded slow");
    assert!((1..=2).contains(&rounds.count()), "{report:#}");
}

#[test]
fn p9_repeats_within_the_merge_interval_are_one_request() {
    let _seat = seat();
    for times in [2, 100] {
        let mut service = start("idle", &[LONG, ("LAMEDUCK_WINDOW", "0.3,0.1,1"), RECORD]);
        service.line("running");
        (0..times).for_each(|_| service.signal(libc::SIGTERM));
        let report = service.end().assert_drained();
        let verdicts = verdicts(&report);
        assert_eq!(verdicts[0], "started");
        // "recorded" where the machine was so slow that a repeat came a second later.
        let harmless = |verdict: &&str| ["merged", "recorded"].contains(verdict);
        assert!(verdicts[1..].iter().all(harmless), "{verdicts:?}");
        assert!(verdicts.len() <= times);
    }
}
