//! Whose turn it is: how much one connection moves before others are served.
//!
//! Owns the count of bytes since a connection last waited, one for each direction. A loopback or data-centre socket takes megabytes at once, and the runtime counts calls, not
//! bytes: without this, a few hundred clients that each ask for something large hold all others up for as long as it takes to fill their buffers.

use std::task::Context;

/// Bytes that one connection moves at a stretch. At 10 GB/s of copying, a hundred such clients delay another by about 2.5 ms.
const STRETCH: usize = 256 * 1024;

/// The count of one connection in one direction.
#[derive(Debug, Default)]
pub(super) struct Turn {
    moved: usize,
}

impl Turn {
    /// Whether it is the others' turn. Then the task is woken at once, behind those that wait already: the caller gives `Pending`.
    pub(super) fn is_over(&mut self, cx: &Context<'_>) -> bool {
        if self.moved < STRETCH {
            return false;
        }
        self.moved = 0;
        cx.waker().wake_by_ref();
        true
    }

    /// These bytes were read or written.
    pub(super) const fn note(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// The socket itself had the connection wait: others had their turn.
    pub(super) const fn waited(&mut self) {
        self.moved = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_turn_ends_after_a_stretch_and_wakes_once() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let mut turn = Turn::default();
        turn.note(STRETCH - 1);
        assert!(!turn.is_over(&cx));
        turn.note(1);
        assert!(turn.is_over(&cx) && !turn.is_over(&cx));
        assert_eq!(woken.0.load(Relaxed), 1);
    }

    #[test]
    fn who_waited_for_the_socket_begins_anew() {
        let cx = Context::from_waker(Waker::noop());
        let mut turn = Turn::default();
        turn.note(STRETCH);
        turn.waited();
        assert!(!turn.is_over(&cx));
    }
}
