//! Stacks of all threads: whether they can be taken, and by which signal.
//!
//! The signal's handler and the slots that it writes to are the process' own, so what is switched on here is so for every lifecycle in it.

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(lameduck_portable)))]
mod symbols;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(lameduck_portable)))]
mod taken;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(lameduck_portable)))]
mod unwind;

use std::io;
use std::sync::OnceLock;

use super::text::Text;
use super::threads::{WITH_STACKS, write_plain};
use crate::sys::ThreadState;

/// The signal that asks for stacks, or why there is none.
static SIGNAL: OnceLock<Result<i32, String>> = OnceLock::new();

/// Switches stacks on for the process, or keeps why that failed. Only the first call counts.
pub(crate) fn enable(taken: Result<i32, String>) {
    // A second lifecycle found the same signal taken by us, or asks for another one that then is not used.
    let _ = SIGNAL.set(taken);
    let _ = WITH_STACKS.set(write);
}

fn write(tids: &[i32], facts: &[ThreadState], total: usize, text: &mut Text<'_>) -> io::Result<()> {
    let why = match SIGNAL.get() {
        None => "they were not switched on",
        Some(Err(why)) => why,
        #[cfg(all(target_os = "linux", target_arch = "x86_64", not(lameduck_portable)))]
        Some(Ok(signo)) => return taken::write(*signo, tids, facts, total, text),
        #[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(lameduck_portable))))]
        Some(Ok(_)) => "they are taken on x86-64 Linux only",
    };
    write_plain(tids, facts, total, why, text)
}
