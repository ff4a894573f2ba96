//! Dumps of real processes that are stuck in real ways.
//!
//! A child is this test's own binary; the variable `DUMP_TEST_BODY` names the service that it is (`dump/bodies.rs`).
#![cfg(all(feature = "tokio", feature = "dump", target_os = "linux"))]

#[path = "dump/bodies.rs"]
mod bodies;
#[path = "support/pipe.rs"]
mod pipe;
#[path = "../../lameduck-cli/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pipe::full_pipe;
use support::{
    seats::seat,
    service::{Ended, Service, command},
    until,
};

#[used]
#[unsafe(link_section = ".init_array")]
static CHILD: extern "C" fn() = bodies::run_if_child;

/// Whether stacks are taken here.
const STACKS: bool = cfg!(all(target_arch = "x86_64", not(lameduck_portable)));

/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(30);

/// How long a death waits for its dump.
const DUMP: Duration = Duration::from_secs(5);

fn child(body: &str) -> Command {
    let program = std::env::current_exe().expect("the test has a path");
    let program = program.to_str().expect("the path is text");
    let mut command = command(
        program,
        &[],
        &[("LAMEDUCK_GRACE", "300s"), ("LAMEDUCK_WINDOW", "none")],
    );
    command.env(bodies::BODY, body);
    command
}

/// Runs a body until it says `when`, and asks for a dump by a signal that ends it.
fn dump(body: &str, when: &str) -> Ended {
    let mut service = Service::launch(&mut child(body));
    service.line(when);
    service.signal(libc::SIGQUIT);
    let ended = service.end();
    assert_eq!(ended.how(), "signal 3", "{}", ended.stderr);
    ended
}

/// The lines about one thread.
#[track_caller]
fn thread<'a>(dump: &'a str, name: &str) -> Vec<&'a str> {
    let title = format!("\"{name}\"");
    let mut lines = dump
        .lines()
        .skip_while(|line| !(line.starts_with("thread ") && line.contains(&title)));
    let first = lines
        .next()
        .unwrap_or_else(|| panic!("no {name} in {dump}"));
    let rest = lines.take_while(|line| line.starts_with(' '));
    std::iter::once(first).chain(rest).collect()
}

#[track_caller]
fn assert_has(lines: &[&str], part: &str) {
    assert!(
        lines.iter().any(|line| line.contains(part)),
        "no {part:?} in {lines:#?}"
    );
}

// ---- what it says ---------------------------------------------------------------------------------------------------

#[test]
fn it_names_what_is_stuck_and_where() {
    let _seat = seat();
    let ended = dump("stuck", "stuck");
    let text = &ended.stderr;
    let all: Vec<&str> = text.lines().collect();
    for part in [
        "SIGQUIT, the process dies of it",
        "phase Initializing for ",
        "outbox: starting, budget 7000 ms",
        // Slots name them; connections are counted by their passes, of which this service has none.
        "0 connection(s), 1 busy, 1 idle",
        "POST /orders from 192.0.2.7:4711, ",
        "idle: 192.0.2.8:4712, came or last asked ",
        "\"hog\" from ",
        "RUNNING for ",
        "\"ticker\" from ",
        "polls 1, waiting for ",
        "dump/bodies.rs:",
        "core file 0 bytes",
        "== end of the dump",
    ] {
        assert_has(&all, part);
    }
    assert!(!text.contains("secret"), "a query may hold secrets: {text}");
    if !STACKS {
        assert_has(&all, "without stacks: ");
        return;
    }
    assert_has(&all, "build id ");
    assert!(text.contains("hog_in_a_blocking_call"), "{text}");
    let deadlocked = thread(text, "deadlocked");
    assert_has(&deadlocked, "in futex");
    assert_has(&deadlocked, "wait_for_the_deadlock");
    assert_has(&deadlocked, "bodies.rs:");
    let deaf = thread(text, "all-blocked");
    assert_has(&deaf, "no answer within 100 ms: it has signal ");
    assert_has(&deaf, "sleeping in clock_nanosleep");
    assert_has(&thread(text, "lameduck-dump"), "(it writes this dump)");
    assert_has(&thread(text, "lameduck"), "driver");
    let (addresses, names) = (
        text.find("== addresses"),
        text.find("== threads").expect("they are there"),
    );
    assert!(addresses.is_some_and(|at| at < names), "addresses first");
    assert!(
        !text.contains("no way on"),
        "every stack is walked to its end: {text}"
    );
}

#[test]
fn a_wedged_runtime_does_not_keep_it() {
    let _seat = seat();
    let ended = dump("wedge", "wedged");
    let running = ended.stderr.matches("RUNNING for").count();
    assert!(running > 0, "{}", ended.stderr);
    if STACKS {
        let stacks = ended.stderr.matches("hog_in_a_blocking_call").count();
        assert!(stacks >= running, "{}", ended.stderr);
    }
}

#[test]
fn sigusr1_writes_the_same_and_it_goes_on() {
    let _seat = seat();
    let mut service = Service::launch(&mut child("stuck"));
    service.line("stuck");
    for _ in 0..2 {
        service.signal(libc::SIGUSR1);
        service.complaint("SIGUSR1, the process goes on");
        if STACKS {
            service.complaint("hog_in_a_blocking_call");
        }
        service.complaint("== end of the dump");
    }
    service.signal(libc::SIGQUIT);
    service.complaint("SIGQUIT, the process dies of it");
    assert_eq!(service.end().how(), "signal 3");
}

#[test]
fn a_program_may_ask_and_so_may_two_at_once() {
    let _seat = seat();
    let mut service = Service::launch(&mut child("asks"));
    service.line("both");
    let said = service.said.join("\n");
    for part in [
        "asked for, the process goes on",
        "phase Running for ",
        "== end of the dump",
    ] {
        assert_eq!(said.matches(part).count(), 2, "{part} in {said}");
    }
    if STACKS {
        let writing = said.matches("(it writes this dump)").count();
        let without = said.matches("another dump is being taken").count();
        assert!(writing > 0 && writing + without == 2, "{said}");
        assert!(said.contains("== addresses"), "{said}");
    }
    service.signal(libc::SIGTERM);
    service.end().assert_drained();
}

#[test]
fn without_stacks_it_says_why() {
    let _seat = seat();
    for (body, why) in [
        ("plain", "they were not switched on: Start::dump_stacks"),
        ("taken", "is used by something else in this process"),
    ] {
        let why = if STACKS || body == "plain" {
            why
        } else {
            "x86-64 Linux only"
        };
        let ended = dump(body, "running");
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
        if !cfg!(lameduck_portable) {
            assert!(ended.stderr.contains("thread "), "{}", ended.stderr);
        }
    }
}

#[test]
fn another_signal_can_be_chosen() {
    let _seat = seat();
    let ended = dump("other", "running");
    assert_eq!(
        ended.stderr.contains("== addresses"),
        STACKS,
        "{}",
        ended.stderr
    );
}

#[test]
fn a_stripped_program_is_told_by_module_and_offset() {
    let _seat = seat();
    let copy = std::env::temp_dir().join(format!("lameduck-stripped-{}", std::process::id()));
    let program = std::env::current_exe().expect("the test has a path");
    let stripped = Command::new("strip")
        .arg("-o")
        .arg(&copy)
        .arg(program)
        .status();
    let Ok(true) = stripped.map(|status| status.success()) else {
        let _ = writeln!(std::io::stderr(), "skipped: no strip(1) here");
        return;
    };
    let mut command = command(copy.to_str().expect("text"), &[], &[]);
    let mut service = Service::launch(command.env(bodies::BODY, "stuck"));
    service.line("stuck");
    service.signal(libc::SIGQUIT);
    let ended = service.end();
    let _ = fs::remove_file(&copy);
    assert_eq!(ended.how(), "signal 3", "{}", ended.stderr);
    if STACKS {
        let name = copy.file_name().expect("it has one").to_string_lossy();
        let deadlocked = thread(&ended.stderr, "deadlocked");
        assert_has(&deadlocked, &format!("{name}+0x"));
        assert!(
            ended.stderr.contains(&format!("  {name} at 0x")),
            "its build id belongs to the addresses: {}",
            ended.stderr
        );
    }
}

// ---- the end --------------------------------------------------------------------------------------------------------

#[test]
fn a_full_pipe_holds_the_death_for_its_limit_and_a_second_sigquit_ends_it_at_once() {
    let _seat = seat();
    for twice in [false, true] {
        let (_held, full) = full_pipe();
        let mut service = Service::launch_unheard(&mut child("stuck"), Stdio::from(full));
        service.line("stuck");
        let asked = Instant::now();
        service.signal(libc::SIGQUIT);
        if twice {
            // The disposition is the default again: the dump has begun.
            until("the handler is gone", || {
                (!catches_quit(service.pid())).then_some(())
            });
            service.signal(libc::SIGQUIT);
        }
        assert_eq!(service.end().how(), "signal 3");
        let took = asked.elapsed();
        let bound = if twice { Duration::ZERO } else { DUMP };
        assert!(took >= bound && took < bound + SLACK, "{took:?}");
    }
}

/// Whether the process has a handler for SIGQUIT.
fn catches_quit(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let set = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set >> (libc::SIGQUIT - 1) & 1 == 1)
}

#[test]
fn a_core_file_is_left_where_the_limits_allow_one() {
    let _seat = seat();
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim().is_empty() || pattern.starts_with(['|', '/']) {
        let _ = writeln!(std::io::stderr(), "skipped: core files go to {pattern:?}");
        return;
    }
    let dir = std::env::temp_dir().join(format!("lameduck-core-{}", std::process::id()));
    fs::create_dir(&dir).expect("a fresh directory");
    let mut command = child("stuck");
    let mut service = Service::launch(command.env(bodies::CORE, "1").current_dir(&dir));
    service.line("stuck");
    service.signal(libc::SIGQUIT);
    let ended = service.end();
    let found = fs::read_dir(&dir).expect("it is there").count();
    let _ = fs::remove_dir_all(&dir);
    assert_eq!(ended.how(), "signal 3", "{}", ended.stderr);
    assert!(
        ended.stderr.contains("core file unlimited"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.status.core_dumped() && found == 1,
        "{:?}",
        ended.status
    );
}

/// The arguments of unshare(1) that make a PID 1 here: as root, else with a user namespace.
fn unshare() -> Option<Vec<&'static str>> {
    let plain = vec!["--pid", "--fork", "--mount-proc", "--kill-child"];
    let with_user = [&["--user", "--map-root-user"][..], &plain].concat();
    [plain, with_user].into_iter().find(|arguments| {
        let mut tried = Command::new("unshare");
        tried.args(arguments).arg("true").stderr(Stdio::null());
        tried.status().is_ok_and(|status| status.success())
    })
}

#[test]
fn pid_1_dumps_and_exits_with_131() {
    let _seat = seat();
    let Some(arguments) = unshare() else {
        let _ = writeln!(std::io::stderr(), "skipped: no pid namespaces here");
        return;
    };
    for twice in [false, true] {
        let (_held, full) = full_pipe();
        let program = std::env::current_exe().expect("the test has a path");
        let all = [&arguments[..], &[program.to_str().expect("text")]].concat();
        let mut command = command("unshare", &all, &[]);
        command.env(bodies::BODY, "stuck");
        let mut service = if twice {
            Service::launch_unheard(&mut command, Stdio::from(full))
        } else {
            Service::launch(&mut command)
        };
        service.line("stuck");
        let outer = service.pid();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
        let children = children.expect("the kernel lists children");
        let pid: i32 = children.trim().parse().expect("unshare has one child");
        // SAFETY: takes no pointer; the child lives.
        let quit = || assert_eq!(unsafe { libc::kill(pid, libc::SIGQUIT) }, 0);
        let asked = Instant::now();
        quit();
        if twice {
            // Until the driver has read the first: pending ones of a kind become one, and two found together are one request.
            until("the second is heard", || {
                // SAFETY: as above; refused once it is gone, which is what is waited for.
                unsafe { libc::kill(pid, libc::SIGQUIT) };
                service.is_gone().then_some(())
            });
            assert!(asked.elapsed() < DUMP + SLACK, "{:?}", asked.elapsed());
        }
        let ended = service.end();
        assert_eq!(ended.how(), "exit 131", "{}", ended.stderr);
        if !twice {
            assert!(
                ended.stderr.contains("dump of pid 1 at"),
                "{}",
                ended.stderr
            );
            assert!(
                ended.stderr.contains("== end of the dump"),
                "{}",
                ended.stderr
            );
        }
    }
}

// ---- what it costs --------------------------------------------------------------------------------------------------

/// Says how long it takes: with `--release` and `--nocapture`, on a machine that does nothing else, less than a second.
#[test]
fn a_thousand_threads_are_all_there() {
    let _seat = seat();
    let mut service = Service::launch(&mut child("many"));
    service.line("many");
    for _ in 0..3 {
        let asked = Instant::now();
        service.signal(libc::SIGUSR1);
        let lines = service.complaints_until("== end of the dump");
        let all = asked.elapsed();
        let threads = lines
            .iter()
            .filter(|line| line.starts_with("thread "))
            .count();
        assert!(
            cfg!(lameduck_portable) || threads > bodies::MANY,
            "{threads}"
        );
        let last = lines.last().map(String::as_str);
        assert_eq!(last, Some("== end of the dump"), "nothing is left out");
        let taken = lines.iter().find(|line| line.starts_with("== threads: "));
        let _ = writeln!(std::io::stderr(), "{all:?} in all; {taken:?}");
    }
    service.signal(libc::SIGKILL);
}
