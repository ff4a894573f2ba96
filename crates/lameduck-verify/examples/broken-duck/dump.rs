//! The stacks of all threads, written on SIGQUIT; then the death by it.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// The thread whose turn it is; 0 when it has written.
static TURN: AtomicI32 = AtomicI32::new(0);
const MAX_FRAMES: usize = 48;
/// A thread that can not be interrupted is left out after so long.
const PATIENCE: Duration = Duration::from_millis(200);

fn write(bytes: &[u8]) {
    // SAFETY: the bytes live through the call; write(2) is async-signal-safe.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

/// Digits of `number` to `base`, at the end of the array; no allocation.
fn digits(mut number: u64, base: u64) -> ([u8; 20], usize) {
    let (mut text, mut at) = ([b'0'; 20], 20);
    loop {
        at -= 1;
        text[at] = b"0123456789abcdef"[(number % base) as usize];
        number /= base;
        if number == 0 || at == 0 {
            return (text, at);
        }
    }
}

extern "C" fn on_turn(_: libc::c_int) {
    // SAFETY: takes nothing.
    let thread = unsafe { libc::gettid() };
    if TURN.load(Ordering::SeqCst) != thread {
        return;
    }
    let (text, at) = digits(u64::from(thread.unsigned_abs()), 10);
    write(b"thread ");
    write(&text[at..]);
    write(b"\n");
    let mut frames = [std::ptr::null_mut(); MAX_FRAMES];
    // SAFETY: room for so many addresses; called once before, so that it loads nothing here.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), MAX_FRAMES as libc::c_int) };
    for frame in &frames[..usize::try_from(count).unwrap_or(0)] {
        let (text, at) = digits(*frame as u64, 16);
        write(b"  0x");
        write(&text[at..]);
        write(b"\n");
    }
    write(b"\n");
    TURN.store(0, Ordering::SeqCst);
}

/// To be called before there are other threads.
pub(crate) fn prepare() {
    let mut frames = [std::ptr::null_mut(); 4];
    let handler: extern "C" fn(libc::c_int) = on_turn;
    // SAFETY: room for four addresses; the handler makes system calls only.
    unsafe {
        libc::backtrace(frames.as_mut_ptr(), 4);
        libc::signal(libc::SIGUSR2, handler as libc::sighandler_t);
    }
}

/// Lets every thread write its stack, one after the other.
pub(crate) fn write_all() {
    // SAFETY: takes nothing.
    let process = unsafe { libc::getpid() };
    for entry in std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let Some(thread) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        TURN.store(thread, Ordering::SeqCst);
        // SAFETY: takes numbers only. A thread that is gone by now is not found.
        if unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR2) } != 0 {
            continue;
        }
        let until = Instant::now() + PATIENCE;
        while TURN.load(Ordering::SeqCst) != 0 && Instant::now() < until {
            std::thread::yield_now();
        }
    }
}
