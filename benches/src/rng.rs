//! A small seeded generator, so that a plan can be drawn again from its seed on any machine.
//!
//! Owns: the sequence and the few distributions that plans need. Not cryptographic.

use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): equal seeds give equal sequences.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Starts the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Starts the sequence that belongs to the `index`-th child of `seed`.
    pub fn child(seed: u64, index: u64) -> Self {
        let mut parent = Self::new(seed ^ index.wrapping_mul(0xA24B_AED4_963E_E407));
        Self::new(parent.next())
    }

    /// Draws 64 uniform bits.
    #[expect(
        clippy::should_implement_trait,
        reason = "an endless sequence is not an Iterator worth naming"
    )]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number from `range`, both ends included.
    ///
    /// # Panics
    ///
    /// When the range is empty or covers all of `u64`.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let width = range
            .end()
            .checked_sub(*range.start())
            .and_then(|width| width.checked_add(1))
            .expect("a range with at least one and fewer than 2^64 numbers");
        // The bias of the remainder is below 2^-40 for the widths that plans use.
        range.start() + self.next() % width
    }

    /// Draws a duration from `range` in whole microseconds, both ends included.
    ///
    /// # Panics
    ///
    /// When the range is empty.
    pub fn duration(&mut self, range: RangeInclusive<Duration>) -> Duration {
        Duration::from_micros(self.within(micros(*range.start())..=micros(*range.end())))
    }

    /// Draws an exponentially distributed duration with the given mean, cut at ten times the mean.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        mean.mul_f64((-(1.0 - uniform).ln()).min(10.0))
    }

    /// Draws true in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.within(0..=99) < percent
    }

    /// Picks one of `items`.
    ///
    /// # Panics
    ///
    /// When `items` is empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let last = items.len().checked_sub(1).expect("something to pick from");
        &items[self.within(0..=last as u64) as usize]
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equal_sequences_and_children_differ() {
        let draw = |mut rng: Rng| (0..8).map(|_| rng.next()).collect::<Vec<_>>();
        assert_eq!(draw(Rng::new(7)), draw(Rng::new(7)));
        assert_ne!(draw(Rng::new(7)), draw(Rng::new(8)));
        assert_eq!(draw(Rng::child(7, 3)), draw(Rng::child(7, 3)));
        assert_ne!(draw(Rng::child(7, 3)), draw(Rng::child(7, 4)));
    }

    #[test]
    fn draws_stay_inside_their_ranges() {
        let mut rng = Rng::new(1);
        let mean = Duration::from_millis(5);
        let mut sum = Duration::ZERO;
        for _ in 0..10_000 {
            assert!((3..=5).contains(&rng.within(3..=5)));
            let think = rng.exponential(mean);
            assert!(think <= mean * 10);
            sum += think;
        }
        let average = sum / 10_000;
        assert!(
            average > mean * 9 / 10 && average < mean * 11 / 10,
            "{average:?}"
        );
    }
}
