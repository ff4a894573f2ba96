//! `lameduck demo --audit` and `lameduck explain --audit`, as a user has them; and a report drawn.

mod support;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{
    seats::seat,
    service::{Ended, Service, command},
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

/// A path of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("lameduck-cli-{}-{name}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the path is text")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn demo(flags: &[&str]) -> Service {
    let mut arguments = vec!["demo", "--listen", "127.0.0.1:0", "--window", "none"];
    arguments.extend(flags);
    let mut service = Service::start(LAMEDUCK, &arguments, &[]);
    service.line("listening on ");
    service
}

/// A shell stops it, with an argument that nobody should read, and waits until it may end.
fn stopped_by_a_shell(service: Service) -> Ended {
    let mut shell = Command::new("bash")
        .args(["-c", &format!("kill -TERM {}; read -r", service.pid())])
        .args(["--password", "hunter2"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("bash runs");
    let ended = service.end();
    drop(shell.stdin.take());
    shell.wait().expect("it is our child");
    ended
}

fn explain(arguments: &[&str]) -> Ended {
    Service::start(LAMEDUCK, &[&["explain"], arguments].concat(), &[]).end()
}

#[test]
fn it_is_rotated_where_that_was_asked_for_and_every_record_names_the_drain() {
    let _seat = seat();
    let audit = Scratch::new("rotated.jsonl");
    let older: Vec<_> = (1..=3)
        .map(|number| Scratch::new(&format!("rotated.jsonl.{number}")))
        .collect();
    let flags = ["--audit-rotate", "4096", "--audit-keep", "2"];
    let mut service = demo(&[&["--audit", audit.path()][..], &flags].concat());
    // Each is a record; some thirty of them are more than three files.
    for _ in 0..60 {
        service.signal(libc::SIGUSR1);
        service.complaint("lameduck.status/1");
    }
    service.signal(libc::SIGTERM);
    let drain_id = service.end().assert_drained()["drain_id"].clone();
    let there: Vec<_> = older.iter().map(|file| file.0.exists()).collect();
    assert_eq!(there, [true, true, false]);
    for file in [&audit, &older[0], &older[1]] {
        let text = fs::read_to_string(&file.0).expect("written");
        assert!(text.len() <= 4_096, "{}", text.len());
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(record["drain_id"], drain_id, "{line}");
        }
    }
    let story = explain(&["--audit", audit.path()]);
    let named = format!("drain_id {}", drain_id.as_str().expect("an id"));
    assert!(story.stdout.contains(&named), "{}", story.stdout);
}

#[test]
fn the_story_names_the_shell_that_stopped_it_and_no_secret() {
    let _seat = seat();
    let audit = Scratch::new("story.jsonl");
    for _ in 0..2 {
        let service = demo(&["--audit", audit.path(), "--audit-argv"]);
        stopped_by_a_shell(service).assert_drained();
    }
    let text = fs::read_to_string(&audit.0).expect("written");
    assert!(!text.contains("hunter2"), "{text}");
    let story = explain(&["--audit", audit.path()]);
    assert_eq!(story.how(), "exit 0", "{}", story.stderr);
    for part in [
        "lameduck: 2 lives on record",
        "asked to stop 2 times",
        "2 × SIGTERM from bash",
        "drained, exit 0",
        "/bash",
        "--password ***",
    ] {
        assert!(story.stdout.contains(part), "{part:?} in {}", story.stdout);
    }

    let mut from_stdin = command(
        LAMEDUCK,
        &["explain", "--audit", "-", "--format", "json"],
        &[],
    );
    from_stdin.stdin(File::open(&audit.0).expect("it is there"));
    let told = Service::launch(&mut from_stdin).end();
    let story: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(story["lives"].as_array().map(Vec::len), Some(2));
    assert_eq!(story["lives"][1]["outcome"], "drained");
    assert_eq!(story["askers"][0]["count"], 2);
}

#[test]
fn a_file_without_an_audit_is_a_failure_with_a_hint() {
    let told = explain(&["--audit", "/dev/null"]);
    assert_eq!(told.how(), "exit 2");
    assert!(
        told.stderr.contains("no line with schema lameduck.audit/1"),
        "{}",
        told.stderr
    );
    assert!(told.stderr.contains("hint: "), "{}", told.stderr);
    let told = explain(&["H1-02", "--format", "mermaid"]);
    assert_eq!(told.how(), "exit 2");
    assert!(
        told.stderr.contains("only a shutdown report can be drawn"),
        "{}",
        told.stderr
    );
}

#[test]
fn a_report_is_drawn_in_words_and_as_a_page() {
    let _seat = seat();
    let report = Scratch::new("drawn.json");
    stopped_by_a_shell(demo(&["--report", report.path()])).assert_drained();
    let drawn = explain(&[report.path(), "--format", "mermaid"]).stdout;
    assert!(drawn.starts_with("sequenceDiagram\n"), "{drawn}");
    for part in [
        "(bash), uid",
        "SIGTERM: started the shutdown",
        "drained, exit 0",
    ] {
        assert!(drawn.contains(part), "{part:?} in {drawn}");
    }
    let page = explain(&[report.path(), "--format", "html"]).stdout;
    assert!(page.starts_with("<!doctype html>"), "{page}");
    assert!(
        page.contains("SIGTERM: started the shutdown</title>"),
        "{page}"
    );
}
