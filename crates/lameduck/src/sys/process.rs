//! This process: its ids, its dispositions, its end.

use std::io;
use std::mem::MaybeUninit;

/// This process' id; async-signal-safe.
pub(crate) fn getpid() -> u32 {
    // SAFETY: has no precondition and cannot fail.
    unsafe { libc::getpid() }.unsigned_abs()
}

/// The id of the parent; 0 when it is outside this pid namespace.
pub(crate) fn getppid() -> u32 {
    // SAFETY: has no precondition and cannot fail.
    unsafe { libc::getppid() }.unsigned_abs()
}

/// Whether this is the first process of its pid namespace, for which the kernel drops signals of default disposition.
pub(crate) fn is_pid1() -> bool {
    getpid() == 1
}

/// The user as whom files are opened.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: has no precondition and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether a process with this id exists, be it a zombie or somebody else's.
pub(crate) fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: signal 0 sends nothing. 0 would mean our group and is excluded.
    pid > 0
        && (unsafe { libc::kill(pid, 0) } == 0
            || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM))
}

/// Sends a signal to this process as a whole.
///
/// # Errors
///
/// `EINVAL` when the number is no signal.
pub(crate) fn kill_self(signo: i32) -> io::Result<()> {
    // SAFETY: takes no pointer; a process may always signal itself.
    if unsafe { libc::kill(libc::getpid(), signo) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends a signal to the calling thread; async-signal-safe. A number that is no signal does nothing.
pub(crate) fn raise(signo: i32) {
    // SAFETY: takes no pointer; `raise` is on the list of signal-safety(7).
    unsafe { libc::raise(signo) };
}

/// Ends the process now: no destructor, no `atexit`, no flush; async-signal-safe.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: has no precondition, does not return.
    unsafe { libc::_exit(code) }
}

/// Whether the signal's disposition is "ignore".
pub(crate) fn is_ignored(signo: i32) -> bool {
    handler_of(signo) == Some(libc::SIG_IGN)
}

/// The address of the signal's handler, or `SIG_DFL` or `SIG_IGN`; `None` when the number is no signal.
pub(crate) fn handler_of(signo: i32) -> Option<usize> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; the old one is written to `action`, which has room for it.
    let known = unsafe { libc::sigaction(signo, std::ptr::null(), action.as_mut_ptr()) } == 0;
    // SAFETY: zeroed memory is a valid `sigaction` (integers and an optional function), and the call filled it.
    known.then(|| unsafe { action.assume_init() }.sa_sigaction)
}

/// Gives the signal its default disposition; async-signal-safe.
pub(crate) fn reset_default(signo: i32) {
    // SAFETY: zeroed memory is a valid `sigaction`: SIG_DFL, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = libc::SIG_DFL;
    // SAFETY: `action` is initialised and lives for the call; the old action is not asked for. `sigaction` is on the
    // list of signal-safety(7). It refuses only numbers that are no signal, SIGKILL and SIGSTOP: nothing changes then.
    unsafe { libc::sigaction(signo, &raw const action, std::ptr::null_mut()) };
}
