//! Facts about this process, read at most once a second, by whoever asks first.
//!
//! Readers of the rest of that second take three loads. Nothing is read as long as nobody asks.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::Shared;
use crate::{sys, vocab::Health};

/// How old a fact may be.
const FRESH: Duration = Duration::from_secs(1);

/// No process has so many of anything.
const UNKNOWN: u64 = u64::MAX;

/// What was read last.
#[derive(Debug)]
pub(super) struct Facts {
    /// When they are due again, in milliseconds since the start.
    due: AtomicU64,
    resident: AtomicU64,
    threads: AtomicU64,
    files: AtomicU64,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            due: AtomicU64::new(0),
            resident: AtomicU64::new(UNKNOWN),
            threads: AtomicU64::new(UNKNOWN),
            files: AtomicU64::new(UNKNOWN),
        }
    }
}

impl Facts {
    /// Relaxed throughout: each fact stands for itself, and all are figures.
    fn refresh(&self, now: Duration, read: impl FnOnce() -> sys::OwnFacts) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = self.due.load(Relaxed);
        let next = millis(now + FRESH);
        // One reads, the others have the facts of a second ago.
        let is_mine = due <= millis(now)
            && (self.due)
                .compare_exchange(due, next, Relaxed, Relaxed)
                .is_ok();
        if is_mine {
            let facts = read();
            self.resident
                .store(facts.resident_bytes.unwrap_or(UNKNOWN), Relaxed);
            self.threads
                .store(facts.threads.unwrap_or(UNKNOWN), Relaxed);
            self.files
                .store(facts.open_files.unwrap_or(UNKNOWN), Relaxed);
        }
    }
}

fn known(fact: &AtomicU64) -> Option<u64> {
    Some(fact.load(Relaxed)).filter(|fact| *fact != UNKNOWN)
}

impl Shared {
    pub(crate) fn health(&self) -> Health {
        let now = self.now();
        self.facts().refresh(now, sys::own_facts);
        Health {
            phase: self.phase(),
            uptime: now,
            resident_bytes: known(&self.facts().resident),
            threads: known(&self.facts().threads),
            open_files: known(&self.facts().files),
            tasks: None,
            connections: self.inflight().connections.count() as u64,
            guards: self.inflight().guards.count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_once_a_second_however_often_they_are_asked_for() {
        let facts = Facts::default();
        let mut reads = 0;
        for tenth in 0..25 {
            facts.refresh(Duration::from_millis(tenth * 100), || {
                reads += 1;
                sys::OwnFacts {
                    resident_bytes: Some(reads),
                    threads: None,
                    open_files: Some(7),
                }
            });
        }
        assert_eq!(reads, 3);
        assert_eq!(known(&facts.resident), Some(3));
        assert_eq!(known(&facts.threads), None);
        assert_eq!(known(&facts.files), Some(7));
    }
}
