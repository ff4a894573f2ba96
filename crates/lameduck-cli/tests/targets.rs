//! The flags with which `lameduck verify` has a service and stops it: as typed, with what they say when they are wrong.

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    seats::seat,
    service::{Ended, Service},
    until,
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
    let _seat = seat();
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
    let _seat = seat();
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
    let _seat = seat();
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
    while runs(&sleeper) {
        assert!(Instant::now() < bound, "{} is left behind", sleeper.trim());
        std::thread::yield_now();
    }
    fs::remove_dir_all(&directory).expect("it is ours");
}

fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.contains(") Z "))
}

/// What `path` holds once a whole line was written there.
fn line_of(what: &str, path: &PathBuf) -> String {
    until(what, || {
        let text = fs::read_to_string(path).ok();
        text.filter(|text| text.ends_with('\n'))
    })
}

/// A server of many processes, of which only the first is told by its parent's end: one is in its group, one is not, and
/// one has neither parent, session nor environment in common with it. However the tester goes, they go.
#[cfg(target_os = "linux")]
#[test]
fn no_process_of_a_target_outlives_us() {
    let _seat = seat();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGKILL] {
        let directory = scratch("workers");
        let names = ["worker", "apart", "orphan", "leader"].map(|name| directory.join(name));
        let [worker, apart, orphan, leader] = names.each_ref().map(|path| path.display());
        let target = format!(
            "sleep 600 & echo $! >{worker}
             setsid sh -c 'echo $$ >{apart}; exec sleep 600' &
             ( env -i setsid sh -c 'echo $$ >{orphan}; exec sleep 600' & )
             echo $$ >{leader}; exec {LAMEDUCK} demo --listen 127.0.0.1:$PORT"
        );
        let service = Service::start(
            LAMEDUCK,
            &["verify", "--only", "P1", "--", "sh", "-c", &target],
            &[],
        );
        let pids = names.map(|path| line_of("a process of the target", &path));
        service.signal(signal);
        assert_eq!(service.end().how(), format!("signal {signal}"));
        for pid in pids {
            until("its end", || (!runs(&pid)).then_some(()));
        }
        fs::remove_dir_all(&directory).expect("it is ours");
    }
}

/// Nor a stop command that is under way, nor what that waits for.
#[cfg(target_os = "linux")]
#[test]
fn no_stop_command_outlives_us() {
    let _seat = seat();
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let directory = scratch("stopping");
        let names = ["stopping", "waited"].map(|name| directory.join(name));
        let [stopping, waited] = names.each_ref().map(|path| path.display());
        let stop = format!("echo $$ >{stopping}; sleep 600 & echo $! >{waited}; wait");
        let listen = "exec python3 -m http.server $PORT --bind 127.0.0.1";
        let service = Service::start(
            LAMEDUCK,
            &[
                "verify", "--stop", &stop, "--grace", "100s", "--", "sh", "-c", listen,
            ],
            &[],
        );
        let pids = names.map(|path| line_of("a stop command", &path));
        service.signal(signal);
        assert_eq!(service.end().how(), format!("signal {signal}"));
        for pid in pids {
            until("its end", || (!runs(&pid)).then_some(()));
        }
        fs::remove_dir_all(&directory).expect("it is ours");
    }
}

/// Directories for temporary files go too.
#[test]
fn no_directory_outlives_ctrl_c() {
    let _seat = seat();
    let directory = scratch("temporary");
    let place = directory.to_str().expect("a path of ours");
    let left = || {
        fs::read_dir(&directory)
            .expect("it is ours")
            .flatten()
            .next()
    };
    let service = Service::start(LAMEDUCK, &["verify", "--only", "P10"], &[("TMPDIR", place)]);
    until("a directory", left);
    service.signal(libc::SIGINT);
    assert_eq!(service.end().how(), "signal 2");
    assert!(left().is_none(), "{:?}", left());
    fs::remove_dir_all(&directory).expect("it is ours");
}

/// A profile with `start` gives way to `--pid`: one way to have the service is left.
#[test]
fn a_process_by_its_id_replaces_the_start_command_of_a_profile() {
    let _seat = seat();
    let directory = scratch("overridden");
    let profile = directory.join("service.toml");
    fs::write(&profile, "[target]\nstart = 'false'\nstop = 'true'\n").expect("it is ours");
    let profile = profile.to_str().expect("a path of ours");
    let url = "http://127.0.0.1:1/";
    let none = u32::MAX.to_string();
    let ended = verify(&["--profile", profile, "--pid", &none, "--url", url]);
    assert_eq!(ended.how(), "exit 2", "{}", ended.stderr);
    assert!(
        ended.stderr.contains("no process has the id"),
        "{}",
        ended.stderr
    );
    fs::remove_dir_all(&directory).expect("it is ours");
}

#[test]
fn what_contradicts_itself_is_2_and_says_what_to_do() {
    let _seat = seat();
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
    are_refused(&rows);
}

#[test]
fn what_would_be_dropped_or_stop_what_is_not_ours_is_2_too() {
    let _seat = seat();
    let rows: [(&[&str], &str); 4] = [
        (
            &["--init", "--pid", "4711", "--url", "http://127.0.0.1:1/"],
            "--init and --pid do not go together",
        ),
        (
            &["--init", "--start", "true"],
            "--start needs --stop or --stop-url",
        ),
        (
            &[
                "--until",
                "true",
                "--stop",
                "true",
                "--url",
                "http://127.0.0.1:1/",
                "--rounds",
                "3",
            ],
            "'--until <COMMAND>' cannot be used with '--rounds <N>'",
        ),
        (
            &[
                "--until",
                "true",
                "--stop",
                "true",
                "--url",
                "http://127.0.0.1:1/",
                "--profile",
                "x.toml",
            ],
            "'--until <COMMAND>' cannot be used with '--profile <FILE>'",
        ),
    ];
    are_refused(&rows);
}

#[track_caller]
fn are_refused(rows: &[(&[&str], &str)]) {
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
