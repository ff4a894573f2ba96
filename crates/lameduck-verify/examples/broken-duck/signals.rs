//! SIGTERM and SIGINT through one pipe, SIGHUP and SIGQUIT through another.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

static WRITE_END: AtomicI32 = AtomicI32::new(-1);
static READ_END: AtomicI32 = AtomicI32::new(-1);
/// The pipe of signals that do not stop.
static CHORES_WRITE: AtomicI32 = AtomicI32::new(-1);
static CHORES_READ: AtomicI32 = AtomicI32::new(-1);

/// Where somebody waits to hear of the first signal that stops; else negative.
static STARVER: AtomicI32 = AtomicI32::new(-1);

/// Tells `fd` of the first signal that stops, whatever becomes of it.
pub(crate) fn tell(fd: libc::c_int) {
    STARVER.store(fd, Ordering::SeqCst);
}

fn tell_starver() {
    let end = STARVER.swap(-1, Ordering::SeqCst);
    if end >= 0 {
        // SAFETY: write(2) is async-signal-safe; the byte outlives the call.
        unsafe { libc::write(end, (&raw const STARVE_BYTE).cast(), 1) };
    }
}

static STARVE_BYTE: u8 = 1;

/// In the place of ignoring: nothing is done, but who waits to hear of it does.
extern "C" fn on_ignored(_: libc::c_int) {
    tell_starver();
}

extern "C" fn on_signal(signal: libc::c_int) {
    let stops = matches!(signal, libc::SIGTERM | libc::SIGINT);
    if stops {
        tell_starver();
    }
    let end = if stops { &WRITE_END } else { &CHORES_WRITE };
    let byte = signal as u8;
    // SAFETY: write(2) is async-signal-safe; the byte outlives the call. The pipes do not block.
    unsafe { libc::write(end.load(Ordering::SeqCst), (&raw const byte).cast(), 1) };
}

/// What stops the duck, and what it does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stops {
    Caught,
    /// Ignored (the broken way).
    Ignored,
    /// SIGINT has no handler (the broken way).
    CaughtButInterrupt,
    /// Nothing has a handler (the broken way where the duck is PID 1).
    Default,
}

fn pipe(flags: libc::c_int) -> [libc::c_int; 2] {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors.
    let done = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | flags) };
    assert_eq!(done, 0, "a pipe can be made at the start of a process");
    ends
}

/// Catches the signals that stop, or does what is broken instead.
pub(crate) fn install(stops: Stops) {
    if READ_END.load(Ordering::SeqCst) < 0 {
        let ends = pipe(libc::O_NONBLOCK);
        READ_END.store(ends[0], Ordering::SeqCst);
        WRITE_END.store(ends[1], Ordering::SeqCst);
    }
    let caught = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    let ignored = on_ignored as extern "C" fn(libc::c_int) as libc::sighandler_t;
    let (term, int) = match stops {
        Stops::Caught => (caught, caught),
        Stops::Ignored if STARVER.load(Ordering::SeqCst) >= 0 => (ignored, ignored),
        Stops::Ignored => (libc::SIG_IGN, libc::SIG_IGN),
        Stops::CaughtButInterrupt => (caught, libc::SIG_DFL),
        Stops::Default => (libc::SIG_DFL, libc::SIG_DFL),
    };
    for (signal, handler) in [(libc::SIGTERM, term), (libc::SIGINT, int)] {
        // SAFETY: the handler only calls write(2).
        unsafe { libc::signal(signal, handler) };
    }
}

/// As if SIGTERM had come: what an operator's page does.
pub(crate) fn ask_to_stop() {
    on_signal(libc::SIGTERM);
}

/// Catches SIGHUP and SIGQUIT; `on` hears them on a thread of its own.
pub(crate) fn install_chores(on: impl Fn(libc::c_int) + Send + 'static) {
    let ends = pipe(0);
    CHORES_READ.store(ends[0], Ordering::SeqCst);
    CHORES_WRITE.store(ends[1], Ordering::SeqCst);
    for signal in [libc::SIGHUP, libc::SIGQUIT] {
        let handler: extern "C" fn(libc::c_int) = on_signal;
        // SAFETY: the handler only calls write(2).
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
    std::thread::spawn(move || {
        loop {
            let mut byte = 0_u8;
            let fd = CHORES_READ.load(Ordering::SeqCst);
            // SAFETY: room for one byte.
            if unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } == 1 {
                on(libc::c_int::from(byte));
            }
        }
    });
}

/// Waits for a signal; true when one or more came (which are taken as one).
pub(crate) fn wait(time: Duration) -> bool {
    let fd = READ_END.load(Ordering::SeqCst);
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let millis = libc::c_int::try_from(time.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one live entry.
    unsafe { libc::poll(&raw mut entry, 1, millis) };
    let mut buffer = [0_u8; 256];
    // SAFETY: the buffer has that many bytes; the pipe does not block.
    unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) > 0 }
}

/// Dies of `signal`, as a cut does; PID 1 can not, and says it with a code.
pub(crate) fn die(signal: libc::c_int) -> ! {
    // SAFETY: plain calls; the default action of the signal ends the process, or else `_exit` does.
    unsafe {
        if libc::getpid() != 1 {
            libc::signal(signal, libc::SIG_DFL);
            libc::kill(libc::getpid(), signal);
            // Another thread may take the signal; the process ends all the same.
            libc::usleep(500_000);
        }
        libc::_exit(128 + signal)
    }
}
