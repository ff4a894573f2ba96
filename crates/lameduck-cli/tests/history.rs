//! `lameduck demo --history` and `lameduck explain --history`, as a user has them.

mod support;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use support::{
    seats::seat,
    service::{Ended, Service},
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

/// A directory of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lameduck-cli-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a fresh directory");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("the path is text").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn demo(flags: &[&str], variables: &[(&str, &str)]) -> Service {
    let mut arguments = vec!["demo", "--listen", "127.0.0.1:0", "--window", "none"];
    arguments.extend(flags);
    let mut service = Service::start(LAMEDUCK, &arguments, variables);
    service.line("listening on ");
    service
}

fn stopped(service: Service) -> Ended {
    service.signal(libc::SIGTERM);
    service.end()
}

fn explain(arguments: &[&str]) -> Ended {
    Service::start(LAMEDUCK, &[&["explain"], arguments].concat(), &[]).end()
}

#[test]
fn what_a_demo_remembers_is_explained() {
    let _seat = seat();
    let dir = Scratch::new("history");
    let file = dir.path("demo.json");
    stopped(demo(&["--history", &file], &[])).assert_drained();
    stopped(demo(&[], &[("LAMEDUCK_HISTORY", &file)])).assert_drained();

    let told = explain(&["--history", &file]);
    assert_eq!(told.status.code(), Some(0), "{}", told.stderr);
    assert!(
        told.stdout.contains("until the drain's end"),
        "{}",
        told.stdout
    );
    assert_eq!(told.stdout.matches("  done").count(), 2, "{}", told.stdout);

    let json = explain(&["--history", &file, "--format", "json"]).stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["schema"], "lameduck.history/1");
    // The server bears its port in its name: it is another participant each time.
    let participants = json["participants"].as_array().expect("a list");
    let shutdowns = participants.iter().map(|one| one["shutdowns"].as_array());
    assert_eq!(
        shutdowns.map(|all| all.map_or(0, Vec::len)).sum::<usize>(),
        2
    );

    let page = explain(&["--history", &file, "--format", "html"]).stdout;
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));

    let refused = explain(&["--history", &file, "--format", "mermaid"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        refused.stderr.contains("text, json or html"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_history_that_another_process_has_is_said_once_and_the_demo_serves() {
    let _seat = seat();
    let dir = Scratch::new("history-locked");
    let file = dir.path("demo.json");
    let first = demo(&["--history", &file], &[]);
    let second = stopped(demo(&["--history", &file], &[]));
    second.assert_drained();
    let warnings = second
        .stderr
        .lines()
        .filter(|line| line.contains("warning:"));
    let warnings: Vec<_> = warnings.collect();
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(warning.contains("another process has it"), "{warning}");
    assert!(!fs::exists(&file).expect("looked for"));
    stopped(first).assert_drained();
    assert!(fs::exists(&file).expect("looked for"));
}

#[test]
fn what_is_no_history_is_an_error_that_says_what_one_is() {
    let dir = Scratch::new("history-none");
    let file = dir.path("other.json");
    fs::write(&file, r#"{"schema":"lameduck.shutdown/1"}"#).expect("written");
    let refused = explain(&["--history", &file]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        refused.stderr.contains("this is no history"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
}
