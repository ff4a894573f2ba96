//! Interrupted system calls: what may be called again after `EINTR`, what must not be, and how often it happened.
//!
//! A signal handler that runs while a thread waits in the kernel ends the wait: the call fails with `EINTR`, also where the handler was
//! installed with `SA_RESTART`, for the calls that signal(7) lists under "never restarted". What then is right depends on the call:
//!
//! | call | after `EINTR` | here |
//! |---|---|---|
//! | read(2), write(2), recv(2), send(2) and their kin, accept(2), flock(2), waitpid(2), fsync(2), openat(2) without `O_EXCL` | nothing was done: again. What was done in part is no error: they return how much | [`retry`], [`repeat`] |
//! | poll(2), select(2), epoll_wait(2), recv(2) with `SO_RCVTIMEO` | again, with what is left of the time | [`repeat_within`] |
//! | nanosleep(2) | what is left of the time, or nothing: some sleep to be woken | `std::thread::sleep` sleeps on; [`doze`] tells what was left |
//! | connect(2) | over IP it goes on without us: called again it may fail (`EALREADY`, `EISCONN`). Wait until the socket can be written, then ask for `SO_ERROR`. To a Unix socket nothing has begun: again | [`connect`] tells them apart |
//! | close(2) | never again: on Linux the descriptor is free, and may be somebody else's by now | [`close`] |
//! | openat(2) with `O_CREAT` and `O_EXCL` | never blindly: if the first call made the file, the second one takes it for somebody else's | [`create_new`] |
//!
//! Sources: signal(7), "Interruption of system calls and library functions by signal handlers"; the pages of the calls in section 2; POSIX.1-2024, XSH 2.3.
//! The standard library repeats in `File::open`, `TcpListener::accept`, `read_exact`, `read_to_end` and `write_all`, and does not in `Read::read`
//! and `Write::write`.
//!
//! ```
//! use std::io::{self, Read as _};
//! use lameduck::eintr;
//!
//! # fn main() -> io::Result<()> {
//! # let (mut pipe, sender) = io::pipe()?;
//! # drop(sender);
//! let mut buffer = [0; 512];
//! // Three times more at most; then the error is the caller's to deal with.
//! let count = eintr::retry(|| pipe.read(&mut buffer))?;
//! assert_eq!(count, 0);
//! # Ok(()) }
//! ```

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often [`retry`] calls again.
pub const RETRIES: u32 = 3;

/// Calls of this process that signals interrupted, as far as this module saw them.
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);

/// How many calls were interrupted in this process, of those that were made through this module. Part of the metrics, as
/// `lameduck_interrupted_calls_total`.
#[must_use]
pub fn count() -> u64 {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Counts an error that is an interruption, and says whether it is. For loops of the caller's own.
pub fn note_interrupted(error: &io::Error) -> bool {
    let is = error.kind() == io::ErrorKind::Interrupted;
    if is {
        // A figure: it orders nothing.
        INTERRUPTED.fetch_add(1, Ordering::Relaxed);
    }
    is
}

/// Makes a call that may be made again, up to [`RETRIES`] times more. For threads that must get on with something else while signals pour in.
///
/// # Errors
/// What the call reports; `Interrupted` if it was interrupted each time.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..RETRIES {
        match call() {
            Err(error) if note_interrupted(&error) => {}
            done => return done,
        }
    }
    call().inspect_err(|error| _ = note_interrupted(error))
}

/// As [`retry`]; after the last interruption the fallback decides.
///
/// # Errors
/// What the call or the fallback reports.
pub fn retry_or<T>(
    call: impl FnMut() -> io::Result<T>,
    fallback: impl FnOnce(io::Error) -> io::Result<T>,
) -> io::Result<T> {
    match retry(call) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => fallback(error),
        done => done,
    }
}

/// Makes a call that may be made again, until something else comes of it. For threads that have nothing else to do: each repetition has a
/// signal of its own, and a handler that ran.
///
/// # Errors
/// What the call reports, except `Interrupted`.
pub fn repeat<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if note_interrupted(&error) => {}
            done => return done,
        }
    }
}

/// Makes a call that waits, and again with what is left of the time; `None` waits for ever. The last call is given no time.
///
/// # Errors
/// What the call reports; `Interrupted` when even the last one was.
pub fn repeat_within<T>(
    time: Option<Duration>,
    mut call: impl FnMut(Option<Duration>) -> io::Result<T>,
) -> io::Result<T> {
    let until = time.and_then(|time| Instant::now().checked_add(time));
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match call(left) {
            Err(error) if note_interrupted(&error) && left != Some(Duration::ZERO) => {}
            done => return done,
        }
    }
}

/// Sleeps until the time is over or a signal was handled on this thread; what was left of the time. (`std::thread::sleep` sleeps on.)
#[must_use = "it says whether the time is over"]
pub fn doze(time: Duration) -> Duration {
    let until = Instant::now().checked_add(time);
    match super::os::poll(&mut [], Some(time)) {
        Err(error) if note_interrupted(&error) => until.map_or(time, |until| {
            until.saturating_duration_since(Instant::now())
        }),
        _ => Duration::ZERO,
    }
}

/// Connects a socket: makes the call once; if it was interrupted, or the socket does not block, waits for what comes of it.
///
/// `within` counts from now, and bounds the waiting. The call itself takes as long as it takes where the socket blocks: make it one that does not.
///
/// ```no_run
/// use std::{io, time::Duration};
/// use lameduck::eintr;
///
/// # fn connect(socket: &impl std::os::fd::AsFd, mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
/// // `call` is your connect(2), whatever the family of the address. Only a Unix socket has it called twice.
/// eintr::repeat(|| eintr::connect(socket, Duration::from_secs(3), &mut call))?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// What connect(2) reports, then or later (`SO_ERROR`); `TimedOut` when the time was over first. After these the socket is good for
/// nothing but its close. `Interrupted` if nothing has begun, as with Unix sockets: call this again.
pub fn connect(
    socket: impl AsFd,
    within: Duration,
    call: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let until = Instant::now().checked_add(within);
    let interrupted = match call() {
        Ok(()) => return Ok(()),
        Err(error) if note_interrupted(&error) => Some(error),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => None,
        Err(error) => return Err(error),
    };
    let socket = socket.as_fd();
    if !super::fd::poll_writable(socket, until)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match (pending_error(socket)?, interrupted) {
        // A Unix socket that never began can be "written", and has no error.
        (0, Some(interrupted)) if !has_peer(socket) => Err(interrupted),
        (0, _) => Ok(()),
        (error, _) => Err(io::Error::from_raw_os_error(error)),
    }
}

fn has_peer(socket: BorrowedFd<'_>) -> bool {
    // SAFETY: zeroed memory is a valid address of no family.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of_val(&address)).expect("some bytes");
    let to = (&raw mut address).cast();
    // SAFETY: the descriptor is open for the call (it is borrowed); `address` and `length` may be written, and `length` says how large the former is.
    unsafe { libc::getpeername(socket.as_raw_fd(), to, &raw mut length) == 0 }
}

fn pending_error(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let mut error: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&error)).expect("four bytes");
    // SAFETY: the descriptor is open for the call (it is borrowed); `error` and `length` may be written, and `length` says how large the former is.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut length,
        )
    };
    match failed {
        0 => Ok(error),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes, once, and says what came of it: a file's last write may fail here. (Dropping a descriptor closes it once, too, and says nothing.)
///
/// Interrupted counts as closed, as on Linux it is; elsewhere a descriptor may stay open for good, which is better than to close somebody else's.
///
/// # Errors
/// What close(2) reports, except `EINTR`: `EIO`, `ENOSPC`, `EDQUOT` for what was written before. It is closed all the same.
pub fn close(fd: impl Into<OwnedFd>) -> io::Result<()> {
    let fd = fd.into().into_raw_fd();
    // EINTR: never called again.
    // SAFETY: the descriptor was owned, is not any more, and nobody else owns it.
    if unsafe { libc::close(fd) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if note_interrupted(&error) => Ok(()),
        error => Err(error),
    }
}

/// Makes a file that must not have been there, for writing; asks once. `mode` as in open(2), less the umask.
///
/// `File::create_new` asks again after an interruption, and may then report that a file is there that it made itself.
///
/// # Errors
/// What open(2) reports: `AlreadyExists` is somebody else's file. After `Interrupted` nobody can tell whose a file of that name is: take another name.
pub fn create_new(path: impl AsRef<Path>, mode: u32) -> io::Result<File> {
    let path = CString::new(path.as_ref().as_os_str().as_bytes())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
    // EINTR: never called again.
    // SAFETY: `path` ends with a NUL and lives for the call.
    let fd = unsafe { libc::open(path.as_ptr(), flags, libc::c_uint::from(mode)) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).inspect_err(|error| _ = note_interrupted(error));
    }
    // SAFETY: it was just opened, and nobody else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interrupted() -> io::Error {
        io::Error::from_raw_os_error(libc::EINTR)
    }

    /// A call that is interrupted so often, and how often it was made.
    fn call(
        interruptions: u32,
    ) -> (
        impl FnMut() -> io::Result<u32>,
        std::rc::Rc<std::cell::Cell<u32>>,
    ) {
        let made = std::rc::Rc::new(std::cell::Cell::new(0));
        let counting = made.clone();
        let call = move || {
            counting.set(counting.get() + 1);
            if counting.get() > interruptions {
                Ok(counting.get())
            } else {
                Err(interrupted())
            }
        };
        (call, made)
    }

    #[test]
    fn a_call_is_made_three_times_more_then_the_caller_decides() {
        let before = count();
        assert_eq!(retry(call(3).0).expect("the fourth"), 4);
        assert!(count() >= before + 3);
        let (never, made) = call(u32::MAX);
        let error = retry(never).expect_err("each time");
        assert_eq!((error.kind(), made.get()), (io::ErrorKind::Interrupted, 4));
        assert!(count() >= before + 7, "the last one counts, too");
        assert_eq!(
            retry_or(call(u32::MAX).0, |_| Ok(99)).expect("fallback"),
            99
        );
        assert_eq!(retry_or(call(2).0, |_| Ok(99)).expect("the third"), 3);
        let denied = || Err::<u32, _>(io::ErrorKind::PermissionDenied.into());
        let error = retry_or(denied, |_| Ok(99)).expect_err("no interruption");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(repeat(call(1_000).0).expect("in the end"), 1_001);
    }

    #[test]
    fn a_wait_goes_on_with_what_is_left_and_asks_once_more_at_its_end() {
        let mut given = Vec::new();
        let ended = repeat_within(Some(Duration::from_millis(5)), |left| {
            given.push(left.expect("a limit"));
            Err::<(), _>(interrupted())
        });
        assert_eq!(
            ended.expect_err("each time").kind(),
            io::ErrorKind::Interrupted
        );
        assert!(given.is_sorted_by(|former, latter| former >= latter));
        assert_eq!(given.iter().filter(|left| left.is_zero()).count(), 1);
    }

    #[test]
    fn a_file_is_made_once_and_closed_with_its_error() {
        let path = std::env::temp_dir().join(format!("lameduck-eintr-{}", std::process::id()));
        let file = create_new(&path, 0o600).expect("a new file");
        let again = create_new(&path, 0o600).expect_err("it is there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        close(file).expect("closed");
        std::fs::remove_file(&path).expect("it is there");
        let nul = create_new("a\0b", 0o600).expect_err("no path");
        assert_eq!(nul.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_sleep_that_nothing_disturbs_leaves_nothing() {
        assert_eq!(doze(Duration::from_millis(1)), Duration::ZERO);
    }
}
