//! What parking gives back reaches the system, not only the allocator.
//!
//! Owns the one call to glibc's allocator, which keeps what is freed in the middle of its heap: pages between two living things stay in
//! the process for the next allocation. A listener whose clients all went quiet keeps the memory of its busiest moment. The heap is the
//! program's, not ours: the call is made only for a listener that was asked to. With another allocator, or another libc, it finds nothing or
//! is none.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// From one call to the next, in the whole process: every call walks the whole heap.
const EVERY: Duration = Duration::from_secs(30);

/// How long fewer than [`WORTH`] more have to come before the call, so that those that park with the first are in it too.
pub(crate) const QUIET: Duration = Duration::from_millis(500);

/// How often that is looked at before the call is made all the same: where somebody comes all the time, it is never quiet.
pub(crate) const LOOKS: u32 = 10;

/// Connections whose memory is worth the call: about 5 MB, which cost the call half a millisecond.
pub(crate) const WORTH: usize = 512;

/// When the next call may be made, by whoever asks: each asks for itself.
pub(crate) fn turn() -> Instant {
    static NEXT: Mutex<Option<Instant>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let turn = next.map_or(now, |next| next.max(now));
    *next = Some(turn + EVERY);
    turn
}

/// Hands whole free pages back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu", not(lameduck_portable)))]
pub(crate) fn give_back() {
    // SAFETY: malloc_trim(3) has no obligations: it may be called by any thread at any time, and touches only what is free.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give pages back themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(lameduck_portable))))]
pub(crate) const fn give_back() {}
