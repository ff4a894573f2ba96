//! Owns what a target is born with: the signals of a fresh process, whatever ours was started with.
//! Not: starting it.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Every signal that a program may be told to stop, reload or dump by.
const SIGNALS: [libc::c_int; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTERM,
    libc::SIGCHLD,
];

/// Gives the program the signals that a service manager would give it: none ignored, none blocked.
///
/// A shell ignores SIGINT and SIGQUIT in what it starts in the background, `nohup` SIGHUP, and programs inherit that:
/// a target would not hear a stop signal before it has a handler, or never.
pub(super) fn with_signals_of_its_own(command: &mut Command) {
    // SAFETY: between fork and exec, in the one thread there is; signal(2), sigemptyset(3) and sigprocmask(2) are
    // async-signal-safe, and the set is a local of the closure.
    unsafe {
        command.pre_exec(|| {
            for signal in SIGNALS {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_target_hears_signals_that_we_ignore() {
        // SAFETY: nobody else in this process cares for SIGQUIT; it is put back below.
        let before = unsafe { libc::signal(libc::SIGQUIT, libc::SIG_IGN) };
        let mut command = Command::new("sh");
        command.args(["-c", "kill -QUIT $$; exit 7"]);
        with_signals_of_its_own(&mut command);
        let status = command.status().unwrap();
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGQUIT, before) };
        assert_eq!(status.signal(), Some(libc::SIGQUIT), "{status}");
    }
}
