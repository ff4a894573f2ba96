//! Facts about this process, read at most once a second, and counts of what is in flight, added up at most ten times a second; by whoever
//! asks first.
//!
//! All others take a few loads: adding up alone would touch 128 cache lines that belong to the workers. Nothing is read as long as nobody asks.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Inflight, Shared};
use crate::{sys, vocab::Health};

/// How old a fact may be.
const FRESH: Duration = Duration::from_secs(1);

/// How old a count may be.
const COUNTED: Duration = Duration::from_millis(100);

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
    /// When the counts are due again.
    counts_due: AtomicU64,
    connections: AtomicU64,
    guards: AtomicU64,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            due: AtomicU64::new(0),
            resident: AtomicU64::new(UNKNOWN),
            threads: AtomicU64::new(UNKNOWN),
            files: AtomicU64::new(UNKNOWN),
            counts_due: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            guards: AtomicU64::new(0),
        }
    }
}

/// Relaxed throughout: each fact stands for itself, and all are figures.
impl Facts {
    fn refresh(&self, now: Duration, read: impl FnOnce() -> sys::OwnFacts) {
        if is_mine(&self.due, now, FRESH) {
            let facts = read();
            self.resident
                .store(facts.resident_bytes.unwrap_or(UNKNOWN), Relaxed);
            self.threads
                .store(facts.threads.unwrap_or(UNKNOWN), Relaxed);
            self.files
                .store(facts.open_files.unwrap_or(UNKNOWN), Relaxed);
        }
    }

    fn count(&self, inflight: &Inflight) {
        let counted = [
            (&self.connections, inflight.connections.count()),
            (&self.guards, inflight.guards.count()),
        ];
        for (fact, count) in counted {
            fact.store(count as u64, Relaxed);
        }
    }
}

/// Whether something is due, and the caller is the one who does it; the others have what was there before.
fn is_mine(due: &AtomicU64, now: Duration, every: Duration) -> bool {
    let millis = |time: Duration| {
        let subsec = u64::from(time.subsec_millis());
        time.as_secs().saturating_mul(1_000).saturating_add(subsec)
    };
    let was = due.load(Relaxed);
    was <= millis(now)
        && due
            .compare_exchange(was, millis(now + every), Relaxed, Relaxed)
            .is_ok()
}

fn known(fact: &AtomicU64) -> Option<u64> {
    Some(fact.load(Relaxed)).filter(|fact| *fact != UNKNOWN)
}

impl Shared {
    pub(crate) fn health(&self) -> Health {
        let now = self.now();
        let facts = self.facts();
        facts.refresh(now, sys::own_facts);
        if is_mine(&facts.counts_due, now, COUNTED) {
            facts.count(self.inflight());
        }
        self.last_health(now)
    }

    /// Once, at the end: nothing of it is old.
    pub(super) fn final_health(&self) -> Health {
        let now = self.now();
        let facts = self.facts();
        facts.due.store(0, Relaxed);
        facts.refresh(now, sys::own_facts);
        facts.count(self.inflight());
        self.last_health(now)
    }

    fn last_health(&self, now: Duration) -> Health {
        let facts = self.facts();
        Health {
            phase: self.phase(),
            uptime: now,
            resident_bytes: known(&facts.resident),
            threads: known(&facts.threads),
            open_files: known(&facts.files),
            tasks: None,
            connections: facts.connections.load(Relaxed),
            guards: facts.guards.load(Relaxed),
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
