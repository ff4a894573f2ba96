//! Owns SIGINT, SIGTERM and SIGHUP while services are tested: nothing that was started outlives this program, which then
//! dies of the signal as if it had not been handled.
//! Not: knowing what was started (see `lameduck_verify::abandon`).

use std::{
    io::{self, Read as _},
    os::fd::IntoRawFd as _,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    time::Duration,
};

const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Our end of the pipe on which the handler tells which signal came.
static TOLD: AtomicI32 = AtomicI32::new(-1);

/// A signal has come: this program dies of it as soon as it has cleaned up.
static COME: AtomicBool = AtomicBool::new(false);

/// How long whoever is done waits for that; more than cleaning up takes.
const PATIENCE: Duration = Duration::from_secs(60);

extern "C" fn tell(signal: libc::c_int) {
    // Release pairs with the Acquire in `die_first`.
    COME.store(true, Ordering::Release);
    let byte = u8::try_from(signal).unwrap_or_default();
    // Acquire pairs with the Release in `clean_up`.
    let fd = TOLD.load(Ordering::Acquire);
    // EINTR: a pipe with room for a byte does not wait.
    // SAFETY: write(2) is async-signal-safe, and the byte lives through it. It takes one byte or fails; nobody reads
    // errno in between, for the thread that reads the pipe ends this program.
    unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
}

/// From here on, whatever was started goes when this program is told to.
pub(super) fn clean_up() -> io::Result<()> {
    let (mut heard, told) = io::pipe()?;
    // Release pairs with the Acquire in `tell`.
    TOLD.store(told.into_raw_fd(), Ordering::Release);
    for signal in SIGNALS {
        // SAFETY: all-zero is a valid sigaction: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: `action` is live; nothing is set.
        unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
        // Under nohup, or in the background of a script, it is not meant for us.
        if action.sa_sigaction == libc::SIG_IGN {
            continue;
        }
        let handler: extern "C" fn(libc::c_int) = tell;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: `action` is live, and `tell` does only what a handler may.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
    std::thread::spawn(move || {
        let mut signal = [0];
        if heard.read_exact(&mut signal).is_ok() {
            lameduck_verify::abandon();
            die_of(libc::c_int::from(signal[0]));
        }
    });
    Ok(())
}

/// Waits for the death, if a signal has come: a test whose service was ended by the clean-up is over, and what it found means nothing.
pub(super) fn die_first() {
    // Acquire pairs with the Release in `tell`, which is before anything that the clean-up does.
    if COME.load(Ordering::Acquire) {
        std::thread::sleep(PATIENCE);
    }
}

/// Whoever started us sees what it was.
fn die_of(signal: libc::c_int) {
    // SAFETY: these calls take numbers only.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
    }
}
