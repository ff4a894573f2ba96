//! The admin page of the demo, watched in headless Chromium through a drain that is started on it.
//!
//! Chromium is skipped where it is not installed, and says so; `.ci/run` installs it.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{
    seats::seat,
    service::{Ended, Service},
    wire::Wire,
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

/// What would be markup if it were not text.
const REASON: &str = "<img src=x onerror=\"document.title='pwned'\"><b><i>";

/// A directory that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lameduck-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether Chromium and what drives it are here; says so if not.
fn has_browser() -> bool {
    for (program, argument) in [
        ("chromium", "--version"),
        ("python3", "-cimport websockets"),
    ] {
        let here = Command::new(program)
            .arg(argument)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !here {
            eprintln!("skipped: {program} {argument} does not run here");
            return false;
        }
    }
    true
}

fn python(script: &str, arguments: &[&str]) -> Service {
    let script = format!("{}/tests/page/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command
        .arg(script)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Service::launch(&mut command)
}

#[test]
fn a_drain_is_started_and_watched_on_the_page() {
    let _seat = seat();
    if !has_browser() {
        return;
    }
    let folder = Folder::new("watching");
    let token = folder.file("token");
    let config = folder.file("config.json");
    fs::write(&config, "{}").expect("written");
    let start = |listen: &str, admin: &str| {
        let mut arguments = vec!["demo", "--listen", listen, "--admin", admin];
        arguments.extend(["--admin-token-file", &token, "--config", &config]);
        arguments.extend(["--window", "none", "--grace", "120s"]);
        let mut demo = Service::start(LAMEDUCK, &arguments, &[]);
        let ready = demo.line("listening on ");
        (demo, ready)
    };
    let (demo, ready) = start("127.0.0.1:0", "127.0.0.1:0");
    let service = Service::address(&ready, "listening on ");
    let admin = Service::address(&ready, "admin ");
    let url = format!("http://{admin}/");
    let mut busy = Wire::connect(service).expect("served");
    busy.send("GET /slow?ms=600000&secret=1 HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("sent");
    let mut watcher = python("watch.py", &[&url, &folder.file("profile"), &token, REASON]);
    watcher.line("drain it");
    drop(busy);
    demo_ended_well(demo.end());
    watcher.line("the next one");
    let (next, _) = start("127.0.0.1:0", &admin.to_string());
    watcher.line("kill it");
    next.signal(libc::SIGKILL);
    let ended = watcher.end();
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
    let last = ended.stdout.lines().last().expect("a line");
    let seen: Value = serde_json::from_str(last).expect(&ended.stderr);
    it_was_shown(&seen);
    it_was_safe(&seen);
}

fn it_was_shown(seen: &Value) {
    let starts = |key: &str, with: &str| {
        let text = seen[key].as_str().unwrap_or_default();
        assert!(text.starts_with(with), "{key}: {text}");
    };
    starts("running", "Running");
    starts("said", "Draining. The exit waits for 1 request");
    starts(
        "lead",
        "The exit waits for 1 request (GET /slow from 127.0.0.1:",
    );
    starts("reload", "reload: reloading");
    starts("blockers", "GET /slow");
    starts(
        "lanes",
        "The last minute: 1 connections and 1 requests in flight now",
    );
    let cause = seen["cause"].as_str().expect("a cause");
    assert!(
        cause.ends_with(&format!("drain on the admin listener: {REASON}")),
        "{cause}"
    );
    let deadline = seen["deadline"].as_str().expect("a time");
    assert!(deadline.starts_with("1 min 5"), "{deadline}");
    starts("gone", "Gone at ");
    let gone = seen["gone"].as_str().expect("a sentence");
    assert!(gone.contains(": drained, exit code 0."), "{gone}");
    starts("gone_said", "Gone at ");
    starts("next_said", "Another process answers: pid ");
    let killed = seen["killed"].as_str().expect("a sentence");
    assert!(
        killed.contains(" without a last word, last seen at "),
        "{killed}"
    );
    assert_eq!(seen["wide"], json!([]), "wider than its screen");
    assert_eq!(seen["nameless"], json!([]));
    let stops = seen["stops"].as_array().expect("a list");
    assert_eq!(stops[0]["name"], "Skip to what is in flight");
    for stop in stops {
        assert_eq!(stop["seen"], true, "{stop}");
    }
}

fn it_was_safe(seen: &Value) {
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["elsewhere"], json!([]));
    assert_eq!(seen["sink"], "TypeError", "text can be made markup");
    assert_eq!(seen["markup"], 0);
    assert_eq!(
        seen["buttons"],
        json!(["Use it"]),
        "no deeds without a token"
    );
    let with = json!(["Drain …", "Reload …", "Cut …", "Forget the token"]);
    assert_eq!(seen["with_token"], with);
    assert_eq!(seen["kept"], json!(["", 0, 0, ""]));
    assert_eq!(
        seen["asked"], "Leave it",
        "the harmless answer has the focus"
    );
}

fn demo_ended_well(ended: Ended) {
    let report = ended.assert_drained();
    let why = report["cause"]["why"].as_str().expect("a reason");
    assert!(why.ends_with(REASON), "{why}");
}
