//! The flags with which `lameduck verify` has a service and stops it: as typed, with what they say when they are wrong.

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    alone,
    service::{Ended, Service},
};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

fn verify(arguments: &[&str]) -> Ended {
    let mut all = vec!["verify"];
    all.extend(arguments);
    Service::start(LAMEDUCK, &all, &[]).end()
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lameduck-flags-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).expect("a directory of our own");
    path
}

#[test]
fn commands_start_stop_ask_and_clean_up() {
    let _alone = alone();
    let directory = scratch("commands");
    let at = |name: &str| format!("{}/{name}-$PORT", directory.display());
    let (pid, log) = (at("pid"), at("log"));
    let start = format!(
        "{LAMEDUCK} demo --listen 127.0.0.1:{{port}} --window 0.2,0.1,1 --grace 4s >{log} 2>&1 & echo $! >{pid}"
    );
    let stop = format!("kill $(cat {pid})");
    let alive = format!("kill -0 $(cat {pid})");
    let (logs, cleanup) = (format!("cat {log}"), format!("rm {pid}"));
    let ended = verify(&[
        "--only",
        "P1,P9,H1-01",
        "--grace",
        "5s",
        "--format",
        "json",
        "--slow-path",
        "/slow?ms={ms}",
        "--post-path",
        "/echo",
        "--start",
        &start,
        "--stop",
        &stop,
        "--alive",
        &alive,
        "--logs",
        &logs,
        "--cleanup",
        &cleanup,
        "--ready-line",
        "listening on",
        "--ready-within",
        "20s",
    ]);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(ended.how(), "exit 0", "{report:#}\n{}", ended.stderr);
    let verdicts: Vec<_> = report["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|check| (check["id"].as_str(), check["verdict"].as_str()))
        .collect();
    assert_eq!(
        verdicts,
        [
            (Some("P1"), Some("pass")),
            (Some("P9"), Some("n/a")),
            (Some("H1-01"), Some("pass")),
        ]
    );
    let wrote = report["target"]["output"]["stdout"].as_str();
    assert!(wrote.is_some_and(|text| text.contains("listening on")));
    let left = fs::read_dir(&directory).expect("it is there").flatten();
    let left = left.filter(|file| file.file_name().to_string_lossy().starts_with("pid"));
    assert_eq!(left.count(), 0, "each launch was cleaned up");
    fs::remove_dir_all(&directory).expect("it is ours");
}

#[test]
fn variables_a_directory_a_line_and_a_call() {
    let _alone = alone();
    let directory = scratch("child");
    let script = format!(
        "echo $MODE >mode; exec {LAMEDUCK} demo --listen 127.0.0.1:$PORT --window 0.2,0.1,1 --grace 4s"
    );
    let ended = verify(&[
        "--only",
        "P1",
        "--cwd",
        &directory.to_string_lossy(),
        "--env",
        "MODE=p{port}",
        "--ready-line",
        "listening on",
        "--stop",
        "kill -TERM $PID",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    assert_eq!(ended.how(), "exit 0", "{}\n{}", ended.stdout, ended.stderr);
    let mode = fs::read_to_string(directory.join("mode")).expect("written where --cwd says");
    assert!(
        mode.trim()
            .strip_prefix('p')
            .is_some_and(|port| port.parse::<u16>().is_ok())
    );
    fs::remove_dir_all(&directory).expect("it is ours");
}

/// Ctrl-C ends us at once; whoever started a container still wants it removed.
#[test]
fn what_commands_started_is_cleaned_up_after_ctrl_c() {
    let _alone = alone();
    let directory = scratch("interrupted");
    let (started, cleaned) = (directory.join("started"), directory.join("cleaned"));
    let start = format!("sleep 600 & echo $! >{}", started.display());
    let cleanup = format!("mv {} {}", started.display(), cleaned.display());
    let service = Service::start(
        LAMEDUCK,
        &[
            "verify",
            "--start",
            &start,
            "--stop",
            "true",
            "--cleanup",
            &cleanup,
        ],
        &[],
    );
    let bound = Instant::now() + Duration::from_secs(20);
    let await_file = |path: &PathBuf| loop {
        if let Some(text) = fs::read_to_string(path)
            .ok()
            .filter(|text| text.ends_with('\n'))
        {
            return text;
        }
        assert!(Instant::now() < bound, "{} never came", path.display());
        std::thread::yield_now();
    };
    let sleeper = await_file(&started);
    service.signal(libc::SIGINT);
    assert_eq!(service.end().how(), "signal 2");
    assert_eq!(await_file(&cleaned), sleeper);
    let stat = format!("/proc/{}/stat", sleeper.trim());
    let runs = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    while runs() {
        assert!(Instant::now() < bound, "{} is left behind", sleeper.trim());
        std::thread::yield_now();
    }
    fs::remove_dir_all(&directory).expect("it is ours");
}

#[test]
fn what_contradicts_itself_is_2_and_says_what_to_do() {
    let _alone = alone();
    let rows: [(&[&str], &str); 12] = [
        (&["--pid", "4711"], "--url"),
        (
            &[
                "--pid",
                "4711",
                "--url",
                "http://127.0.0.1:1/",
                "--",
                "true",
            ],
            "cannot be used with",
        ),
        (&["--start", "true", "--", "true"], "cannot be used with"),
        (&["--start", "true"], "--start needs --stop or --stop-url"),
        (&["--alive", "true", "--", "true"], "cannot be used with"),
        (&["--cleanup", "true"], "--start"),
        (
            &[
                "--stop",
                "true",
                "--stop-url",
                "http://127.0.0.1:1/",
                "--",
                "true",
            ],
            "cannot be used with",
        ),
        (
            &["--signal", "QUIT", "--stop", "true", "--", "true"],
            "cannot be used with",
        ),
        (
            &["--env", "MODE", "--", "true"],
            "not a variable such as MODE=production",
        ),
        (
            &["--cwd", "/nonexistent/place", "--", "true"],
            "there is no directory `/nonexistent/place`",
        ),
        (&["--url", "http://127.0.0.1:1/"], "--url needs a service"),
        (
            &[
                "--start",
                "echo no such image >&2; exit 125",
                "--stop",
                "true",
            ],
            "the start command exited with 125; the end of what it wrote:\n    no such image",
        ),
    ];
    for (arguments, part) in rows {
        let ended = verify(arguments);
        assert_eq!(ended.how(), "exit 2", "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(part),
            "{arguments:?}: {part:?} in\n{}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}
