//! One at a time in the whole process: whoever samples it has a turn, or hears that somebody else has it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Held for as long as it lives.
#[derive(Debug)]
pub(crate) struct Turn(&'static AtomicBool);

impl Turn {
    /// Takes the turn that `busy` stands for; `None` while somebody has it.
    pub(crate) fn take(busy: &'static AtomicBool) -> Option<Self> {
        // Acquire and Release guard nothing but the turn itself.
        busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| Self(busy))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
