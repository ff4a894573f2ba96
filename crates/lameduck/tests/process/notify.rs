//! What a service supervisor hears on `NOTIFY_SOCKET`, when the test is the supervisor.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use super::support::{BOUND, seats::seat, service::Service};
use super::{LONG, NONE, SHORT, child};

/// Often enough for a test, and long for a machine that is busy.
const WATCHDOG: (&str, &str) = ("WATCHDOG_USEC", "1000000");

struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Supervisor {
    fn new(name: &str) -> Self {
        let name = format!("lameduck-notify-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(BOUND)).expect("a bound");
        Self { socket, path }
    }

    fn child(&self, body: &str, variables: &[(&str, &str)]) -> Command {
        let mut child = child(body, variables);
        child.env("NOTIFY_SOCKET", &self.path);
        child
    }

    fn start(&self, body: &str, variables: &[(&str, &str)]) -> Service {
        Service::launch(&mut self.child(body, variables))
    }

    /// The next message.
    #[track_caller]
    fn heard(&self) -> Message {
        let mut buffer = [0; 4_096];
        let length = self.socket.recv(&mut buffer).expect("a message in time");
        Message(String::from_utf8(buffer[..length].to_vec()).expect("text"))
    }

    /// The first message, from here on, that says this.
    #[track_caller]
    fn hear(&self, line: &str) -> Message {
        loop {
            let message = self.heard();
            if message.says(line) {
                return message;
            }
        }
    }

    /// What is left, of a process that is gone.
    fn rest(&self) -> Vec<Message> {
        self.socket.set_nonblocking(true).expect("a socket");
        let mut buffer = [0; 4_096];
        let mut rest = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            rest.push(Message(
                String::from_utf8_lossy(&buffer[..length]).into_owned(),
            ));
        }
        rest
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[derive(Debug)]
struct Message(String);

impl Message {
    fn says(&self, line: &str) -> bool {
        self.0.lines().any(|one| one == line)
    }

    fn value(&self, key: &str) -> Option<&str> {
        let mut lines = self.0.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    /// For how long it extends the time, in microseconds.
    fn extends(&self) -> Option<u64> {
        let value = self.value("EXTEND_TIMEOUT_USEC")?;
        Some(value.parse().expect("microseconds"))
    }
}

fn monotonic_usec() -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a timespec that the call may write.
    let refused = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(refused, 0);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn it_is_ready_when_it_runs_and_stopping_when_it_is_told_to() {
    let _seat = seat();
    let supervisor = Supervisor::new("phases");
    // It has three things to do before it goes, so that the message is not overtaken by the exit.
    let (read, mut write) = std::io::pipe().expect("a pipe");
    let mut child = supervisor.child("drains-by-steps", &[LONG, NONE]);
    let mut service = Service::launch(child.stdin(read));
    drop(child);
    let first = supervisor.heard();
    assert!(first.says("READY=1"), "{first:?}");
    let status = first.value("STATUS").expect("a status");
    assert!(status.starts_with("Running: 0 connection(s)"), "{status}");
    service.signal(libc::SIGTERM);
    // Whatever else it had to say as a running service came before.
    let stopping = loop {
        let message = supervisor.heard();
        let status = message.value("STATUS").expect("a status");
        if !status.starts_with("Running: ") {
            break message;
        }
    };
    assert!(stopping.says("STOPPING=1"), "{stopping:?}");
    let status = stopping.value("STATUS").expect("a status");
    assert!(status.starts_with("Terminating: "), "{status}");
    assert!(status.contains("gone in "), "{status}");
    for _ in 0..3 {
        writeln!(write, "go on").expect("the child reads");
        service.line("one less");
    }
    let ended = service.end();
    assert_eq!(ended.how(), "exit 0", "{}", ended.stderr);
    let rest = supervisor.rest();
    for message in &rest {
        assert!(!message.says("STOPPING=1"), "said twice: {rest:?}");
        assert!(!message.says("READY=1"), "{rest:?}");
    }
}

#[test]
fn a_reload_begins_and_ends() {
    let _seat = seat();
    let supervisor = Supervisor::new("reload");
    let service = supervisor.start("reloads", &[LONG, NONE]);
    supervisor.hear("READY=1");
    // The second is refused by the application, and is over all the same.
    for _ in 0..2 {
        let before = monotonic_usec();
        service.signal(libc::SIGHUP);
        let message = supervisor.heard();
        assert!(message.says("RELOADING=1"), "{message:?}");
        let at = message.value("MONOTONIC_USEC").expect("its time");
        let at: i64 = at.parse().expect("microseconds");
        assert!((before..=monotonic_usec()).contains(&at), "{message:?}");
        let message = supervisor.heard();
        assert!(message.says("READY=1"), "{message:?}");
    }
    service.signal(libc::SIGTERM);
    assert_eq!(service.end().how(), "exit 0");
}

#[test]
fn time_is_asked_for_only_while_something_moves() {
    let _seat = seat();
    let supervisor = Supervisor::new("progress");
    let (read, mut write) = std::io::pipe().expect("a pipe");
    let mut child = supervisor.child("drains-by-steps", &[LONG, NONE]);
    let mut service = Service::launch(child.stdin(read));
    drop(child);
    supervisor.hear("READY=1");
    service.signal(libc::SIGTERM);
    let stopping = supervisor.hear("STOPPING=1");
    assert_eq!(stopping.extends(), Some(5_000_000), "{stopping:?}");
    for _ in 0..3 {
        // Nothing moves: it says so, and asks for nothing.
        while supervisor.heard().extends().is_some() {}
        writeln!(write, "go on").expect("the child reads");
        service.line("one less");
        while supervisor.heard().extends().is_none() {}
    }
    assert_eq!(service.end().how(), "exit 0");
}

#[test]
fn it_never_asks_for_more_than_its_own_deadline() {
    let _seat = seat();
    let supervisor = Supervisor::new("deadline");
    let service = supervisor.start("guard", &[SHORT, NONE]);
    supervisor.hear("READY=1");
    service.signal(libc::SIGTERM);
    assert_eq!(service.end().how(), "exit 124");
    let asked: Vec<u64> = supervisor
        .rest()
        .iter()
        .filter_map(Message::extends)
        .collect();
    assert!(!asked.is_empty());
    // Three seconds of grace less half a second of margin.
    assert!(asked.iter().all(|usec| *usec <= 2_500_000), "{asked:?}");
    assert!(asked.is_sorted_by(|one, next| one >= next), "{asked:?}");
}

#[test]
fn the_watchdog_is_fed_while_running_and_while_draining() {
    let _seat = seat();
    let supervisor = Supervisor::new("fed");
    let mut service = supervisor.start("guard", &[LONG, NONE, WATCHDOG]);
    supervisor.hear("READY=1");
    (0..2).for_each(|_| drop(supervisor.hear("WATCHDOG=1")));
    service.line("running");
    service.signal(libc::SIGTERM);
    supervisor.hear("STOPPING=1");
    (0..2).for_each(|_| drop(supervisor.hear("WATCHDOG=1")));
}

#[test]
fn a_wedged_runtime_feeds_no_watchdog() {
    let _seat = seat();
    let supervisor = Supervisor::new("wedged");
    let mut service = supervisor.start("wedges-when-told", &[LONG, NONE, WATCHDOG]);
    (0..2).for_each(|_| drop(supervisor.hear("WATCHDOG=1")));
    service.signal(libc::SIGHUP);
    service.line("wedged");
    service.signal(libc::SIGTERM);
    let (mut alive, mut statuses) = (0, 0);
    // The driver goes on, and says a status every second.
    while statuses < 5 {
        let message = supervisor.heard();
        statuses += usize::from(message.value("STATUS").is_some());
        alive += usize::from(message.says("WATCHDOG=1"));
        if message.says("STOPPING=1") {
            (alive, statuses) = (0, 0);
        }
    }
    assert!(alive <= 1, "{alive}: only what it said before it wedged");
}

#[test]
fn without_a_supervisor_there_is_nobody_to_speak_to() {
    let _seat = seat();
    let names = |service: &Service| -> Vec<String> {
        let threads = fs::read_dir(format!("/proc/{}/task", service.pid())).expect("threads");
        let comm = |thread: std::io::Result<fs::DirEntry>| {
            fs::read_to_string(thread.ok()?.path().join("comm")).ok()
        };
        threads.filter_map(comm).collect()
    };
    let supervisor = Supervisor::new("absent");
    let mut with = supervisor.start("idle", &[LONG, NONE]);
    with.line("running");
    assert!(names(&with).contains(&"lameduck-notify\n".to_owned()));
    let mut without = Service::launch(child("idle", &[LONG, NONE]).env_remove("NOTIFY_SOCKET"));
    without.line("running");
    assert!(!names(&without).contains(&"lameduck-notify\n".to_owned()));
}
