//! The sliding window: successes, failures and slow calls in buckets of time, counted without a lock.
//!
//! Owns counting and ageing. What the counts mean is the machine's matter.
//!
//! A bucket is three words; each is the time at which the bucket begins (40 bits of milliseconds) and a count (24 bits). Buckets are laid out from
//! the beginning of the circuit's stay in `Closed`, so that one of an earlier stay begins before it and is never summed up. Whoever counts first in a
//! bucket replaces the old word by a new one; what the old word held goes into the totals. Time and count change together or not at all, so a thread
//! that was held up adds nothing to a bucket that is of another time by now.

use crate::circuit::LAST;
use crate::rules::{Counts, Rules};
use crate::sync::{AtomicU64, Ordering, fence};

const COUNT_BITS: u32 = 24;
/// Where a bucket is full: 16,777,215, with the longest buckets 1.6 million a second.
const FULL: u64 = (1 << COUNT_BITS) - 1;

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
            let time = word >> COUNT_BITS;
            if time > begin || time == begin && word & FULL == FULL {
                return Added::Out;
            }
            let (next, replaced) = if time == begin {
                (word + 1, 0)
            } else {
                (begin << COUNT_BITS | 1, word & FULL)
            };
            // Not a plain addition, which would land in whatever the word is of by then.
            match self
                .0
                .compare_exchange_weak(word, next, order, Ordering::Relaxed)
            {
                Ok(_) => return Added::In { replaced },
                Err(now) => word = now,
            }
        }
    }

    /// What it holds of times from `begin` on.
    fn since(&self, begin: u64, order: Ordering) -> u64 {
        let word = self.0.load(order);
        if word >> COUNT_BITS >= begin {
            word & FULL
        } else {
            0
        }
    }

    /// Takes back what it holds of that time.
    fn clear(&self, begin: u64) {
        let word = self.0.load(Ordering::Relaxed);
        if word >> COUNT_BITS == begin && word & FULL > 0 {
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
    successes: Tally,
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
    successes: AtomicU64,
    failures: AtomicU64,
    slow: AtomicU64,
}

/// What a call that was answered was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

/// What was ever counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ever {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

impl Window {
    pub(crate) fn new(rules: &Rules) -> Self {
        let bucket = || Bucket {
            successes: Tally::new(),
            failures: Tally::new(),
            slow: Tally::new(),
        };
        Self {
            buckets: (0..rules.buckets).map(|_| bucket()).collect(),
            in_a_row: Tally::new(),
            past: Past {
                successes: AtomicU64::new(0),
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
        if seen.failed {
            into(&bucket.failures, begin, &self.past.failures);
            if rules.in_a_row.is_some() {
                // Relaxed: whoever adds the last one reads its own word.
                let _ = self.in_a_row.add(at, Ordering::Relaxed);
            }
        } else {
            // Relaxed: a success needs to be seen by nobody in particular.
            match bucket.successes.add(begin, Ordering::Relaxed) {
                Added::In { replaced } => leave(&self.past.successes, replaced),
                Added::Out => leave(&self.past.successes, 1),
            }
            if rules.in_a_row.is_some() {
                self.in_a_row.clear(at);
            }
        }
        if seen.slow {
            // After the call itself, so that it is not seen without it.
            into(&bucket.slow, begin, &self.past.slow);
        }
    }

    /// Counts a call that is no matter for the window: a probe, a stale one, one that an operator let in.
    pub(crate) fn pass(&self, seen: Seen) {
        leave(&self.past.successes, u64::from(!seen.failed));
        leave(&self.past.failures, u64::from(seen.failed));
        leave(&self.past.slow, u64::from(seen.slow));
    }

    /// What the window holds now, of the stay that began at `at`, for whoever has just counted a bad call there: of several at the same time one sees
    /// all of them.
    pub(crate) fn counts_after(&self, at: u64, now: u64, rules: &Rules) -> Counts {
        // SeqCst: pairs with itself. Two bad calls may have gone into two buckets, two words; whoever passes here last finds what was counted by
        // all that passed before. Without it either might miss the other, and nobody would judge the two.
        fence(Ordering::SeqCst);
        self.counts(at, now, rules)
    }

    /// What the window holds now, of the stay that began at `at`.
    pub(crate) fn counts(&self, at: u64, now: u64, rules: &Rules) -> Counts {
        let nth = now.saturating_sub(at) / rules.bucket;
        let oldest = nth.saturating_sub(self.buckets.len() as u64 - 1);
        let from = at + oldest * rules.bucket;
        // Acquire: pairs with the additions in `count`. Slow ones first, so that none is seen without its call.
        let order = Ordering::Acquire;
        let sum = |of: fn(&Bucket) -> &Tally| -> u64 {
            self.buckets
                .iter()
                .map(|one| of(one).since(from, order))
                .sum()
        };
        let (slow, failures) = (sum(|one| &one.slow), sum(|one| &one.failures));
        Counts {
            // More than that only where a bucket is full of successes.
            calls: (failures + sum(|one| &one.successes)).max(slow),
            failures,
            slow,
            in_a_row: self.in_a_row.since(at, order),
        }
    }

    /// Everything that was ever counted. While a bucket is replaced it may be seen short for a moment, and never twice: what has left is read first.
    pub(crate) fn ever(&self) -> Ever {
        let sum = |past: &AtomicU64, of: fn(&Bucket) -> &Tally| -> u64 {
            // Acquire: the buckets are not read before it. What leaves one after that is missed here and there.
            let left = past.load(Ordering::Acquire);
            let order = Ordering::Relaxed;
            let present: u64 = self.buckets.iter().map(|one| of(one).since(0, order)).sum();
            left + present
        };
        Ever {
            successes: sum(&self.past.successes, |one| &one.successes),
            failures: sum(&self.past.failures, |one| &one.failures),
            slow: sum(&self.past.slow, |one| &one.slow),
        }
    }
}

/// Counts a call that was bad.
fn into(tally: &Tally, begin: u64, past: &AtomicU64) {
    // AcqRel: pairs with the loads in `counts`, so that a slow call is not seen without its success.
    match tally.add(begin, Ordering::AcqRel) {
        Added::In { replaced } => leave(past, replaced),
        Added::Out => leave(past, 1),
    }
}

/// Adds to what has left the window.
#[inline]
fn leave(past: &AtomicU64, count: u64) {
    if count > 0 {
        // Release: pairs with the load in `ever`, so that what it finds here is not found in its bucket too.
        past.fetch_add(count, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::circuit::Turn;
    use crate::settings::Settings;

    const GOOD: Seen = Seen {
        failed: false,
        slow: false,
    };
    const BAD: Seen = Seen {
        failed: true,
        ..GOOD
    };

    #[test]
    fn a_full_bucket_blinds_nobody() {
        let settings = Settings::new().buckets(1).failure_rate(0.000_001);
        let rules = settings.failures_in_a_row(3).rules().expect("they fit");
        let window = Window::new(&rules);
        window.buckets[0].successes.0.store(FULL, Ordering::Relaxed);
        window.count(0, 0, GOOD, &rules);
        assert_eq!(window.counts(0, 0, &rules).calls, FULL);
        assert_eq!(window.ever().successes, FULL + 1);
        for _ in 0..3 {
            window.count(0, 0, BAD, &rules);
        }
        let counts = window.counts_after(0, 0, &rules);
        assert_eq!((counts.failures, counts.in_a_row), (3, 3));
        assert_eq!(rules.verdict(counts), Some(Turn::InARow(3)));
    }

    #[test]
    fn one_that_comes_late_into_a_full_bucket_or_a_later_one_leaves_it_as_it_is() {
        let tally = Tally::new();
        tally.0.store(7 << COUNT_BITS | FULL, Ordering::Relaxed);
        assert_eq!(tally.add(7, Ordering::Relaxed), Added::Out);
        assert_eq!(tally.add(6, Ordering::Relaxed), Added::Out);
        assert_eq!(tally.since(7, Ordering::Relaxed), FULL);
        let next = tally.add(8, Ordering::Relaxed);
        assert_eq!(next, Added::In { replaced: FULL });
        assert_eq!(tally.since(8, Ordering::Relaxed), 1);
    }
}
