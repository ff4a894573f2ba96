//! Children with a clean mask: what they start with, and how they end.
#![cfg(all(feature = "signals", target_os = "linux"))]

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;

use lameduck::process::{Command, Stdio};
use lameduck::signals::{Signo, block};

fn output(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::Piped).spawn().expect("it starts");
    let mut text = String::new();
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_to_string(&mut text).expect("text");
    assert!(child.wait().expect("it ends").success(), "{text}");
    text
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A line of `/proc/self/status` that holds a set of signals.
fn signals_of(command: &mut Command, line: &str) -> u64 {
    let text = output(command);
    let set = text.lines().find_map(|one| one.strip_prefix(line));
    u64::from_str_radix(set.expect("proc(5) has it").trim_start_matches(":\t"), 16).expect("hex")
}

const fn bit(signo: i32) -> u64 {
    1 << (signo - 1)
}

#[test]
fn a_child_blocks_nothing_whatever_its_parent_blocks() {
    let held = block([
        Signo::TERM,
        Signo::USR1,
        Signo::real_time(3).expect("it exists"),
    ]);
    let mut std = std::process::Command::new("cat");
    let inherited = std.arg("/proc/self/status").output().expect("cat runs");
    let inherited = String::from_utf8_lossy(&inherited.stdout).into_owned();
    assert!(
        !inherited.contains("SigBlk:\t0000000000000000"),
        "this test could not fail otherwise"
    );
    let mut cat = Command::new("cat");
    assert_eq!(signals_of(cat.arg("/proc/self/status"), "SigBlk"), 0);

    let mut sleep = Command::new("sleep").arg("600").spawn().expect("it starts");
    sleep.signal(Signo::TERM).expect("it runs");
    assert_eq!(sleep.wait().expect("it ends").signal(), Some(libc::SIGTERM));
    drop(held);
}

#[test]
fn what_is_ignored_stays_so_unless_asked() {
    // SAFETY: "ignore" needs nothing; no other test of this file sends or waits for these signals.
    let before =
        unsafe { [libc::SIGHUP, libc::SIGURG].map(|signo| libc::signal(signo, libc::SIG_IGN)) };
    assert!(!before.contains(&libc::SIG_ERR));
    let mut cat = Command::new("cat");
    cat.arg("/proc/self/status");
    let ignored = signals_of(&mut cat, "SigIgn");
    assert_eq!(ignored & bit(libc::SIGHUP), bit(libc::SIGHUP));
    assert_eq!(
        ignored & bit(libc::SIGPIPE),
        0,
        "which this program ignores, as Rust programs do"
    );
    let ignored = signals_of(cat.reset([Signo::HUP]), "SigIgn");
    assert_eq!(ignored & bit(libc::SIGHUP), 0);
    assert_eq!(ignored & bit(libc::SIGURG), bit(libc::SIGURG));
}

#[test]
fn arguments_environment_and_directory_are_as_asked() {
    let mut command =
        shell(r#"printf '%s|%s|%s|%s' "$1" "$LAMEDUCK_A" "${LAMEDUCK_B-none}" "$PWD""#);
    command
        .arg("sh")
        .arg("two words")
        .env("LAMEDUCK_A", "a b")
        .env("LAMEDUCK_B", "b")
        .env_remove("LAMEDUCK_B");
    if cfg!(lameduck_portable) {
        let refused = command
            .current_dir("/")
            .spawn()
            .expect_err("POSIX has no way");
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        return;
    }
    assert_eq!(output(command.current_dir("/")), "two words|a b|none|/");
    let mut command = Command::new("/usr/bin/env");
    assert_eq!(output(command.env_clear().env("ONLY", "1")), "ONLY=1\n");
}

#[test]
fn streams_go_where_they_are_sent() {
    let mut cat = Command::new("cat");
    let mut child = cat
        .stdin(Stdio::Piped)
        .stdout(Stdio::Piped)
        .stderr(Stdio::Null)
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"over and out").expect("it reads");
    drop(stdin);
    let mut text = String::new();
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_to_string(&mut text).expect("text");
    assert_eq!(
        (text.as_str(), child.stderr.is_none()),
        ("over and out", true)
    );
    assert!(child.wait().expect("it ends").success());

    let (mut read, write) = io::pipe().expect("a pipe");
    let mut command = shell("echo out; echo err >&2");
    let both = write.try_clone().expect("a descriptor");
    command
        .stdout(Stdio::Fd(both.into()))
        .stderr(Stdio::Fd(write.into()));
    assert!(command.status().expect("it runs").success());
    drop(command);
    let mut text = String::new();
    read.read_to_string(&mut text).expect("text");
    assert_eq!(text, "out\nerr\n");
}

#[test]
fn how_it_ended_is_told_again_and_again() {
    let mut child = shell("exit 7").spawn().expect("it starts");
    assert_eq!(child.wait().expect("it ends").code(), Some(7));
    assert_eq!(child.wait().expect("it has ended").code(), Some(7));
    let again = child.try_wait().expect("it has ended");
    assert_eq!(again.and_then(|status| status.code()), Some(7));
    let refused = child.kill().expect_err("its id may be another's");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);

    let mut child = Command::new("sleep").arg("600").spawn().expect("it starts");
    assert_eq!(child.try_wait().expect("it runs"), None);
    child.kill().expect("it runs");
    assert_eq!(child.wait().expect("it ends").signal(), Some(libc::SIGKILL));
}

#[test]
fn what_cannot_start_says_why() {
    let missing = Command::new("/nowhere/at/all")
        .spawn()
        .expect_err("missing");
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let denied = Command::new("/etc/passwd")
        .spawn()
        .expect_err("not a program");
    assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
    let nul = Command::new("true").arg("a\0b").spawn().expect_err("NUL");
    assert!(nul.to_string().contains("a NUL byte"), "{nul}");
}

#[test]
fn a_child_inherits_no_descriptor_of_a_pipe() {
    let mut first = Command::new("cat");
    let mut first = first
        .stdin(Stdio::Piped)
        .stdout(Stdio::Null)
        .spawn()
        .expect("it starts");
    let mut second = Command::new("sleep").arg("600").spawn().expect("it starts");
    // The second one lives; had it the first one's input, that would never end.
    drop(first.stdin.take());
    assert!(first.wait().expect("it ends").success());
    second.kill().expect("it runs");
    second.wait().expect("it ends");
}
