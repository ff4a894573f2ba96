//! Signals held back in one thread, for as long as a value lives.

use std::fmt;
use std::marker::PhantomData;

use crate::sys::{self, Signo, Signos};

/// Signals held back in the thread that called [`block`]; dropped, the thread gets its mask back, and what waited is delivered.
///
/// It cannot be sent to another thread: nobody can change another one's mask.
#[must_use = "dropped, the signals are no longer held back"]
pub struct Blocked {
    /// What this guard blocked and was not blocked before.
    added: Signos,
    here_only: PhantomData<*const ()>,
}

/// Holds these signals back in the calling thread, and in threads and children that it starts from now on.
///
/// This is the first half of a signalfd channel ([`Opening::open_signalfd`](crate::signals::Opening::open_signalfd)), and belongs
/// into the first line of `main`, before any thread is started: one thread that does not block a signal receives it instead, and it
/// does there what it does by default. Everything else in this crate works without.
///
/// Children inherit the mask: start them with [`process::Command`](crate::process::Command), not with the standard library's.
pub fn block(signals: impl IntoIterator<Item = impl Into<Signo>>) -> Blocked {
    let set: Signos = signals.into_iter().collect();
    let before = sys::block(set.numbers());
    let added = set.iter().filter(|signo| !before.blocks(signo.number()));
    Blocked {
        added: added.collect(),
        here_only: PhantomData,
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        sys::unblock(self.added.numbers());
    }
}

impl fmt::Debug for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blocked").field(&self.added).finish()
    }
}
