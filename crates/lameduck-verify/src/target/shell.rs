//! Owns running one command of the user by `sh -c`: bounded in time, its output kept, its group killed when it is late.
//! Not: what the commands are for (see `driven` and `stop`).

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::kin::{self, Kind};
use super::output::{Output, Stream};
use super::place::Place;

/// Between two looks at whether it has ended.
const STEP: Duration = Duration::from_millis(1);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    /// It was never begun; why, in words.
    Unstarted(String),
    /// In words.
    Badly(String),
    /// We stopped waiting, and killed it.
    Late(Duration),
    /// It was not wanted any more.
    Called,
}

impl Ended {
    pub(crate) fn in_words(&self) -> Option<String> {
        match self {
            Self::Well | Self::Called => None,
            Self::Unstarted(how) | Self::Badly(how) => Some(how.clone()),
            Self::Late(bound) => Some(format!("had not returned after {} s", bound.as_secs())),
        }
    }
}

/// A command line with its ports filled in, ready to be started in a group of its own.
pub(crate) fn command(line: &str, place: &Place, pid: Option<u32>) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &place.fill(line)])
        .envs(place.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(pid) = pid {
        command.env("PID", pid.to_string());
    }
    command
}

/// Starts it; what it writes goes to `output`.
pub(super) fn spawn(
    mut command: Command,
    kind: Kind,
    output: &Arc<Output>,
) -> std::io::Result<Child> {
    let mut child = kin::spawn(&mut command, kind)?;
    if let Some(stdout) = child.stdout.take() {
        output.collect(stdout, Stream::Stdout);
    }
    if let Some(stderr) = child.stderr.take() {
        output.collect(stderr, Stream::Stderr);
    }
    Ok(child)
}

/// Runs it to its end, for `bound` at most, or until `called` says that nobody waits any more.
pub(crate) fn run(
    command: Command,
    output: &Arc<Output>,
    bound: Duration,
    called: &AtomicBool,
) -> Ended {
    let begun = Instant::now();
    let mut child = match spawn(command, Kind::Leader, output) {
        Ok(child) => child,
        Err(error) => return Ended::Unstarted(format!("could not be started: {error}")),
    };
    loop {
        match kin::try_wait(&mut child) {
            Ok(Some(status)) if status.success() => return Ended::Well,
            Ok(Some(status)) => return Ended::Badly(in_words(status)),
            Ok(None) => {}
            Err(error) => return Ended::Badly(format!("could not be waited for: {error}")),
        }
        // Acquire pairs with the Release of whoever calls it off.
        let called = called.load(Ordering::Acquire);
        if called || begun.elapsed() > bound {
            kin::end(&child);
            kin::reap(&mut child);
            return if called {
                Ended::Called
            } else {
                Ended::Late(bound)
            };
        }
        std::thread::park_timeout(STEP);
    }
}

/// The same for a command whose output nobody needs.
pub(crate) fn succeeds(mut command: Command, bound: Duration) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let output = Arc::new(Output::default());
    run(command, &output, bound, &AtomicBool::new(false)) == Ended::Well
}

/// Kills a child that was not reaped yet, and its whole group.
pub(super) fn kill_group(id: u32) {
    if let Ok(group) = libc::pid_t::try_from(id) {
        // SAFETY: kill(2) takes numbers only. The leader was not reaped: neither its id nor the group's is reused.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        signal(id, libc::SIGKILL);
    }
}

/// Sends a signal to a child that was not reaped yet.
pub(super) fn signal(id: u32, number: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(id) {
        // SAFETY: kill(2) takes numbers only. It was not reaped: the id is still its own.
        unsafe { libc::kill(pid, number) };
    }
}

/// Waits until a child has ended, and leaves it unreaped. Its exit code, 128 and more for a signal.
pub(super) fn await_zombie(id: u32, deadline: Instant) -> Option<i32> {
    loop {
        // SAFETY: all-zero is a valid siginfo_t (plain C data).
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
        // EINTR: it does not wait.
        // SAFETY: `info` is a live siginfo_t. WNOWAIT leaves the zombie where it is.
        let done = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, options) };
        // SAFETY: waitid either left the zeroes (nothing has ended yet) or filled in a SIGCHLD siginfo.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if done == 0 && pid != 0 {
            return Some(if info.si_code == libc::CLD_EXITED {
                status
            } else {
                128 + status
            });
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(STEP);
    }
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (_, Some(signal)) => format!("died of signal {signal}"),
        _ => "ended".to_owned(),
    }
}
