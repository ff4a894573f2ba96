//! Settings as numbers: what the machine compares with.
//!
//! Owns the arithmetic of rates, windows and waits. `settings` checks and makes them.

use crate::circuit::Turn;

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Counts {
    /// Calls that were answered, well or not.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those of them that were slow, failed or not.
    pub slow: u64,
    /// The failures in a row that end with the last call; only counted where that can open the circuit.
    pub in_a_row: u64,
}

/// A share in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u32);

impl Rate {
    pub(crate) const WHOLE: u32 = 1_000_000;

    /// Whether so many of so many are that share, or more.
    const fn is_reached(self, part: u64, whole: u64) -> bool {
        // Counts have at most 30 bits.
        part > 0 && part * Self::WHOLE as u64 >= whole * self.0 as u64
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The length of a bucket in milliseconds, and how many there are.
    pub(crate) bucket: u64,
    pub(crate) buckets: usize,
    pub(crate) minimum: u64,
    pub(crate) failure_rate: Rate,
    /// From how many milliseconds on a call is slow, and the share of them that opens.
    pub(crate) slow: Option<(u64, Rate)>,
    pub(crate) in_a_row: Option<u64>,
    pub(crate) open_for: u64,
    /// By how much that grows with each round of probes that fails, and to what.
    pub(crate) growth: u32,
    pub(crate) open_most: u64,
    /// How much of it chance may add, in millionths.
    pub(crate) jitter: Rate,
    pub(crate) probes: u8,
    pub(crate) probes_to_close: u8,
    pub(crate) probe_within: u64,
}

impl Rules {
    /// Whether these counts open a circuit.
    pub(crate) fn verdict(&self, counts: Counts) -> Option<Turn> {
        if self
            .in_a_row
            .is_some_and(|enough| counts.in_a_row >= enough)
        {
            return Some(Turn::InARow(counts.in_a_row));
        }
        if counts.calls < self.minimum {
            return None;
        }
        if self.failure_rate.is_reached(counts.failures, counts.calls) {
            return Some(Turn::FailureRate(counts));
        }
        let (_, rate) = self.slow?;
        rate.is_reached(counts.slow, counts.calls)
            .then_some(Turn::SlowRate(counts))
    }

    /// Whether a call that took so long was slow.
    #[inline]
    pub(crate) fn is_slow(&self, took: u64) -> bool {
        self.slow.is_some_and(|(from, _)| took >= from)
    }

    /// For how long a circuit stays open after so many rounds that failed.
    pub(crate) fn open_after(&self, streak: u8, roll: u32) -> u64 {
        let factor = u64::from(self.growth).saturating_pow(u32::from(streak));
        let plain = self.open_for.saturating_mul(factor).min(self.open_most);
        // Only added: whoever asked for a pause gets at least that.
        let most = u128::from(plain) * u128::from(self.jitter.0) / u128::from(Rate::WHOLE);
        let added = most * u128::from(roll) / u128::from(u32::MAX);
        plain.saturating_add(u64::try_from(added).unwrap_or(u64::MAX))
    }
}
