//! Every way to have a service and to stop it: commands, a process that runs already, a call, a line that says
//! "ready". A correct service never fails in any of them, and a broken one is still found out.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[expect(
    dead_code,
    reason = "shared with tests that run and break the duck itself"
)]
mod duck;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use duck::{alone, broken_duck, duck, only, seat};
use lameduck_verify::{
    Driven, Figure, LaunchError, Options, Report, Stop, TargetSpec, Verdict, Verification,
    VerifyError,
};

/// A directory of a test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lameduck-targets-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(target: TargetSpec, ids: &[&str]) -> Options {
    let mut options = Options::new(target);
    options.grace = Duration::from_secs(4);
    options.only = ids.iter().map(|&id| id.to_owned()).collect();
    options.rounds = 2;
    options.seed = Some(7);
    options
}

fn run(options: &Options) -> Report {
    Verification::from(options.clone()).run().unwrap()
}

fn error(options: &Options) -> VerifyError {
    Verification::from(options.clone()).run().unwrap_err()
}

fn verdict(report: &Report, id: &str) -> Verdict {
    let finding = report.checks.iter().find(|finding| finding.id == id);
    finding.unwrap().verdict
}

/// No check fails, and the named ones pass.
#[track_caller]
fn is_well(report: &Report, passing: &[&str]) {
    for finding in &report.checks {
        let is_bad = matches!(finding.verdict, Verdict::Fail | Verdict::Differs);
        assert!(!is_bad, "{}: {}", finding.id, finding.detail);
        if passing.contains(&&*finding.id) {
            assert_eq!(
                finding.verdict,
                Verdict::Pass,
                "{}: {}",
                finding.id,
                finding.detail
            );
        }
    }
    for id in passing {
        assert!(report.checks.iter().any(|finding| finding.id == *id));
    }
}

/// The duck as a service in the background that a pid file names, as a container or a unit would be.
fn driven(broken: &str, scratch: &Scratch, alive: bool) -> Options {
    let (pid, log) = (scratch.file("pid-$PORT"), scratch.file("log-$PORT"));
    let mut target = duck(broken);
    target.argv.clear();
    target.copies = 1;
    target.logs = Some(format!("cat {log}"));
    let program = broken_duck();
    target.driven = Some(Driven {
        start: format!(
            "{program} --port {{port}} --probes {{probes_port}} --tls-port $TLS_PORT --break '{broken}' >{log} 2>&1 & echo $! >{pid}"
        ),
        alive: alive
            .then(|| format!("kill -0 $(cat {pid}) && ! grep -q ') Z' /proc/$(cat {pid})/stat")),
        cleanup: Some(format!("rm {pid}; touch {}", scratch.file("cleaned-$PORT"))),
    });
    let mut options = options(target, &[]);
    options.stop = Stop::Command(format!("kill -TERM $(cat {pid})"));
    options
}

fn count(scratch: &Scratch, prefix: &str) -> usize {
    let files = std::fs::read_dir(&scratch.0).unwrap().flatten();
    files
        .filter(|file| file.file_name().to_string_lossy().starts_with(prefix))
        .count()
}

#[test]
fn a_service_that_commands_start_and_stop_is_tested_in_full() {
    let _seat = seat();
    let scratch = Scratch::new("driven");
    let report = run(&driven("", &scratch, true));
    is_well(
        &report,
        &[
            "P1", "P2", "H1-01", "H1-03", "A1", "A5", "H1-09", "H1-10", "L-H1", "WS-01", "H2-02",
        ],
    );
    for id in ["P3", "P4", "P9", "A4"] {
        assert_eq!(verdict(&report, id), Verdict::NotApplicable, "{id}");
    }
    assert!(
        report
            .target
            .output
            .stdout
            .contains("broken-duck is listening"),
        "{:?}",
        report.target.output
    );
    assert!(report.exit.code.is_none() && report.exit.after_ms.is_some());
    assert!(report.method.iter().any(|line| line.contains("no instant")));
    // Each launch was cleaned up.
    assert_eq!(count(&scratch, "pid-"), 0);
    assert!(count(&scratch, "cleaned-") > 5);
}

#[test]
fn without_a_way_to_see_the_exit_nothing_is_said_about_it() {
    let _seat = seat();
    let scratch = Scratch::new("unseen");
    let mut options = driven("", &scratch, false);
    options.only = ["P1", "P2", "H1-01", "H1-03", "L-H1"]
        .map(str::to_owned)
        .to_vec();
    let report = run(&options);
    is_well(&report, &["H1-01", "H1-03", "L-H1"]);
    for id in ["P1", "P2"] {
        assert_eq!(verdict(&report, id), Verdict::NotApplicable, "{id}");
    }
}

/// Requests in flight are cut, keep-alive connections are dropped under load: no matter how it was stopped.
#[test]
fn what_is_lost_after_a_stop_command_is_found() {
    let _seat = seat();
    let scratch = Scratch::new("lossy");
    for (broken, id) in [("H1-01", "H1-01"), ("P2", "P2"), ("L-H1", "L-H1")] {
        let mut options = driven(broken, &scratch, true);
        options.only = vec![id.to_owned()];
        let report = run(&options);
        assert_eq!(
            only(&report).verdict,
            Verdict::Fail,
            "{}",
            only(&report).detail
        );
        let next = only(&report).next.clone().unwrap();
        assert!(
            next.contains("--start ") && next.contains("--stop ") && next.contains("--cleanup "),
            "{next}"
        );
    }
}

/// The duck drops idle connections from the signal on. Most of the sweep lies behind the first effect of the call, which
/// is over within a millisecond or so; on a busy machine that takes longer than the sweep, and nothing can be told.
#[test]
fn a_loss_behind_the_first_effect_of_a_call_is_never_a_pass() {
    let _seat = seat();
    let mut options = options(duck("H1-02"), &["H1-02"]);
    options.stop = Stop::http("http://127.0.0.1:{probes_port}/stop");
    let report = run(&options);
    let found = only(&report);
    let is_unsure =
        found.verdict == Verdict::Inconclusive && found.detail.contains("may not have known yet");
    assert!(
        found.verdict == Verdict::Fail || is_unsure,
        "{}",
        found.detail
    );
}

#[test]
fn a_stop_by_call_judges_what_needs_no_instant() {
    let _seat = seat();
    let ids = [
        "P1", "P2", "P3", "P9", "H1-01", "H1-02", "H1-03", "H1-04", "H1-05", "H1-06", "A1", "L-H1",
        "TLS-1", "H2-03",
    ];
    let mut options = options(duck(""), &ids);
    options.stop = Stop::http("post http://127.0.0.1:{probes_port}/stop");
    let report = run(&options);
    is_well(&report, &["P1", "P2", "H1-01", "H1-03", "A1", "L-H1"]);
    for id in ["P3", "P9", "H1-05"] {
        assert_eq!(verdict(&report, id), Verdict::NotApplicable, "{id}");
    }
    assert!(
        report.signal.name.starts_with("POST http://"),
        "{}",
        report.signal.name
    );
}

/// Half a second passes between the command and the signal: every write of every sweep falls in between.
#[test]
fn sweeps_before_a_slow_stop_prove_nothing() {
    let _seat = seat();
    let ids = ["P1", "H1-01", "H1-02", "H1-04", "H1-06", "TLS-1", "L-H1"];
    let mut options = options(duck(""), &ids);
    options.grace = Duration::from_secs(6);
    options.stop = Stop::Command("sleep 0.5; kill -TERM $PID".to_owned());
    let report = run(&options);
    is_well(&report, &["P1", "H1-01", "L-H1"]);
    for id in ["H1-02", "H1-04", "H1-06", "TLS-1"] {
        assert_eq!(verdict(&report, id), Verdict::Inconclusive, "{id}");
    }
}

#[test]
fn a_stop_that_does_not_work_is_no_finding() {
    let _seat = seat();
    let mut options = options(duck(""), &["P1", "L-H1"]);
    for (stop, part) in [
        (
            Stop::Command("echo no such unit >&2; exit 5".to_owned()),
            "exited with 5: no such unit",
        ),
        (Stop::http("http://127.0.0.1:{port}/no-such"), ""),
    ] {
        options.stop = stop;
        options.grace = Duration::from_millis(1_500);
        let result = Verification::from(options.clone()).run();
        match result {
            Err(VerifyError::Stop(how)) => assert!(how.contains(part), "{how}"),
            // The duck answers any path with 200: the call works, and nothing stops.
            Ok(report) => assert!(part.is_empty() && verdict(&report, "P1") == Verdict::Fail),
            Err(other) => panic!("{other}"),
        }
    }
}

/// A duck that runs before the tester comes, and is waited for by its parent.
struct Before {
    child: Child,
    port: u16,
    probes: u16,
}

impl Before {
    fn start(broken: &str) -> Self {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, two) = (free(), free());
        let port = one.local_addr().unwrap().port();
        let probes = two.local_addr().unwrap().port();
        drop((one, two));
        let mut child = Command::new(broken_duck())
            .args(["--port", &port.to_string(), "--probes", &probes.to_string()])
            .args(["--break", broken])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Self {
            child,
            port,
            probes,
        }
    }

    fn options(&self) -> Options {
        let mut target = duck("");
        target.argv.clear();
        target.pid = Some(self.child.id());
        target.url = Some(format!("http://127.0.0.1:{}/", self.port));
        target.tls_url = None;
        let signal = target.drain_signal.as_mut().unwrap();
        signal.url = format!("http://127.0.0.1:{}/lbz", self.probes);
        signal.liveness_url = None;
        options(target, &[])
    }

    /// Its exit code, which only its parent can see.
    fn code(mut self) -> Option<i32> {
        let bound = Instant::now() + Duration::from_secs(10);
        while Instant::now() < bound {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::yield_now();
        }
        None
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_process_that_runs_already_is_drained_once() {
    let _seat = seat();
    let before = Before::start("");
    let report = run(&before.options());
    is_well(&report, &["P1", "H1-01", "H1-03", "A1"]);
    for id in ["P2", "P3", "P4", "A3", "L-H1", "H2-02", "WS-01"] {
        let finding = report.checks.iter().find(|finding| finding.id == id);
        let finding = finding.unwrap();
        assert_eq!(finding.verdict, Verdict::NotApplicable, "{id}");
        assert!(
            finding.detail.contains("give --start"),
            "{}",
            finding.detail
        );
    }
    assert_eq!((report.exit.code, report.exit.left_running), (None, false));
    assert!(report.exit.after_ms.is_some());
    assert_eq!(report.target.launches, 1);
    assert_eq!(before.code(), Some(0));
}

#[test]
fn a_process_that_is_not_ours_is_never_killed() {
    let _seat = seat();
    let mut before = Before::start("P1");
    let mut options = before.options();
    options.grace = Duration::from_secs(3);
    let report = run(&options);
    assert_eq!(verdict(&report, "P1"), Verdict::Fail);
    assert!(report.exit.left_running && !report.exit.killed_at_grace);
    assert!(before.child.try_wait().unwrap().is_none(), "it runs on");
}

#[test]
fn a_line_an_environment_and_a_directory() {
    let _seat = seat();
    let scratch = Scratch::new("line");
    let program = broken_duck();
    // It listens from the beginning, but says so late.
    let script = format!(
        "echo mode $MODE in $(pwd) >&2; ( sleep 0.3; echo all systems go >&2 ) & exec {program} --port {{port}}"
    );
    let mut target = TargetSpec::command(["sh", "-c", &script]);
    target.env = vec![("MODE".to_owned(), "p{port}".to_owned())];
    target.cwd = Some(scratch.0.clone());
    target.ready_line = Some("systems go".to_owned());
    let report = run(&options(target, &["P1"]));
    is_well(&report, &["P1"]);
    assert!(
        report.target.ready_ms >= 290.0,
        "{}",
        report.target.ready_ms
    );
    let said = &report.target.output.stderr;
    let directory = scratch.0.canonicalize().unwrap();
    let port = report.target.addr.rsplit(':').next().unwrap();
    assert!(said.contains(&format!("mode p{port} in")), "{said}");
    assert!(said.contains(&*directory.to_string_lossy()), "{said}");
    assert!(matches!(
        only(&report).figures.get("exit_after_ms"),
        Some(Figure::Measure(_))
    ));
}

#[test]
fn what_never_becomes_ready_is_shown_with_what_it_wrote() {
    let _seat = seat();
    let mut target = TargetSpec::command(["sh", "-c", "echo still starting; exec sleep 60"]);
    target.ready_line = Some("ready".to_owned());
    target.ready_within = Some(Duration::from_millis(300));
    let why = error(&options(target, &["P1"]));
    assert!(
        matches!(why, VerifyError::Launch(LaunchError::NeverSaid { .. })),
        "{why}"
    );
    assert!(why.to_string().contains("still starting"), "{why}");
}

#[test]
fn a_start_command_that_fails_or_hangs_is_cleaned_up_and_shown() {
    let _seat = seat();
    let scratch = Scratch::new("start");
    let mut options = options(TargetSpec::default(), &["P1"]);
    options.stop = Stop::Command("true".to_owned());
    options.target.ready_within = Some(Duration::from_millis(500));
    for (start, part) in [
        ("echo no such image >&2; exit 125", "no such image"),
        ("sleep 60", "has not returned"),
    ] {
        let mark = scratch.file("cleaned");
        options.target.driven = Some(Driven {
            start: start.to_owned(),
            alive: None,
            cleanup: Some(format!("touch {mark}")),
        });
        let why = error(&options).to_string();
        assert!(why.contains(part), "{why}");
        assert!(std::path::Path::new(&mark).exists(), "{start}");
        std::fs::remove_file(&mark).unwrap();
    }
}

#[test]
fn what_contradicts_itself_is_refused_before_anything_starts() {
    let mut target = TargetSpec::command(["true"]);
    target.pid = Some(1);
    let why = error(&options(target, &["P1"])).to_string();
    assert!(why.contains("three ways"), "{why}");
    let target = TargetSpec {
        pid: Some(std::process::id()),
        ..TargetSpec::default()
    };
    let why = error(&options(target, &["P1"])).to_string();
    assert!(why.contains("--pid needs --url"), "{why}");
    let target = TargetSpec {
        pid: Some(999_999_999),
        url: Some("http://127.0.0.1:9/".to_owned()),
        ..TargetSpec::default()
    };
    let why = error(&options(target, &["P1"])).to_string();
    assert!(why.contains("no process has the id"), "{why}");
}

/// A service with one page and nothing else: no slow path, no POST, no large response.
#[test]
fn a_service_with_one_page_has_requests_in_flight_by_other_means() {
    let _alone = alone();
    let scratch = Scratch::new("page");
    std::fs::write(scratch.0.join("index.html"), "x".repeat(1_500_000)).unwrap();
    let script = "import http.server as h, functools as f, sys\n\
         class H(h.SimpleHTTPRequestHandler):\n    protocol_version = 'HTTP/1.1'\n    def log_message(self, *a): pass\n\
         h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()";
    let mut target = TargetSpec::command(["python3", "-c", script, "{port}"]);
    target.cwd = Some(scratch.0.clone());
    let report = run(&options(target, &["P2", "H1-01", "H1-10"]));
    let facts = report.target.facts.join("\n");
    assert!(
        facts.contains("in flight means: a request whose head"),
        "{facts}"
    );
    assert!(
        facts.contains("a large response is that of GET /, 1500000 bytes"),
        "{facts}"
    );
    // It dies of the signal at once.
    assert_eq!(verdict(&report, "P2"), Verdict::Pass);
    // Nothing is promised to half a head; the response that is read slowly is lost.
    let verdicts = ["H1-01", "H1-10"].map(|id| verdict(&report, id));
    assert_eq!(
        verdicts,
        [Verdict::NotApplicable, Verdict::Fail],
        "{}",
        report.to_json()
    );
}
