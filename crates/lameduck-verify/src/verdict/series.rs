//! Owns the requests around T as raw data: a bounded sample, counts for each 100 ms, and what each stop lost.
//! Not: deciding anything from it, or drawing it (see `render`).

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::observe::outcome::{Exchange, Outcome};

/// Requests kept one by one, of one check.
pub const MAX_SAMPLES: usize = 600;
/// Of these, at most so many lost ones; the rest is spread evenly over all others.
const MAX_LOST: usize = 300;
/// Stops kept one by one.
const MAX_STOPS: usize = 1_000;
/// Width of a bucket, in milliseconds.
const BUCKET_MS: u32 = 100;
/// The first bucket begins here.
const FROM_MS: i32 = -500;
/// Buckets at most; what began outside of them is counted in [`Series::outside`].
const MAX_BUCKETS: usize = 60;

/// One request of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When its client began it, relative to T.
    pub at_ms: f64,
    /// From then to its end, good or bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// In what it ended.
    pub outcome: Outcome,
    /// Lost as the contract says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// The requests that began within one span.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Where the span begins, relative to T.
    pub from_ms: i32,
    /// Requests that were written.
    pub sent: u64,
    /// Answered whole.
    pub served: u64,
    /// Refused in a way that is safe to repeat elsewhere, refused connects among them.
    pub refused: u64,
    /// Lost as the contract says.
    pub lost: u64,
    /// Anything else: errors, and what was never written.
    pub other: u64,
}

/// What one stop under load cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopLoss {
    /// Requests that the signal could have harmed.
    pub at_stake: u64,
    /// Of these: lost.
    pub lost: u64,
}

/// The requests of one load check around T, all its stops laid over each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Width of a bucket.
    pub bucket_ms: u32,
    /// In order, from 500 ms before T; only up to the last one that saw a request.
    pub buckets: Vec<Bucket>,
    /// Requests that began before the first or after the last bucket that is kept.
    pub outside: u64,
    /// At most [`MAX_SAMPLES`]: lost ones first, the others at an even stride.
    pub samples: Vec<Sample>,
    /// Requests within the buckets that are not among the samples.
    pub left_out: u64,
    /// What each stop lost, in no particular order; at most 1000.
    pub stops: Vec<StopLoss>,
    /// Every so many of the requests that were not lost is kept.
    #[serde(skip)]
    stride: u64,
    #[serde(skip)]
    passed: u64,
}

impl Series {
    pub(crate) fn add(&mut self, exchange: &Exchange, t: Instant) {
        let Some(outcome) = exchange.outcome else {
            return;
        };
        let lost = exchange.is_lost();
        let at_ms = relative_ms(exchange.begun_at, t);
        let latency = exchange
            .ended_at
            .map(|ended| relative_ms(ended, exchange.begun_at));
        let Some(bucket) = self.bucket(at_ms) else {
            self.outside += 1;
            return;
        };
        bucket.sent += u64::from(exchange.written_at.is_some());
        *match outcome {
            _ if lost => &mut bucket.lost,
            outcome if outcome.is_served() => &mut bucket.served,
            outcome if is_refusal(outcome) => &mut bucket.refused,
            _ => &mut bucket.other,
        } += 1;
        self.keep(Sample {
            at_ms,
            latency_ms: latency,
            outcome,
            lost,
        });
    }

    /// A connect that was refused: no request was written.
    pub(crate) fn add_refusal(&mut self, from: Instant, at: Instant, t: Instant) {
        let at_ms = relative_ms(from, t);
        let Some(bucket) = self.bucket(at_ms) else {
            self.outside += 1;
            return;
        };
        bucket.refused += 1;
        self.keep(Sample {
            at_ms,
            latency_ms: Some(relative_ms(at, from)),
            outcome: Outcome::RefusedConnect,
            lost: false,
        });
    }

    pub(crate) fn add_stop(&mut self, stop: StopLoss) {
        if self.stops.len() < MAX_STOPS {
            self.stops.push(stop);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (index, theirs) in other.buckets.iter().enumerate() {
            self.reach(index);
            let mine = &mut self.buckets[index];
            mine.sent += theirs.sent;
            mine.served += theirs.served;
            mine.refused += theirs.refused;
            mine.lost += theirs.lost;
            mine.other += theirs.other;
        }
        self.outside += other.outside;
        self.left_out += other.left_out;
        for sample in &other.samples {
            self.keep(sample.clone());
        }
        for stop in &other.stops {
            self.add_stop(*stop);
        }
    }

    fn reach(&mut self, index: usize) {
        self.bucket_ms = BUCKET_MS;
        while self.buckets.len() <= index {
            let nth = i32::try_from(self.buckets.len()).unwrap_or(i32::MAX);
            self.buckets.push(Bucket {
                from_ms: FROM_MS + nth * BUCKET_MS.cast_signed(),
                ..Bucket::default()
            });
        }
    }

    fn bucket(&mut self, at_ms: f64) -> Option<&mut Bucket> {
        let place = (at_ms - f64::from(FROM_MS)) / f64::from(BUCKET_MS);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and MAX_BUCKETS"
        )]
        let index = (0.0..MAX_BUCKETS as f64)
            .contains(&place)
            .then_some(place as usize)?;
        self.reach(index);
        self.buckets.get_mut(index)
    }

    /// Keeps a sample, or counts it: lost ones while there is room for them, of the others every `stride`th. When
    /// those fill their part, every other one goes and the stride doubles: what stays is spread over all.
    fn keep(&mut self, sample: Sample) {
        if sample.lost {
            let lost = self.samples.iter().filter(|sample| sample.lost).count();
            if lost < MAX_LOST {
                self.samples.push(sample);
            } else {
                self.left_out += 1;
            }
            return;
        }
        let stride = self.stride.max(1);
        self.passed += 1;
        if !self.passed.is_multiple_of(stride) {
            self.left_out += 1;
            return;
        }
        self.samples.push(sample);
        let others = self.samples.iter().filter(|sample| !sample.lost).count();
        if others > MAX_SAMPLES - MAX_LOST {
            let before = self.samples.len();
            let mut nth = 0_u64;
            self.samples.retain(|sample| {
                nth += u64::from(!sample.lost);
                sample.lost || nth.is_multiple_of(2)
            });
            self.left_out += (before - self.samples.len()) as u64;
            self.stride = stride * 2;
        }
    }
}

fn is_refusal(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::RefusedConnect
            | Outcome::RefusedH2
            | Outcome::Refused503
            | Outcome::UnprocessedSafe
    )
}

/// Milliseconds from `t`, negative before it, to the microsecond.
pub(crate) fn relative_ms(at: Instant, t: Instant) -> f64 {
    let after = at.saturating_duration_since(t).as_secs_f64();
    let before = t.saturating_duration_since(at).as_secs_f64();
    ((after - before) * 1e6).round() / 1e3
}

/// Milliseconds, to the microsecond: so many digits survive being written and read.
pub(crate) fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: f64, lost: bool) -> Sample {
        Sample {
            at_ms,
            latency_ms: Some(1.0),
            outcome: if lost {
                Outcome::Reset
            } else {
                Outcome::Served
            },
            lost,
        }
    }

    #[test]
    fn samples_are_bounded_counted_and_spread() {
        let mut series = Series::default();
        for nth in 0..10_000_u32 {
            series.keep(sample(f64::from(nth), nth % 5 == 0));
        }
        assert!(series.samples.len() <= MAX_SAMPLES);
        assert_eq!(series.samples.len() as u64 + series.left_out, 10_000);
        let served = series.samples.iter().filter(|sample| !sample.lost);
        let late = served.filter(|sample| sample.at_ms > 5_000.0).count();
        assert!((40..=160).contains(&late), "{late}");
    }

    #[test]
    fn what_began_outside_is_counted_apart() {
        let mut series = Series::default();
        assert!(series.bucket(-500.1).is_none());
        assert!(series.bucket(5_500.0).is_none());
        series.bucket(-500.0).unwrap().sent += 1;
        series.bucket(99.9).unwrap().sent += 1;
        assert_eq!(series.buckets.len(), 6);
        assert_eq!(series.buckets[5].from_ms, 0);
        let mut other = Series::default();
        other.bucket(450.0).unwrap().lost += 1;
        series.merge(&other);
        assert_eq!((series.buckets.len(), series.buckets[9].lost), (10, 1));
    }
}
