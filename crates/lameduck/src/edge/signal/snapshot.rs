//! The real-time signal that asks a thread for its stack.

use std::fmt;
use std::io;

use crate::sys;

/// Which real-time signal asks the threads of a dump for their stacks.
///
/// The default is `SIGRTMIN+7` (41 with glibc on Linux). It must be one that nobody else in the process uses: one that has a handler already is
/// left alone, and dumps then say why they have no stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackSignal {
    above_rtmin: i32,
}

impl StackSignal {
    /// `SIGRTMIN + n`. The C library keeps those below `SIGRTMIN` for itself.
    #[must_use]
    pub const fn rtmin(n: u8) -> Self {
        Self {
            above_rtmin: n as i32,
        }
    }

    /// Its number on this system.
    pub(crate) fn number(self) -> i32 {
        sys::rtmin().saturating_add(self.above_rtmin)
    }
}

impl Default for StackSignal {
    fn default() -> Self {
        Self::rtmin(7)
    }
}

/// Why the signal was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// There is no such signal.
    TooHigh(i32),
    /// Somebody has given it a disposition.
    InUse(i32),
    /// The system refused.
    Refused(i32, io::Error),
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooHigh(signo) => write!(
                f,
                "signal {signo} is above SIGRTMAX: choose a smaller one with StackSignal::rtmin"
            ),
            Self::InUse(signo) => write!(
                f,
                "signal {signo} is used by something else in this process: choose another one with StackSignal::rtmin"
            ),
            Self::Refused(signo, error) => write!(f, "no handler for signal {signo}: {error}"),
        }
    }
}

/// Gives the signal the handler that copies stacks.
///
/// It stays for the life of the process. What is executed (exec(2)) gets the default disposition back; a forked copy has nobody who asks.
///
/// # Errors
///
/// [`NotTaken`]; nothing was changed then.
pub(crate) fn take_stack_signal(signal: StackSignal) -> Result<i32, NotTaken> {
    let signo = signal.number();
    if signo > sys::rtmax() {
        return Err(NotTaken::TooHigh(signo));
    }
    let handler = sys::snapshot::handler();
    match sys::handler_of(signo) {
        Some(libc::SIG_DFL) => {}
        Some(ours) if ours == handler => return Ok(signo),
        Some(_) => return Err(NotTaken::InUse(signo)),
        None => return Err(NotTaken::TooHigh(signo)),
    }
    // SAFETY: the handler is the one that `sys::snapshot` wrote for this: its module says that it does only what signal-safety(7) allows.
    unsafe { sys::set_handler(signo, handler) }
        .map(|()| signo)
        .map_err(|error| NotTaken::Refused(signo, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_does_not_exist_is_refused() {
        let refused = take_stack_signal(StackSignal::rtmin(200)).expect_err("there are 64");
        assert!(matches!(refused, NotTaken::TooHigh(_)), "{refused}");
    }
}
