//! Owns when this machine held our own threads up: from when to when, in bounded space, and how much of a span that was.
//! Not: what follows from it for verdicts (see `scenario::attention`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shorter ones cost nobody a verdict.
const SHORTEST: Duration = Duration::from_millis(10);
/// The oldest are forgotten first. Even without a break so many cover forty seconds, and each scenario asks about its
/// own last seconds only.
const MAX_KEPT: usize = 4_096;

type Span = (Instant, Instant);

/// Times at which a thread of ours should have run and did not.
#[derive(Debug, Default)]
pub(crate) struct HoldUps {
    spans: Mutex<VecDeque<Span>>,
}

/// How much of a span we were held up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HeldUp {
    /// At a stretch.
    pub(crate) longest: Duration,
    /// All in all.
    pub(crate) total: Duration,
    /// Of so long a time.
    pub(crate) of: Duration,
}

impl HoldUps {
    /// A thread should have run at `due`, and runs at `now`.
    pub(crate) fn note(&self, due: Instant, now: Instant) {
        if now.saturating_duration_since(due) < SHORTEST {
            return;
        }
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() == MAX_KEPT {
            spans.pop_front();
        }
        spans.push_back((due, now));
    }

    /// What fell between `from` and `to`. Threads that were held up at the same time count once.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> HeldUp {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let clipped = spans.iter().map(|&(due, now)| (due.max(from), now.min(to)));
        let mut within: Vec<Span> = clipped.filter(|(due, now)| due < now).collect();
        drop(spans);
        within.sort_unstable();
        let mut held_up = HeldUp {
            of: to.saturating_duration_since(from),
            ..HeldUp::default()
        };
        let mut current: Option<Span> = None;
        for (due, now) in within {
            current = Some(match current {
                Some((begun, until)) if due <= until => (begun, until.max(now)),
                other => {
                    held_up.take(other);
                    (due, now)
                }
            });
        }
        held_up.take(current);
        held_up
    }
}

impl HeldUp {
    fn take(&mut self, span: Option<Span>) {
        if let Some((begun, until)) = span {
            let time = until - begun;
            self.longest = self.longest.max(time);
            self.total += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_ups_are_clipped_to_the_span_and_counted_once() {
        let (log, start) = (HoldUps::default(), Instant::now());
        let ms = Duration::from_millis;
        let at = |after| start + ms(after);
        log.note(at(0), at(9));
        log.note(at(100), at(140));
        log.note(at(120), at(160));
        log.note(at(300), at(330));
        let all = log.between(at(0), at(1_000));
        assert_eq!(
            (all.longest, all.total, all.of),
            (ms(60), ms(90), ms(1_000))
        );
        let part = log.between(at(150), at(310));
        assert_eq!((part.longest, part.total), (ms(10), ms(20)));
        assert_eq!(log.between(at(400), at(500)).total, Duration::ZERO);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (log, start) = (HoldUps::default(), Instant::now());
        let at = |ms: usize| start + Duration::from_millis(ms as u64);
        for index in 0..=MAX_KEPT {
            log.note(at(index * 30), at(index * 30 + 20));
        }
        assert_eq!(log.between(at(0), at(30)).total, Duration::ZERO);
        assert!(log.between(at(30), at(60)).total > Duration::ZERO);
    }
}
