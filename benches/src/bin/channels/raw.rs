//! The mechanisms without a library: signalfd(2) in epoll(7), and sigwaitinfo(2). And the clock that all children share.

use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::Failure;

/// Nanoseconds on the clock that all processes share.
pub(crate) fn now() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

pub(crate) fn ready() -> io::Result<()> {
    writeln!(io::stdout(), "ready")
}

/// Says when it is called.
pub(crate) fn heard() -> io::Result<()> {
    let at = now();
    writeln!(io::stdout(), "{at}")
}

/// A set of signals, blocked in this thread.
pub(crate) fn blocked(signos: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: zeroed memory is an empty or invalid set that `sigemptyset` makes valid; all pointers are to it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signo in signos {
            libc::sigaddset(&raw mut set, *signo);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        set
    }
}

/// A signalfd for SIGUSR1, which is blocked in this thread.
pub(crate) fn open_signalfd() -> io::Result<OwnedFd> {
    let set = blocked(&[libc::SIGUSR1]);
    // SAFETY: the set is initialised and lives for the call; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just created, is open, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one signal, if there is one.
pub(crate) fn take(signals: &OwnedFd) -> bool {
    // SAFETY: the descriptor is open; room for one record of the kernel's, integers throughout.
    unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        libc::read(
            signals.as_raw_fd(),
            (&raw mut info).cast(),
            size_of_val(&info),
        ) > 0
    }
}

pub(crate) fn signalfd() -> Result<(), Failure> {
    let signals = open_signalfd()?;
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN.cast_unsigned(),
        u64: 0,
    };
    // SAFETY: the event is initialised and lives for the calls; both descriptors are open.
    let epoll = unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        if libc::epoll_ctl(
            epoll,
            libc::EPOLL_CTL_ADD,
            signals.as_raw_fd(),
            &raw mut event,
        ) != 0
        {
            return Err(io::Error::last_os_error().into());
        }
        epoll
    };
    ready()?;
    loop {
        // SAFETY: room for one event.
        unsafe { libc::epoll_wait(epoll, &raw mut event, 1, -1) };
        if take(&signals) {
            heard()?;
        }
    }
}

pub(crate) fn sigwaitinfo() -> Result<(), Failure> {
    let set = blocked(&[libc::SIGUSR1]);
    ready()?;
    loop {
        // SAFETY: the set is initialised; zeroed memory is a valid siginfo_t, which may be written.
        let taken = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::sigwaitinfo(&raw const set, &raw mut info)
        };
        if taken == libc::SIGUSR1 {
            heard()?;
        }
    }
}
