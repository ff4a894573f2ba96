//! File descriptors: bounded waits and interrupted system calls.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::eintr;

/// Waits until one of two descriptors can be read or has hung up, or the time is over (`None`: waits for ever).
///
/// Interrupted waits go on with what is left of the time: `poll(2)` returns `EINTR` in spite of `SA_RESTART`.
///
/// # Errors
///
/// What `poll(2)` reports, except `EINTR`.
pub(crate) fn poll2(fds: [BorrowedFd<'_>; 2], timeout: Option<Duration>) -> io::Result<[bool; 2]> {
    let mut set = fds.map(|fd| entry(fd, libc::POLLIN));
    poll_until(
        &mut set,
        timeout.and_then(|t| Instant::now().checked_add(t)),
    )?;
    Ok(set.map(|one| one.revents != 0))
}

/// Waits until one of these descriptors (at most two) can be read or has hung up, a signal interrupts, or the time is over
/// (`None`: waits for ever); says which can. Who is interrupted by the very signal that it waits for finds its record there, and need not ask again.
///
/// # Errors
///
/// What `poll(2)` reports, except `EINTR`.
pub(crate) fn poll_once(
    fds: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> io::Result<[bool; 2]> {
    let unused = libc::pollfd {
        fd: -1,
        events: 0,
        revents: 0,
    };
    let mut set = [unused; 2];
    debug_assert!(fds.len() <= set.len(), "nobody waits for more");
    for (entry_of, fd) in set.iter_mut().zip(fds) {
        *entry_of = entry(*fd, libc::POLLIN);
    }
    match super::os::poll(&mut set, timeout) {
        Err(error) if !eintr::note_interrupted(&error) => Err(error),
        _ => Ok(set.map(|one| one.revents != 0)),
    }
}

/// Waits until a descriptor can be written, or the deadline passes (`None`: waits for ever); says which.
///
/// # Errors
///
/// What `poll(2)` reports, except `EINTR`.
pub(super) fn poll_writable(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    let mut set = [entry(fd, libc::POLLOUT)];
    poll_until(&mut set, deadline)?;
    Ok(set[0].revents != 0)
}

fn entry(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    }
}

fn poll_until(set: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match super::os::poll(set, left) {
            // `poll` counts in coarser steps than we do on some systems; a round that ends early is repeated.
            Ok(0) if left.is_some_and(|left| !left.is_zero()) => {}
            Ok(_) => return Ok(()),
            Err(error) if eintr::note_interrupted(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads once; repeats when interrupted.
///
/// # Errors
///
/// What `read(2)` reports, except `EINTR`.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    eintr::repeat(|| {
        // SAFETY: `fd` is open for the length of the call (it is borrowed); pointer and length describe `buffer`,
        // which is exclusively borrowed and stays alive for the call.
        let n = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    })
}

/// Writes once and says whether all of it was taken; async-signal-safe, and may change `errno`.
pub(crate) fn write_once(fd: BorrowedFd<'_>, bytes: &[u8]) -> bool {
    // EINTR: a handler's own write is not repeated; what it is for does not block.
    // SAFETY: `fd` is open for the length of the call (it is borrowed); pointer and length describe `bytes`, which is
    // borrowed for the call. `write(2)` is on the list of signal-safety(7).
    let n = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(n) == Ok(bytes.len())
}

/// Takes the lock of an open file (flock(2)) if nobody else has it; says whether it was taken. It ends with the file.
///
/// # Errors
///
/// What `flock(2)` reports, except `EWOULDBLOCK`.
pub(crate) fn lock_now(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // EINTR: it does not wait.
    // SAFETY: `fd` is open for the length of the call (it is borrowed); the call takes no pointer.
    if unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

/// Gives up what [`lock_now`] took.
pub(crate) fn unlock(fd: BorrowedFd<'_>) {
    // EINTR: it does not wait.
    // SAFETY: as in `lock_now`. It fails for a descriptor that is none only.
    unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_UN) };
}

/// Writes everything, waiting for room in a non-blocking descriptor until the deadline.
///
/// On a *blocking* descriptor `write(2)` itself may wait past the deadline: call it where that does no harm.
///
/// # Errors
///
/// `TimedOut` at the deadline, `WriteZero` when the descriptor takes nothing, and what `write(2)` and `poll(2)` report.
pub(crate) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = eintr::repeat(|| {
            // SAFETY: as in `write_once`.
            let n = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
            usize::try_from(n).map_err(|_| io::Error::last_os_error())
        });
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !poll_writable(fd, Some(deadline))? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
