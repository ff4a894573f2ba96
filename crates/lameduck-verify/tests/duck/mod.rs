//! What the contract tests share: the duck, whole or broken, and running checks against it.

mod seats;
mod spec;

use std::path::PathBuf;

use lameduck_verify::{Finding, Options, Report, TargetSpec, Verdict, Verification};

pub(crate) use seats::{alone, seat};

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
    spec::spec(broken_duck(), broken)
}

pub(crate) fn run(broken: &str, only: &[&str]) -> Report {
    Verification::from(options(broken, only)).run().unwrap()
}

pub(crate) fn options(broken: &str, only: &[&str]) -> Options {
    spec::options(duck(broken), only)
}

pub(crate) fn only(report: &Report) -> &Finding {
    assert_eq!(report.checks.len(), 1);
    &report.checks[0]
}

/// What the check of `id` answers: beside other tests, and where these left it no time to tell, once more alone.
fn answered(broken: &str, id: &str) -> Report {
    let beside = {
        let _seat = seat();
        run(broken, &[id])
    };
    if only(&beside).verdict != Verdict::Inconclusive {
        return beside;
    }
    let _alone = alone();
    run(broken, &[id])
}

/// The check of `id` gives `verdict` when the promise named by `broken` is broken.
pub(crate) fn breaks(broken: &str, id: &str, verdict: Verdict) -> Report {
    let report = answered(broken, id);
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
