//! Dying by SIGQUIT: the dump is gathered and written elsewhere, and only waited for; nothing may hold the death up.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Authority, Driver, DumpCause, thread::PATIENCE};
use crate::{
    sys,
    vocab::{News, Signal},
};

/// How long the death waits for the dump: a thousand threads take less than a second, a reader of stderr may be slow.
const DUMP: Duration = Duration::from_secs(5);

impl Driver {
    pub(super) fn dump_and_die(&mut self) {
        // What came in the same turn before the signal is told, too.
        self.shared.set_status(self.machine.status());
        let Authority::Process(words) = &mut self.authority else {
            return;
        };
        let begun = words.dump(&self.shared, DumpCause::Quit);
        self.tell();
        let counts = self.shared.inflight_counts();
        let observers = self.shared.observers();
        observers.tell(self.shared.now(), counts, News::DiesByQuit);
        let observing = observers.finish();
        let until = Instant::now() + PATIENCE;
        if begun {
            self.wait_for_dump();
        }
        observing.wait(until);
        if let Authority::Process(words) = &mut self.authority {
            words.die_by_quit();
        }
    }

    /// Until the dump is written, the time for it is over, or another SIGQUIT comes. Those that were found together with the first one are
    /// the first one.
    fn wait_for_dump(&mut self) {
        let deadline = self.machine.status().deadline.unwrap_or(Duration::MAX);
        let until = deadline.min(self.shared.now() + DUMP);
        let mut arrivals = Vec::new();
        loop {
            let left = until.saturating_sub(self.shared.now());
            let Authority::Process(words) = &self.authority else {
                return;
            };
            let Some(written) = words.dumped().filter(|_| !left.is_zero()) else {
                return;
            };
            let signals = self
                .signals
                .as_ref()
                .map_or(written, |signals| signals.fd());
            match sys::poll2([signals, written], Some(left)) {
                Ok([_, true]) => return,
                Ok([came, false]) => {
                    if let Some(signals) = self.signals.as_mut().filter(|_| came) {
                        signals.drain(&mut arrivals);
                    }
                    if arrivals
                        .iter()
                        .any(|arrival| arrival.record.signal == Signal::Quit)
                    {
                        return;
                    }
                    arrivals.clear();
                }
                // For want of kernel memory only.
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}
