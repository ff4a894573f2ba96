//! The audit of real processes: who is named as the sender, and that it is written whatever else is stuck.
//!
//! A child is this test's own binary; the variable `BODY` names the service that it is (`process/bodies.rs`).
#![cfg(all(feature = "tokio", target_os = "linux"))]

#[path = "process/bodies.rs"]
mod bodies;
#[path = "../../lameduck-cli/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{
    BOUND,
    seats::seat,
    service::{Service, command},
    until,
};

#[used]
#[unsafe(link_section = ".init_array")]
static CHILD: extern "C" fn() = bodies::run_if_child;

/// Half a second of margin, one second of reserve, one and a half to drain.
const SHORT: (&str, &str) = ("LAMEDUCK_GRACE", "3s");
const NONE: (&str, &str) = ("LAMEDUCK_WINDOW", "none");

/// A path of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lameduck-{}-{name}", std::process::id()));
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the path is text")
    }

    fn records(&self) -> Vec<Value> {
        records(&fs::read_to_string(&self.0).unwrap_or_default())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn records(text: &str) -> Vec<Value> {
    text.lines()
        .filter(|line| line.contains(r#""schema":"lameduck.audit/1""#))
        .map(|line| serde_json::from_str(line).expect("whole lines"))
        .collect()
}

fn kinds(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["kind"].as_str().expect("a word"))
        .collect()
}

/// The records of signals.
fn signals(records: &[Value]) -> Vec<&Value> {
    records
        .iter()
        .filter(|record| record["kind"] == "signal")
        .collect()
}

fn child(body: &str, audit: &str, variables: &[(&str, &str)]) -> Command {
    let program = std::env::current_exe().expect("the test has a path");
    let program = program.to_str().expect("the path is text");
    let mut command = command(program, &[], variables);
    command.env(bodies::BODY, body).env("LAMEDUCK_AUDIT", audit);
    command
}

fn running(body: &str, audit: &str, variables: &[(&str, &str)]) -> Service {
    let mut service = Service::launch(&mut child(body, audit, variables));
    service.line("running");
    service
}

#[test]
fn a_shell_that_sends_by_its_builtin_is_named_with_its_executable_and_home() {
    let _seat = seat();
    let audit = Scratch::new("audit-shell");
    let service = running("idle", audit.path(), &[NONE]);
    // It waits for the end of its input, so that it is there to be looked at.
    let mut shell = Command::new("bash")
        .args(["-c", &format!("kill -TERM {}; read -r", service.pid())])
        .stdin(Stdio::piped())
        .spawn()
        .expect("bash runs");
    let ended = service.end();
    ended.assert_drained();
    drop(shell.stdin.take());
    shell.wait().expect("it is our child");

    let records = audit.records();
    assert_eq!(
        kinds(&records),
        [
            "start", "phase", "signal", "phase", "phase", "phase", "exit"
        ]
    );
    let signal = signals(&records)[0];
    assert_eq!(signal["verdict"], "started");
    assert_eq!(signal["phase"], "Running");
    assert_eq!(signal["phase_after"], "Terminating");
    assert_eq!(signal["in_flight"]["connections"], 0);
    let sender = &signal["sender"];
    assert_eq!(sender["pid"], shell.id());
    assert_eq!(sender["comm"], "bash");
    let exe = sender["exe"].as_str().expect("it may be read");
    assert!(exe.ends_with("/bash"), "{exe}");
    let own = fs::read_to_string("/proc/self/cgroup").expect("readable");
    let cgroup = sender["cgroup"].as_str().expect("it may be read");
    assert!(own.contains(cgroup), "{cgroup} is ours, of {own}");
    assert!(sender.get("argv").is_none(), "not asked for: {sender}");
    assert_eq!(records.last().expect("the end")["exit"]["code"], 0);
}

#[test]
fn a_sender_that_has_exited_is_said_to_have() {
    let _seat = seat();
    let audit = Scratch::new("audit-exited");
    let service = running("idle", audit.path(), &[NONE]);
    // It cannot look before the sender is gone.
    service.signal(libc::SIGSTOP);
    let sent = Command::new("/bin/kill")
        .args(["-TERM", &service.pid().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
    service.signal(libc::SIGCONT);
    service.end().assert_drained();
    let records = audit.records();
    let sender = &signals(&records)[0]["sender"];
    assert!(sender["pid"].is_u64(), "{sender}");
    assert!(sender.get("exe").is_none(), "{sender}");
    let why = sender["unknown"].as_str().expect("it is explained");
    assert!(why.contains("had exited before"), "{why}");
}

#[test]
fn a_process_that_signals_itself_is_its_own_sender() {
    let _seat = seat();
    let audit = Scratch::new("audit-itself");
    let ended = Service::launch(&mut child("itself", audit.path(), &[NONE])).end();
    ended.assert_drained();
    let records = audit.records();
    let sender = &signals(&records)[0]["sender"];
    assert_eq!(sender["said"], "this process");
    let own = std::env::current_exe().expect("it has a path");
    assert_eq!(sender["exe"], own.to_str().expect("the path is text"));
}

#[test]
fn inv_2_a_wedged_runtime_writes_its_audit_to_the_end() {
    let _seat = seat();
    let audit = Scratch::new("audit-wedge");
    let mut service = Service::launch(&mut child("wedge", audit.path(), &[SHORT, NONE]));
    service.line("wedged");
    service.signal(libc::SIGTERM);
    let ended = service.end();
    assert_eq!(ended.how(), "exit 124", "{}", ended.stderr);
    let records = audit.records();
    let exit = records.last().expect("there are some");
    assert_eq!(
        (&exit["kind"], &exit["outcome"]),
        (&"exit".into(), &"forced".into())
    );
    assert!(kinds(&records).contains(&"stragglers") || kinds(&records).contains(&"participant"));
}

#[test]
fn a_full_disk_is_said_once_counted_and_no_reason_to_leave_differently() {
    let _seat = seat();
    let mut service = running("idle", "/dev/full", &[NONE]);
    let complaint = "the audit cannot be written to /dev/full: No space left on device";
    service.complaint(&format!("lameduck: warning: {complaint}"));
    service.signal(libc::SIGTERM);
    let ended = service.end();
    let report = ended.assert_drained();
    assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
    assert!(
        report["events"].to_string().contains(complaint),
        "{report:#}"
    );
    assert!(report["dropped"]["audit"].as_u64() >= Some(1), "{report:#}");
}

#[test]
fn a_file_that_cannot_be_made_is_no_reason_not_to_serve() {
    let _seat = seat();
    let service = running("idle", "/nowhere/audit.jsonl", &[NONE]);
    service.signal(libc::SIGTERM);
    let report = service.end().assert_drained();
    let events = report["events"].to_string();
    assert!(
        events.contains("the audit cannot be written to /nowhere/audit.jsonl"),
        "{events}"
    );
}

#[test]
fn inv_2_nobody_reads_the_audit_and_the_exit_does_not_wait() {
    let _seat = seat();
    // A pipe without room whose write end blocks, as a stderr does.
    let (held, full) = std::io::pipe().expect("a pipe");
    fill(full.as_fd().try_clone_to_owned().expect("a descriptor"));
    let mut service =
        Service::launch_unheard(&mut child("idle", "stderr", &[NONE]), Stdio::from(full));
    service.line("running");
    service.signal(libc::SIGTERM);
    assert_eq!(service.end().how(), "exit 0");
    drop(held);
}

/// Writes until there is no room, without blocking, then lets it block again.
fn fill(pipe: OwnedFd) {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the descriptor is open; the command takes no pointer.
    let set = |flags: libc::c_int| unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(set(libc::O_NONBLOCK), 0);
    let mut file = fs::File::from(pipe.try_clone().expect("a descriptor"));
    while file.write(&[b'.'; 4_096]).is_ok() {}
    assert_eq!(set(0), 0);
}

#[test]
fn a_kill_between_leaves_whole_lines_and_the_next_life_goes_on_in_the_same_file() {
    let _seat = seat();
    let audit = Scratch::new("audit-killed");
    let first = running("idle", audit.path(), &[NONE]);
    let pid = first.pid();
    until("its records", || (audit.records().len() == 2).then_some(()));
    first.signal(libc::SIGKILL);
    assert_eq!(first.end().how(), "signal 9");
    let second = running("idle", audit.path(), &[NONE]);
    second.signal(libc::SIGTERM);
    second.end().assert_drained();
    let records = audit.records();
    assert_eq!(kinds(&records)[..4], ["start", "phase", "start", "phase"]);
    assert_eq!(records[1]["pid"], pid);
    assert_ne!(records[2]["pid"], pid);
    assert_eq!(kinds(&records).last(), Some(&"exit"));
}

#[test]
fn repeats_reloads_and_a_quit_are_on_record() {
    let _seat = seat();
    let audit = Scratch::new("audit-all");
    let mut service = running("reloads", audit.path(), &[NONE]);
    for accepted in [true, false] {
        service.signal(libc::SIGHUP);
        service.complaint(if accepted { "reloaded" } else { "refused" });
    }
    service.signal(libc::SIGQUIT);
    assert_eq!(service.end().how(), "signal 3");
    let records = audit.records();
    assert_eq!(
        kinds(&records),
        [
            "start", "phase", "signal", "reload", "signal", "reload", "signal", "exit"
        ]
    );
    assert_eq!(
        (&records[3]["accepted"], &records[5]["accepted"]),
        (&true.into(), &false.into())
    );
    assert_eq!(records[5]["why"], "not JSON");
    assert_eq!(records[7]["outcome"], "quit");
    assert_eq!(records[7]["exit"]["signal"], "SIGQUIT");
}

#[test]
fn the_journal_gets_fields_and_stderr_gets_lines() {
    let _seat = seat();
    let socket = Scratch::new("audit-journal");
    let journal = UnixDatagram::bind(&socket.0).expect("bound");
    journal.set_read_timeout(Some(BOUND)).expect("set");
    let service = running("idle", &format!("journald:{}", socket.path()), &[NONE]);
    service.signal(libc::SIGTERM);
    service.end().assert_drained();
    let mut bytes = vec![0; 64 << 10];
    let mut next = || {
        let count = journal.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let signal = std::iter::repeat_with(&mut next)
        .find(|datagram| datagram.contains("LAMEDUCK_KIND=signal\n"))
        .expect("endless");
    let sender = format!("LAMEDUCK_SENDER_PID={}\n", std::process::id());
    for field in [
        "MESSAGE=lameduck: SIGTERM from pid ",
        "PRIORITY=5\n",
        "LAMEDUCK_VERDICT=started\n",
        &sender,
    ] {
        assert!(signal.contains(field), "{field:?} in {signal}");
    }
    let exit = std::iter::repeat_with(&mut next)
        .find(|datagram| datagram.contains("LAMEDUCK_OUTCOME="))
        .expect("endless");
    assert!(exit.contains("LAMEDUCK_OUTCOME=drained\n"), "{exit}");

    let service = running("idle", "stderr", &[NONE]);
    service.signal(libc::SIGTERM);
    let ended = service.end();
    ended.assert_drained();
    assert_eq!(kinds(&records(&ended.stderr)).last(), Some(&"exit"));
}

#[test]
fn a_signal_that_ends_a_slow_drain_names_what_was_cut() {
    let _seat = seat();
    let audit = Scratch::new("audit-cut");
    let service = running("guard", audit.path(), &[SHORT, NONE]);
    service.signal(libc::SIGTERM);
    let ended = service.end();
    assert_eq!(ended.how(), "exit 124", "{}", ended.stderr);
    let records = audit.records();
    let cut = records
        .iter()
        .find(|record| record["kind"] == "stragglers")
        .expect("something was cut");
    assert_eq!(cut["in_flight"]["guards"], 1, "{cut}");
    assert_eq!(cut["named"][0], "1 guard(s)");
}
