//! The sliding window: calls, failures and slow calls in buckets of time, counted without a lock.
//!
//! Owns counting and ageing. What the counts mean is the machine's matter.
//!
//! A bucket is three words; each is the time at which the bucket begins (40 bits of milliseconds) and a count (24 bits). Buckets are laid out from
//! the beginning of the circuit's stay in `Closed`, so that one of an earlier stay begins before it and is never summed up. Whoever counts first in a
//! bucket replaces the old word by a new one; what the old word held goes into the totals.

use crate::circuit::LAST;
use crate::rules::{Counts, Rules};
use crate::sync::{AtomicU64, Ordering};

const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// Where a bucket is full. So many threads may stand between reading a count and adding to it.
const FULL: u64 = COUNT - 4_096;

/// A count that belongs to a time.
#[derive(Debug)]
struct Tally(AtomicU64);

/// What became of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Added {
    /// It is in, and the word before held so many of another time.
    In { replaced: u64 },
    /// The bucket is of a later time, or full.
    Out,
}

impl Tally {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more at the time that begins at `begin`.
    #[inline]
    fn add(&self, begin: u64, order: Ordering) -> Added {
        // Relaxed: what is added is decided by the word alone, which names its time.
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word >> COUNT_BITS == begin {
                if word & COUNT >= FULL {
                    return Added::Out;
                }
                let before = self.0.fetch_add(1, order);
                if before >> COUNT_BITS == begin {
                    return Added::In { replaced: 0 };
                }
                // Somebody has begun a later time between the two.
                self.0.fetch_sub(1, order);
                return Added::Out;
            }
            if word >> COUNT_BITS > begin {
                return Added::Out;
            }
            let first = begin << COUNT_BITS | 1;
            match self
                .0
                .compare_exchange_weak(word, first, order, Ordering::Relaxed)
            {
                Ok(_) => {
                    return Added::In {
                        replaced: word & COUNT,
                    };
                }
                Err(now) => word = now,
            }
        }
    }

    /// What it holds of times from `begin` on.
    fn since(&self, begin: u64, order: Ordering) -> u64 {
        let word = self.0.load(order);
        if word >> COUNT_BITS >= begin {
            word & COUNT
        } else {
            0
        }
    }

    /// Takes back what it holds of that time.
    fn clear(&self, begin: u64) {
        let word = self.0.load(Ordering::Relaxed);
        if word >> COUNT_BITS == begin && word & COUNT > 0 {
            // AcqRel: in the order of the failures, which are read after they are added to. If it fails another one is just being counted, and that
            // may as well have come after the success.
            let _ = self.0.compare_exchange(
                word,
                begin << COUNT_BITS,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }
}

#[derive(Debug)]
struct Bucket {
    calls: Tally,
    failures: Tally,
    slow: Tally,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    buckets: Box<[Bucket]>,
    in_a_row: Tally,
    /// What left the window.
    past: Past,
}

#[derive(Debug)]
struct Past {
    calls: AtomicU64,
    failures: AtomicU64,
    slow: AtomicU64,
}

/// What a call that was answered was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

impl Window {
    pub(crate) fn new(rules: &Rules) -> Self {
        let bucket = || Bucket {
            calls: Tally::new(),
            failures: Tally::new(),
            slow: Tally::new(),
        };
        Self {
            buckets: (0..rules.buckets).map(|_| bucket()).collect(),
            in_a_row: Tally::new(),
            past: Past {
                calls: AtomicU64::new(0),
                failures: AtomicU64::new(0),
                slow: AtomicU64::new(0),
            },
        }
    }

    /// Counts a call of the stay that began at `at`.
    #[inline]
    pub(crate) fn count(&self, at: u64, now: u64, seen: Seen, rules: &Rules) {
        let nth = now.saturating_sub(at) / rules.bucket;
        let begin = (at + nth * rules.bucket).min(LAST);
        // The remainder is less than the number of buckets, which is a `usize`.
        #[expect(clippy::cast_possible_truncation, reason = "less than a usize")]
        let bucket = &self.buckets[(nth % self.buckets.len() as u64) as usize];
        // Relaxed: what follows publishes it. A success needs to be seen by nobody in particular.
        match bucket.calls.add(begin, Ordering::Relaxed) {
            Added::In { replaced: 0 } => {}
            Added::In { replaced } => leave(&self.past.calls, replaced),
            // Where a call is not counted its failure is not either: a rate stays a rate.
            Added::Out => return self.pass(seen),
        }
        if seen.slow {
            into(&bucket.slow, begin, &self.past.slow);
        }
        if seen.failed {
            into(&bucket.failures, begin, &self.past.failures);
            if rules.in_a_row.is_some() {
                // Relaxed: whoever adds the last one reads its own word.
                let _ = self.in_a_row.add(at, Ordering::Relaxed);
            }
        } else if rules.in_a_row.is_some() {
            self.in_a_row.clear(at);
        }
    }

    /// Counts a call that is no matter for the window: a probe, a stale one, one that an operator let in.
    pub(crate) fn pass(&self, seen: Seen) {
        leave(&self.past.calls, 1);
        leave(&self.past.failures, u64::from(seen.failed));
        leave(&self.past.slow, u64::from(seen.slow));
    }

    /// What the window holds now, of the stay that began at `at`.
    pub(crate) fn counts(&self, at: u64, now: u64, rules: &Rules) -> Counts {
        let nth = now.saturating_sub(at) / rules.bucket;
        let oldest = nth.saturating_sub(self.buckets.len() as u64 - 1);
        let from = at + oldest * rules.bucket;
        // Acquire: pairs with the additions in `count`. Failures first, so that no failure is seen without its call.
        let order = Ordering::Acquire;
        let sum = |of: fn(&Bucket) -> &Tally| -> u64 {
            self.buckets
                .iter()
                .map(|one| of(one).since(from, order))
                .sum()
        };
        let (failures, slow) = (sum(|one| &one.failures), sum(|one| &one.slow));
        Counts {
            failures,
            slow,
            calls: sum(|one| &one.calls),
            in_a_row: self.in_a_row.since(at, order),
        }
    }

    /// Everything that was ever counted. While a bucket is replaced it may be seen short for a moment, and never twice: what has left is read first.
    pub(crate) fn ever(&self) -> Counts {
        let sum = |past: &AtomicU64, of: fn(&Bucket) -> &Tally| -> u64 {
            // Acquire: the buckets are not read before it. What leaves one after that is missed here and there.
            let left = past.load(Ordering::Acquire);
            let order = Ordering::Relaxed;
            let present: u64 = self.buckets.iter().map(|one| of(one).since(0, order)).sum();
            left + present
        };
        Counts {
            calls: sum(&self.past.calls, |one| &one.calls),
            failures: sum(&self.past.failures, |one| &one.failures),
            slow: sum(&self.past.slow, |one| &one.slow),
            in_a_row: 0,
        }
    }
}

/// Counts a call that was bad, after the call itself.
fn into(tally: &Tally, begin: u64, past: &AtomicU64) {
    // AcqRel: pairs with itself, and with the loads in `counts`. Whoever adds the last of several acquires, through the word's own order, what was
    // counted before each of the others, and so sums up no less than they did.
    match tally.add(begin, Ordering::AcqRel) {
        Added::In { replaced } => leave(past, replaced),
        Added::Out => leave(past, 1),
    }
}

/// Adds to what has left the window.
fn leave(past: &AtomicU64, count: u64) {
    if count > 0 {
        // Release: pairs with the load in `ever`, so that what it finds here is not found in its bucket too.
        past.fetch_add(count, Ordering::Release);
    }
}
