//! The mean gap between requests over the last minute, from a few samples of the total.

use core::time::Duration;
use std::collections::VecDeque;

use crate::machine::Traffic;

/// How far back "lately" goes.
const SPAN: Duration = Duration::from_secs(60);
/// How often the total is sampled while running: seven samples cover the span.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Samples of the total, oldest first; at most eight.
#[derive(Debug, Default)]
pub(super) struct Samples {
    samples: VecDeque<(Duration, u64)>,
}

impl Samples {
    pub(super) fn take(&mut self, now: Duration, total: u64) {
        self.samples.push_back((now, total));
        // The oldest kept is the youngest that is at least a span old.
        while self.samples.len() > 2 && self.samples[1].0 + SPAN <= now {
            self.samples.pop_front();
        }
    }

    /// The gap needs two requests: one has no distance from another.
    pub(super) fn traffic(&self, now: Duration, total: u64) -> Traffic {
        let (since, before) = self.samples.front().copied().unwrap_or_default();
        let lately = total.saturating_sub(before);
        let span = now.saturating_sub(since);
        let mean_gap = match u32::try_from(lately) {
            Ok(count @ 2..) => Some(span / count),
            Ok(_) => None,
            Err(_) => Some(Duration::ZERO),
        };
        Traffic {
            requests: total,
            mean_gap,
        }
    }

    pub(super) fn next_at(&self) -> Duration {
        self.samples
            .back()
            .map_or(Duration::ZERO, |last| last.0 + EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_gap_is_that_of_the_last_minute() {
        let mut samples = Samples::default();
        for tick in 0..=30 {
            // One request a second for 100 s, ten a second from then on.
            let now = secs(tick * 10);
            let total = if tick <= 10 {
                tick * 10
            } else {
                100 + (tick - 10) * 100
            };
            samples.take(now, total);
        }
        assert!(samples.samples.len() <= 8, "{samples:?}");
        assert_eq!(
            samples.traffic(secs(300), 2_100).mean_gap,
            Some(Duration::from_millis(100))
        );
    }

    #[test]
    fn one_request_has_no_gap() {
        let mut samples = Samples::default();
        samples.take(Duration::ZERO, 0);
        assert_eq!(
            samples.traffic(secs(5), 1),
            Traffic {
                requests: 1,
                mean_gap: None
            }
        );
    }
}
