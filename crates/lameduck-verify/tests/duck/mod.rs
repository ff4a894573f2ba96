//! What the contract tests share: the duck, whole or broken, and running checks against it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lameduck_verify::{
    DrainSignal, Farewell, Finding, GrpcCall, Options, Reload, RepeatPolicy, Report, TargetSpec,
    Verdict, Verification,
};

/// One at a time: the targets are to be judged, not this machine.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cargo builds examples together with tests, into a directory beside this test's.
pub(crate) fn broken_duck() -> String {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path: PathBuf = profile.join("examples").join("broken-duck");
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join("broken-duck");
    let changed = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let newest = std::fs::read_dir(source)
        .unwrap()
        .flatten()
        .map(|entry| changed(&entry.path()))
        .max();
    // `cargo test --test contract` leaves examples alone.
    assert!(
        changed(&path) >= newest.flatten(),
        "{} is missing or old: `cargo build -p lameduck-verify --examples` builds it",
        path.display()
    );
    path.to_string_lossy().into_owned()
}

pub(crate) fn duck(broken: &str) -> TargetSpec {
    let mut argv = vec![broken_duck()];
    argv.extend(
        "--port {port} --probes {probes_port} --tls-port {tls_port}"
            .split(' ')
            .map(str::to_owned),
    );
    if !broken.is_empty() {
        argv.extend(["--break".to_owned(), broken.to_owned()]);
    }
    let mut spec = TargetSpec::command(argv);
    spec.ready_path = Some("/".to_owned());
    spec.slow_path = Some("/slow?ms={ms}".to_owned());
    spec.large_path = Some("/large?bytes={bytes}".to_owned());
    spec.post_path = Some("/echo".to_owned());
    spec.stream_path = Some("/stream?chunks={chunks}&ms={ms}".to_owned());
    spec.sse_path = Some("/sse?ms={ms}".to_owned());
    spec.ws_path = Some("/ws".to_owned());
    spec.ws_farewell = Some(Farewell {
        path: "/ws?farewell=4001".to_owned(),
        message: "farewell".to_owned(),
        code: 4001,
    });
    spec.grpc = Some(GrpcCall {
        path: "/lameduck.demo.v1.Echo/Say".to_owned(),
        message: Vec::new(),
        // `delay_ms`, field 2: 800.
        slow_message: Some(vec![0x10, 0xa0, 0x06]),
    });
    spec.drain_signal = Some(DrainSignal {
        url: "http://127.0.0.1:{probes_port}/lbz".to_owned(),
        liveness_url: Some("http://127.0.0.1:{probes_port}/livez".to_owned()),
    });
    spec.repeats = Some(RepeatPolicy::Escalate);
    spec.quiet = Some(Duration::from_millis(100));
    spec.forced_exit = Some(124);
    spec.reload = Some(Reload {
        arguments: vec!["--config".to_owned(), "{config}".to_owned()],
        path: "/config".to_owned(),
        first: "greeting: quack\n".to_owned(),
        second: "greeting: quack quack\n".to_owned(),
        broken: "greeting".to_owned(),
        ..Reload::default()
    });
    spec.copies = 4;
    spec
}

pub(crate) fn run(broken: &str, only: &[&str]) -> Report {
    Verification::from(options(broken, only)).run().unwrap()
}

pub(crate) fn options(broken: &str, only: &[&str]) -> Options {
    let mut options = Options::new(duck(broken));
    options.grace = Duration::from_secs(4);
    options.only = only.iter().map(|&id| id.to_owned()).collect();
    options.rounds = 3;
    options.seed = Some(7);
    options
}

pub(crate) fn only(report: &Report) -> &Finding {
    assert_eq!(report.checks.len(), 1);
    &report.checks[0]
}

/// The check of `id` gives `verdict` when the promise named by `broken` is broken.
pub(crate) fn breaks(broken: &str, id: &str, verdict: Verdict) -> Report {
    let _alone = alone();
    let report = run(broken, &[id]);
    let finding = only(&report);
    assert_eq!(
        finding.verdict,
        verdict,
        "{id} with {broken} broken: {}\n{}",
        finding.detail,
        report.to_json()
    );
    assert!(
        finding
            .next
            .as_deref()
            .is_some_and(|next| next.contains(id) && next.contains("--seed 7"))
    );
    assert!(finding.consequence.is_some() && finding.remedy.is_some());
    report
}
