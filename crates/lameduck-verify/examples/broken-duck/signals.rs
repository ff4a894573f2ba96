//! SIGTERM and SIGINT through a pipe.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

static WRITE_END: AtomicI32 = AtomicI32::new(-1);
static READ_END: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(_: libc::c_int) {
    let byte = 0_u8;
    // SAFETY: write(2) is async-signal-safe; the byte outlives the call. The pipe does not block.
    unsafe {
        libc::write(
            WRITE_END.load(Ordering::SeqCst),
            (&raw const byte).cast(),
            1,
        )
    };
}

/// Catches the signals, or ignores them (the broken way).
pub(crate) fn install(ignore: bool) {
    if READ_END.load(Ordering::SeqCst) < 0 {
        let mut ends = [0; 2];
        // SAFETY: `ends` has room for two descriptors.
        let done = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
        assert_eq!(done, 0, "a pipe can be made at the start of a process");
        READ_END.store(ends[0], Ordering::SeqCst);
        WRITE_END.store(ends[1], Ordering::SeqCst);
    }
    let handler = if ignore {
        libc::SIG_IGN
    } else {
        on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t
    };
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler only calls write(2).
        unsafe { libc::signal(signal, handler) };
    }
}

/// As if SIGTERM had come: what an operator's page does.
pub(crate) fn ask_to_stop() {
    on_signal(libc::SIGTERM);
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

/// Dies of SIGTERM, as a cut does.
pub(crate) fn die() -> ! {
    // SAFETY: plain calls; the default action of SIGTERM ends the process.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
        libc::kill(libc::getpid(), libc::SIGTERM);
    }
    loop {
        std::thread::park();
    }
}
