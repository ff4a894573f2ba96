//! Owns a thread that does nothing but wake: whenever it wakes late, this machine kept it waiting, and with it, most
//! likely, the target and all other threads of ours, whatever these were doing.
//! Not: what that means (see `scenario::attention`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lateness::Lateness;

/// Between two beats.
const BEAT: Duration = Duration::from_millis(5);

/// Beats until it is dropped. It runs at the target's priority, not at the raised one of clients.
#[derive(Debug)]
pub(crate) struct Pulse {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    pub(crate) fn start(lateness: &Arc<Lateness>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        // Due from now on, also when the thread itself is kept waiting.
        let mut due = Instant::now() + BEAT;
        lateness.expect_beat(Some(due));
        let log = Arc::clone(lateness);
        let beat = move || {
            // Acquire pairs with the Release in `drop`.
            while !ended.load(Ordering::Acquire) {
                std::thread::park_timeout(BEAT);
                let now = Instant::now();
                log.hold_ups.note(due, now);
                due = now + BEAT;
                log.expect_beat(Some(due));
            }
            log.expect_beat(None);
        };
        // Without a thread for it, the loops of clients still tell how late they are.
        let thread = std::thread::Builder::new().name("pulse".to_owned());
        let thread = thread.spawn(beat).ok();
        if thread.is_none() {
            lateness.expect_beat(None);
        }
        Self { over, thread }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        // Release pairs with the Acquire in the beating thread.
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It does not panic; and if it did, nobody would need it any more.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beats_until_it_is_dropped() {
        let lateness = Arc::new(Lateness::default());
        let begun = Instant::now();
        let pulse = Pulse::start(&lateness);
        while lateness
            .next_beat()
            .is_none_or(|due| due < begun + BEAT * 3)
        {
            assert!(begun.elapsed() < Duration::from_secs(20), "no beat came");
            std::thread::yield_now();
        }
        drop(pulse);
        assert_eq!(Arc::strong_count(&lateness), 1, "the thread is gone");
        assert_eq!(lateness.next_beat(), None);
    }

    /// Whoever judges first after a hold-up must not be faster than the thread that would note it.
    #[test]
    fn a_beat_that_is_due_and_does_not_come_is_a_hold_up_already() {
        let lateness = Lateness::default();
        let now = Instant::now();
        let Some(due) = now.checked_sub(Duration::from_secs(1)) else {
            return;
        };
        assert_eq!(lateness.held_up(due, now).longest, Duration::ZERO);
        lateness.expect_beat(Some(due));
        assert_eq!(lateness.held_up(due, now).longest, Duration::from_secs(1));
    }
}
