//! What the driver writes down for those who watch: a mark at every phase, signals by sender, and how long each took.
//!
//! One writer, the driver's thread; readers take no lock, so that a scrape delays nothing.

use core::sync::atomic::{AtomicU64, Ordering};
use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::OnceLock,
    time::Duration,
};

use super::Inflight;
use crate::vocab::{Phase, SenderClass, Signal};

/// Upper bounds of the latencies' classes; a last class without one takes the rest.
pub(super) const BOUNDS: [Duration; 12] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// Where the counts stood when a phase was entered.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) phase: Phase,
    pub(super) at: Duration,
    pub(super) requests: u64,
    pub(super) counts: Vec<u64>,
}

impl Mark {
    pub(super) fn now(phase: Phase, at: Duration, inflight: &Inflight) -> Self {
        Self {
            phase,
            at,
            requests: inflight.requests.total(),
            counts: inflight.tally.values(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    drain_id: String,
    marks: [OnceLock<Mark>; Phase::ALL.len()],
    signals: [[AtomicU64; SenderClass::ALL.len()]; Signal::ALL.len()],
    latencies: [AtomicU64; BOUNDS.len() + 1],
    latency_nanos: AtomicU64,
    lost: AtomicU64,
}

impl Ledger {
    pub(super) fn new(inflight: &Inflight) -> Self {
        let ledger = Self {
            drain_id: drain_id(),
            marks: [const { OnceLock::new() }; Phase::ALL.len()],
            signals: [const { [const { AtomicU64::new(0) }; SenderClass::ALL.len()] };
                Signal::ALL.len()],
            latencies: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            latency_nanos: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        };
        ledger.enter(Mark::now(Phase::Initializing, Duration::ZERO, inflight));
        ledger
    }

    pub(crate) fn drain_id(&self) -> &str {
        &self.drain_id
    }

    pub(super) fn enter(&self, mark: Mark) {
        // A phase is entered once: phases only advance (INV-1).
        let _ = self.marks[mark.phase as usize].set(mark);
    }

    /// The phases that were entered, in order.
    pub(super) fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter().filter_map(OnceLock::get)
    }

    /// A signal was handled, `took` after its handler ran.
    pub(super) fn signal(&self, signal: Signal, sender: SenderClass, took: Option<Duration>) {
        // Relaxed, here and below: figures for people; nothing is ordered by them.
        self.signals[signal as usize][sender as usize].fetch_add(1, Ordering::Relaxed);
        let Some(took) = took else { return };
        let class = BOUNDS.partition_point(|bound| *bound < took);
        self.latencies[class].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latency_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many signals came without a record, so far.
    pub(super) fn lost(&self, total: u64) {
        self.lost.store(total, Ordering::Relaxed);
    }

    pub(super) fn lost_so_far(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Those that came at all.
    pub(super) fn signals(&self) -> impl Iterator<Item = (Signal, SenderClass, u64)> {
        Signal::ALL.into_iter().flat_map(move |signal| {
            SenderClass::ALL.into_iter().filter_map(move |sender| {
                let count = self.signals[signal as usize][sender as usize].load(Ordering::Relaxed);
                (count > 0).then_some((signal, sender, count))
            })
        })
    }

    /// How many signals there were in each class of latency, and how long they took together.
    pub(super) fn latencies(&self) -> ([u64; BOUNDS.len() + 1], Duration) {
        let counts = self
            .latencies
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let nanos = self.latency_nanos.load(Ordering::Relaxed);
        (counts, Duration::from_nanos(nanos))
    }
}

/// 32 hexadecimal digits, the form of a trace id (W3C Trace Context §3.2.2.3), from the keys that the standard library draws for its maps.
fn drain_id() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(&Inflight::new())
    }

    #[test]
    fn a_latency_falls_into_the_first_class_that_holds_it() {
        let ledger = ledger();
        let term = |took| ledger.signal(Signal::Term, SenderClass::Process, Some(took));
        for took in [
            Duration::ZERO,
            Duration::from_micros(50),
            Duration::from_micros(51),
            Duration::from_secs(2),
        ] {
            term(took);
        }
        ledger.signal(Signal::Term, SenderClass::Unknown, None);
        let (counts, sum) = ledger.latencies();
        assert_eq!((counts[0], counts[1], counts[BOUNDS.len()]), (2, 1, 1));
        assert_eq!(sum, Duration::from_micros(2_000_101));
        let found: Vec<_> = ledger.signals().collect();
        assert_eq!(
            found,
            [
                (Signal::Term, SenderClass::Process, 4),
                (Signal::Term, SenderClass::Unknown, 1)
            ]
        );
    }

    #[test]
    fn every_lifecycle_has_an_id_of_its_own() {
        let ids = [ledger(), ledger()].map(|ledger| ledger.drain_id().to_owned());
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
}
