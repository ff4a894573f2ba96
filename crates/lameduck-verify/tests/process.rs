//! The ids of the process beyond its stop, held against a server that breaks one promise, and against it whole.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod duck;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use duck::{breaks, only, run, seat};
use lameduck_verify::{Verdict, Verification};

#[test]
fn p5_differs_when_sigint_just_kills() {
    let report = breaks("P5", "P5", Verdict::Differs);
    assert!(only(&report).detail.contains("SIGINT cut off"));
}

/// It is ended by neither signal: the two can not be held against each other.
#[test]
fn p5_says_nothing_about_who_ignores_both_signals() {
    let _seat = seat();
    let report = run("P1", &["P5"]);
    let finding = only(&report);
    assert_eq!(
        finding.verdict,
        Verdict::NotApplicable,
        "{}",
        finding.detail
    );
}

#[test]
fn p6_differs_when_sigquit_kills_without_a_word() {
    let report = breaks("P6", "P6", Verdict::Differs);
    assert!(only(&report).detail.contains("died of signal 3"));
}

#[test]
fn p7_differs_when_a_broken_configuration_is_taken() {
    breaks("P7", "P7", Verdict::Differs);
}

#[test]
fn p7_differs_when_a_reload_drops_requests() {
    let report = breaks("P7-drop", "P7", Verdict::Differs);
    assert!(only(&report).detail.contains("not served"));
}

#[test]
fn p7_says_nothing_by_a_page_that_changes_by_itself() {
    let _seat = seat();
    let mut options = duck::options("", &["P7"]);
    options.target.reload.as_mut().unwrap().path = "/clock".to_owned();
    let report = Verification::from(options).run().unwrap();
    let finding = only(&report);
    assert_eq!(
        finding.verdict,
        Verdict::NotApplicable,
        "{}",
        finding.detail
    );
    assert!(finding.detail.contains("/clock"), "{}", finding.detail);
}

/// Each of the others is launched from the file too, and does not start from any text but the user's.
#[test]
fn p7_alone_writes_a_file_that_the_others_read() {
    let _seat = seat();
    let directory = std::env::temp_dir().join(format!("lameduck-shared-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (file, link) = (directory.join("real.conf"), directory.join("duck.conf"));
    fs::write(&file, "greeting: mine\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("real.conf", &link).unwrap();
    let mut options = duck::options("", &["P5", "P6", "P7", "P10", "H2-09"]);
    let target = &mut options.target;
    let reload = target.reload.as_mut().unwrap();
    reload.file = Some(link.clone());
    reload.arguments = vec!["--config".to_owned(), link.to_string_lossy().into_owned()];
    // P7's own launch is the one that is told to read it.
    let script =
        "case \"$*\" in *--config*) ;; *) grep -q mine \"$CONF\" || exit 9;; esac; exec \"$@\"";
    let inner = std::mem::take(&mut target.argv);
    target.argv = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    target.argv.extend(inner);
    let conf = link.to_string_lossy().into_owned();
    target.env.push(("CONF".to_owned(), conf));
    let report = Verification::from(options).run().unwrap();
    let found = report.checks.iter().find(|finding| finding.id == "P7");
    assert_eq!(
        found.unwrap().verdict,
        Verdict::Pass,
        "{}",
        report.to_json()
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "greeting: mine\n");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    fs::remove_dir_all(&directory).unwrap();
}

/// Where no pid namespace can be made (no privilege), there is nothing to see; the reason says so.
#[test]
fn p8_fails_when_pid_1_relies_on_default_actions() {
    let _seat = seat();
    let report = run("P8", &["P8"]);
    let finding = only(&report);
    let lacks = finding.verdict == Verdict::NotApplicable && finding.detail.contains("namespace");
    assert!(
        finding.verdict == Verdict::Fail && finding.detail.starts_with("as PID 1, P1") || lacks,
        "{}",
        report.to_json()
    );
}

#[test]
fn p10_differs_when_files_and_sockets_are_left() {
    let report = breaks("P10", "P10", Verdict::Differs);
    let detail = &only(&report).detail;
    assert!(
        detail.contains("duck.tmp") && detail.contains("duck.sock"),
        "{detail}"
    );
}

#[test]
fn p10_differs_when_a_child_is_left() {
    let report = breaks("P10-child", "P10", Verdict::Differs);
    assert!(
        only(&report).detail.contains("sleep"),
        "{}",
        only(&report).detail
    );
}

#[test]
fn the_whole_server_passes_every_id_of_the_process() {
    let _seat = seat();
    let report = run("", &["P5", "P6", "P7", "P8", "P10"]);
    assert_eq!(report.checks.len(), 5);
    for finding in &report.checks {
        let lacks = finding.id == "P8" && finding.detail.contains("namespace can be made");
        assert!(
            finding.verdict == Verdict::Pass || lacks,
            "{}: {}",
            finding.id,
            finding.detail
        );
    }
}

/// What `mutants-verify` runs is what the duck itself says it can break, so this one list has to be whole.
#[test]
fn every_id_of_the_catalogue_can_be_broken() {
    let listed = std::process::Command::new(duck::broken_duck())
        .arg("--list-breaks")
        .output()
        .unwrap();
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).unwrap();
    let breaks: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let catalogue = lameduck_verify::list();
    for entry in &catalogue {
        assert!(
            breaks.iter().any(|line| line[1] == entry.id),
            "{} can not be broken: it might be vacuous",
            entry.id
        );
    }
    for line in &breaks {
        assert!(
            catalogue.iter().any(|entry| entry.id == line[1]),
            "{line:?}"
        );
        assert!(["fail", "differs"].contains(&line[2]) && !line[3].is_empty());
    }
}
