//! Giving a signal its default disposition back, and dying by it.

use std::time::Duration;

use super::set::number;
use crate::sys;
use crate::vocab::Signal;

/// How long a process that signalled itself is waited for; the kernel's delivery takes microseconds.
const DELIVERY: Duration = Duration::from_millis(200);

/// Gives the signal its default disposition: the next one ends the process at once, whatever lameduck is doing.
///
/// For SIGQUIT while the dump is written. Other libraries' handlers for it are gone too. As PID 1 the next one is
/// dropped by the kernel instead.
pub(crate) fn restore_default(signal: Signal) {
    sys::reset_default(number(signal));
}

/// Ends the process by this signal, so that the parent sees what it sent (`WIFSIGNALED`; with SIGQUIT a core file
/// where the limits allow one). Runs no destructor and flushes nothing.
///
/// PID 1 cannot die by its own signal: there, and should delivery fail for 200 ms, the exit code is `128 + n`.
pub(crate) fn die_by(signal: Signal) -> ! {
    let signo = number(signal);
    if !sys::is_pid1() {
        sys::reset_default(signo);
        sys::unblock([signo]);
        // Refused only for numbers that are no signal; the exit below is the answer to that too.
        let _ = sys::kill_self(signo);
        std::thread::sleep(DELIVERY);
    }
    sys::exit_now(128 + signo)
}
