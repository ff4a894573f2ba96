//! Processes in other languages take part in the shutdown of a service, as `examples/participants` has them; what the service's report says of each.
//!
//! What is not installed is skipped and says so.

#[path = "support/control.rs"]
mod control;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use control::{Controlled, Holding};
use support::service::Service;

fn example(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/participants");
    let path = path.join(file);
    path.to_str().expect("our paths are text").to_owned()
}

/// Whether a program is here; says so if not.
fn is_here(program: &str, argument: &str) -> bool {
    let done = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let here = done.is_ok_and(|status| status.success());
    if !here {
        eprintln!("skipped: {program} {argument} does not run here");
    }
    here
}

/// Starts an example, which has joined and said that it is ready.
fn join(controlled: &Controlled, program: &str, before: &[&str], name: &str) -> Service {
    let arguments = [before, &[&controlled.socket, name]].concat();
    let mut sidecar = Service::start(program, &arguments, &[("HOME", "/nonexistent")]);
    sidecar.line("joined");
    controlled.until_it(name, |one| one["state"] == "up");
    sidecar
}

/// What the report says of a participant.
fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["participants"].as_array().expect("a list");
    let mut all = all.iter();
    all.find(|one| one["name"] == name).expect("it took part")
}

/// From joining to the end: SIGTERM, and the report bears what the example said.
fn takes_part(program: &str, before: &[&str], name: &str) {
    let controlled = Controlled::start(&format!("part-{name}"), &[]);
    let mut sidecar = join(&controlled, program, before, name);
    controlled.service.signal(libc::SIGTERM);
    sidecar.line("granted 2000 ms");
    sidecar.line("over: done");
    assert_eq!(sidecar.end().how(), "exit 0");
    let report = controlled.service.end().assert_drained();
    let said = of(&report, name);
    assert_eq!(said["state"], "done", "{report:#}");
    assert_eq!(said["budget_ms"], 500.0, "{said:#}");
    assert_eq!(said["figures"], json!({ "batches": 3 }), "{said:#}");
    let grant = &said["grants"][0];
    assert_eq!(grant["by_ms"], 2_000.0, "{said:#}");
    assert_eq!(grant["why"], "three batches are left", "{said:#}");
    assert_eq!(said["progress"]["note"], "batch 3", "{said:#}");
}

#[test]
fn a_shell_with_curl_takes_part() {
    if is_here("curl", "--version") {
        takes_part("sh", &[&example("participant.sh")], "shell");
    }
}

#[test]
fn python_takes_part() {
    if is_here("python3", "--version") {
        takes_part("python3", &[&example("participant.py")], "python");
    }
}

#[test]
fn node_takes_part() {
    if is_here("node", "--version") {
        takes_part("node", &[&example("participant.mjs")], "node");
    }
}

/// The Go that is installed, or the one that benchmarks brought.
fn go() -> Option<PathBuf> {
    let brought = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/venv/bin/go");
    let candidates = [PathBuf::from("go"), brought];
    let works = |go: &PathBuf| {
        let output = Command::new(go).arg("version").output();
        output.is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(works)
}

#[test]
fn go_takes_part() {
    let Some(go) = go() else {
        eprintln!("skipped: go version does not run here");
        return;
    };
    let scratch = control::Scratch::new("part-go-built");
    let program = scratch.at("participant");
    let built = Command::new(go)
        .args(["build", "-o", &program, &example("participant.go")])
        .current_dir(&scratch.0)
        .env("GOCACHE", scratch.at("cache"))
        .env("GOPATH", scratch.at("path"))
        .env("GOTOOLCHAIN", "local")
        .output()
        .expect("go runs");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    takes_part(&program, &[], "go");
}

/// An operator's grant comes before the example is to close: it is no answer to its wish, and nothing to finish at.
fn waits_for_its_own_grant(program: &str, before: &[&str], name: &str) {
    let controlled = Controlled::start(&format!("own-{name}"), &[]);
    let mut sidecar = join(&controlled, program, before, name);
    // It closes after this one, which depends on it.
    let mut above = Holding::join_after(&controlled, "above", &[name]);
    controlled.service.signal(libc::SIGTERM);
    above.told("close");
    let gift = controlled.ctl(&["grant", name, "1s"]);
    assert!(gift.status.success(), "{gift:?}");
    sidecar.line("granted 1000 ms");
    above.done();
    sidecar.line("granted 2000 ms");
    sidecar.line("over: done");
    let report = controlled.service.end().assert_drained();
    let said = of(&report, name);
    assert_eq!(said["figures"], json!({ "batches": 3 }), "{said:#}");
    assert_eq!(said["grants"].as_array().map(Vec::len), Some(2), "{said:#}");
}

#[test]
fn an_operator_s_grant_is_not_taken_for_an_answer() {
    for (program, version, file) in [
        ("python3", "--version", "participant.py"),
        ("node", "--version", "participant.mjs"),
    ] {
        if is_here(program, version) {
            waits_for_its_own_grant(program, &[&example(file)], program);
        }
    }
}

#[test]
fn one_that_is_killed_while_the_service_waits_for_it_is_found_at_once() {
    if !is_here("python3", "--version") {
        return;
    }
    let controlled = Controlled::start("part-killed", &[]);
    let mut sidecar = join(
        &controlled,
        "python3",
        &[&example("participant.py")],
        "frail",
    );
    controlled.service.signal(libc::SIGTERM);
    sidecar.line("granted");
    sidecar.signal(libc::SIGKILL);
    assert_eq!(sidecar.end().how(), "signal 9");
    let ended = controlled.service.end();
    assert_eq!(ended.how(), "exit 1", "{}", ended.stderr);
    let report = ended.report();
    let said = of(&report, "frail");
    assert_eq!(said["state"], "failed", "{report:#}");
    assert_eq!(said["why"], "its connection ended", "{said:#}");
    // With its 2.5 s over it would be overdue.
}

#[test]
fn one_that_hangs_is_named_at_its_budget() {
    if !is_here("python3", "--version") {
        return;
    }
    let controlled = Controlled::start("part-hangs", &[]);
    let sidecar = join(
        &controlled,
        "python3",
        &[&example("participant.py")],
        "hangs",
    );
    // Its connection stays open, and nothing is said on it.
    sidecar.signal(libc::SIGSTOP);
    controlled.service.signal(libc::SIGTERM);
    let ended = controlled.service.end();
    assert_eq!(ended.how(), "exit 124", "{}", ended.stderr);
    let report = ended.report();
    let said = of(&report, "hangs");
    assert_eq!(said["state"], "overdue", "{report:#}");
    sidecar.signal(libc::SIGKILL);
}

#[test]
fn one_whose_connection_is_lost_joins_the_next_service_under_its_name() {
    if !is_here("python3", "--version") {
        return;
    }
    let controlled = Controlled::start("part-again", &[]);
    let mut sidecar = join(
        &controlled,
        "python3",
        &[&example("participant.py")],
        "agent",
    );
    controlled.service.signal(libc::SIGKILL);
    let Controlled {
        service,
        socket,
        scratch,
        ..
    } = controlled;
    assert_eq!(service.end().how(), "signal 9");
    // The file is still there, and nobody's: the next one replaces it.
    let arguments = [
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--control",
        &socket,
        "--window",
        "none",
    ];
    let mut service = Service::start(env!("CARGO_BIN_EXE_lameduck"), &arguments, &[]);
    service.line("listening on");
    sidecar.line("joined");
    service.signal(libc::SIGTERM);
    sidecar.line("over: ");
    sidecar.end();
    let report = service.end().report();
    assert!(
        ["done", "not-started"].contains(&of(&report, "agent")["state"].as_str().expect("text"))
    );
    drop(scratch);
}
