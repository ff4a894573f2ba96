//! Dying by a signal.

use std::time::Duration;

use super::set::number;
use crate::sys;
use crate::vocab::Signal;

/// How long a process that signalled itself is waited for; the kernel's delivery takes microseconds.
const DELIVERY: Duration = Duration::from_millis(200);

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

/// Lets the next SIGQUIT end the process without us. Not as PID 1, which the kernel would then keep from dying of it: there the driver
/// looks for it.
pub(crate) fn second_quit_kills() {
    if !sys::is_pid1() {
        sys::reset_default(number(Signal::Quit));
    }
}
