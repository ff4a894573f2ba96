//! Owns how late our own clients were: counts of delays by size, in bounded space, shared between threads; and when.
//! Not: what follows from it (see `scenario`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::holdups::{HeldUp, HoldUps};
use crate::verdict::Spread;

/// Buckets for each doubling of a delay.
const STEPS: u32 = 4;
/// Up to 2^24 µs, 16 s; longer delays fall into the last one.
const BUCKETS: usize = 24 * STEPS as usize;

/// Delays, counted by size: each bucket is a fifth wider than the one before.
#[derive(Debug)]
pub(crate) struct Lateness {
    buckets: [AtomicU64; BUCKETS],
    max_micros: AtomicU64,
    pub(crate) hold_ups: HoldUps,
    /// When the pulse is to beat next.
    beat_due: Mutex<Option<Instant>>,
}

impl Default for Lateness {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            max_micros: AtomicU64::new(0),
            hold_ups: HoldUps::default(),
            beat_due: Mutex::new(None),
        }
    }
}

fn bucket(micros: u64) -> usize {
    let place = (micros.max(1) as f64).log2() * f64::from(STEPS);
    (place.floor() as usize).min(BUCKETS - 1)
}

/// The delays of a bucket are shorter than this, in µs.
fn upper_bound(bucket: usize) -> f64 {
    ((bucket + 1) as f64 / f64::from(STEPS)).exp2()
}

impl Lateness {
    pub(crate) fn note(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        // Relaxed: counters that are read when everybody is done.
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.max_micros.fetch_max(micros, Ordering::Relaxed);
    }

    pub(super) fn expect_beat(&self, due: Option<Instant>) {
        *self.beat_due.lock().unwrap_or_else(PoisonError::into_inner) = due;
    }

    pub(super) fn next_beat(&self) -> Option<Instant> {
        *self.beat_due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much this machine held us up between the two; a beat that is due and has not come counts already.
    pub(crate) fn held_up(&self, from: Instant, to: Instant) -> HeldUp {
        if let Some(due) = self.next_beat() {
            self.hold_ups.note(due, Instant::now());
        }
        self.hold_ups.between(from, to)
    }

    /// The median and the slowest hundredth, rounded up by a fifth at most; and the longest.
    pub(crate) fn spread(&self) -> Spread {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        let count: u64 = counts.iter().sum();
        let max_us = self.max_micros.load(Ordering::Relaxed) as f64;
        let quantile = |part: f64| {
            let wanted = (count as f64 * part).ceil() as u64;
            let mut seen = 0;
            let reached = counts.iter().position(|of_bucket| {
                seen += of_bucket;
                seen >= wanted
            });
            reached.map_or(0.0, |bucket| upper_bound(bucket).min(max_us))
        };
        let rounded = |micros: f64| (micros * 10.0).round() / 10.0;
        if count == 0 {
            return Spread::default();
        }
        Spread {
            count,
            p50_us: rounded(quantile(0.5)),
            p99_us: rounded(quantile(0.99)),
            max_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_fifth() {
        let lateness = Lateness::default();
        assert_eq!(lateness.spread(), Spread::default());
        for micros in 1..=1_000 {
            lateness.note(Duration::from_micros(micros));
        }
        let spread = lateness.spread();
        assert_eq!((spread.count, spread.max_us), (1_000, 1_000.0));
        assert!((500.0..=600.0).contains(&spread.p50_us), "{spread:?}");
        assert!((990.0..=1_000.0).contains(&spread.p99_us), "{spread:?}");
        lateness.note(Duration::from_secs(3600));
        assert_eq!(lateness.spread().max_us, 3.6e9);
    }
}
