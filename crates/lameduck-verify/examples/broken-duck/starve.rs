//! Starves whoever tells the duck to stop: a process of its own stops the tester at the signal, and lets it go on
//! a while later. Between the tester and the duck stands the ward: its parent is meant. So a test can hold the tester up at the one instant that matters, as a busy machine does.

use std::io::Read;
use std::os::fd::IntoRawFd;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use crate::signals;

/// The argument that makes this program the process that starves another.
pub(crate) const STARVER: &str = "--starver";

/// Starts the process that waits for the signal, and has it told when that comes.
pub(crate) fn at_signal(millis: &str) -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    // SAFETY: takes nothing.
    let ward = unsafe { libc::getppid() };
    let tester = parent_of(ward).unwrap_or_default();
    let mut child = Command::new(program)
        .args([STARVER, &tester.to_string(), millis])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pipe = child.stdin.take().expect("stdin is a pipe");
    signals::tell(pipe.into_raw_fd());
    Ok(())
}

/// The fourth field of proc_pid_stat(5), behind a name that may have anything in it.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// What that process does. It ends with the duck, or after it has let the tester go on.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let number = |index: usize| {
        arguments
            .get(index)
            .and_then(|text| text.parse::<u32>().ok())
    };
    let (Some(pid), Some(millis)) = (number(0).and_then(|pid| i32::try_from(pid).ok()), number(1))
    else {
        return ExitCode::from(2);
    };
    // In a namespace of its own it has no parent that could be told: 0 would mean its own process group.
    if pid <= 1 {
        return ExitCode::SUCCESS;
    }
    if !matches!(std::io::stdin().read(&mut [0]), Ok(1)) {
        return ExitCode::SUCCESS;
    }
    // SAFETY: takes numbers only.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    std::thread::sleep(Duration::from_millis(u64::from(millis)));
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    ExitCode::SUCCESS
}
