//! The twin of `linux` in plain POSIX: `pipe` and `fcntl`, `poll`, the monotonic clock, no knowledge of other processes.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{FdSignal, OwnFacts, ProcessFacts, Signos, ThreadFacts, ThreadState};

/// A pipe, read end first; both ends are closed on exec and never block.
///
/// Another thread that starts a child between `pipe(2)` and `fcntl(2)` hands the ends down; POSIX has no cure.
///
/// # Errors
///
/// What `pipe(2)` and `fcntl(2)` report: too many open files.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors that the call writes.
    if unsafe { libc::pipe(fds.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both descriptors were just created, are open, and nobody else owns them.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    for end in [&read, &write] {
        set_flag(end, libc::F_GETFD, libc::F_SETFD, libc::FD_CLOEXEC)?;
        set_flag(end, libc::F_GETFL, libc::F_SETFL, libc::O_NONBLOCK)?;
    }
    Ok((read, write))
}

fn set_flag(fd: &OwnedFd, get: libc::c_int, set: libc::c_int, flag: libc::c_int) -> io::Result<()> {
    // SAFETY: `fd` is open (it is borrowed); the two commands take no pointer.
    let old = unsafe { libc::fcntl(fd.as_raw_fd(), get) };
    // SAFETY: as above.
    if old < 0 || unsafe { libc::fcntl(fd.as_raw_fd(), set, old | flag) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One `poll(2)` that waits at most `timeout`, rounded up to a millisecond.
pub(super) fn poll(set: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let millis = timeout.map_or(-1, |t| {
        let up = t.as_nanos().div_ceil(1_000_000);
        libc::c_int::try_from(up).unwrap_or(libc::c_int::MAX)
    });
    // EINTR: the caller's, who knows until when it waits.
    // SAFETY: pointer and length describe `set`, exclusively borrowed.
    let n = unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, millis) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Time on a clock that never goes back; async-signal-safe.
pub(crate) fn since_boot() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a timespec that the call may write; `clock_gettime` is async-signal-safe in POSIX.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Nothing: POSIX has no way to ask for another process' name.
///
/// # Errors
///
/// Always `Unsupported`.
pub(crate) fn process_facts(_pid: u32) -> io::Result<ProcessFacts> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing: POSIX tells only the largest memory that there ever was.
pub(crate) fn own_facts() -> OwnFacts {
    OwnFacts::default()
}

/// Nothing: POSIX has no way to ask for another thread's mask.
///
/// # Errors
///
/// Always `Unsupported`.
pub(crate) fn thread_masks(_at_most: usize) -> io::Result<Vec<ThreadFacts>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing: only Linux has signalfd(2).
///
/// # Errors
///
/// Always `Unsupported`.
pub(crate) fn signalfd(_set: Signos) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing: only Linux has signalfd(2).
///
/// # Errors
///
/// Always `Unsupported`.
pub(crate) fn read_signalfd(
    _fd: BorrowedFd<'_>,
    _found: &mut impl FnMut(FdSignal),
) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing: a directory for the child is not part of POSIX before 2024.
///
/// # Errors
///
/// Always `Unsupported`.
pub(super) fn add_chdir(
    _actions: &mut libc::posix_spawn_file_actions_t,
    _directory: &CStr,
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing: POSIX gives threads no number that others know.
pub(crate) const fn tid() -> i32 {
    0
}

/// Nothing: POSIX has no way to list threads.
///
/// # Errors
///
/// Always `Unsupported`.
pub(crate) fn thread_ids(_limit: usize) -> io::Result<(Vec<i32>, usize)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing: POSIX has no way to ask for a thread.
pub(crate) fn thread_state(_tid: i32) -> ThreadState {
    ThreadState::default()
}
