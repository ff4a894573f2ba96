//! What a round's clients saw, counted.
//!
//! Owns: the counters, the record of each lost request (bounded, with a count of what did not fit), and whether a
//! loss lies inside what the client was promised. Not here: how a request's end is classified (`outcome`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::outcome::Outcome;
use crate::script::Promise;

/// Most losses that are kept in detail.
pub const MOST_LOSSES: usize = 256;

/// Whether a request was the first of its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Age {
    /// The first request of its connection.
    Fresh,
    /// A later one.
    Reused,
}

/// One request that ended, as its client tells it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The kind of request.
    pub label: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the connection was fresh.
    pub age: Age,
    /// What was asked for before it on the connection.
    pub before: &'static str,
    /// What the client was promised.
    pub promise: Promise,
    /// Longest that the connection can have been idle before the first byte.
    pub idle: Duration,
    /// When the first byte was written.
    pub written_at: Instant,
    /// When it ended.
    pub ended_at: Instant,
    /// Bytes of an answer that arrived.
    pub received: u64,
    /// The client's port.
    pub port: u16,
}

/// A lost request, in milliseconds relative to the signal.
#[derive(Clone, Debug, Serialize)]
pub struct Loss {
    /// The kind of request.
    pub label: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the connection was fresh.
    pub age: Age,
    /// What was asked for before it on the connection.
    pub before: &'static str,
    /// First byte written, ms after the signal (negative: before).
    pub written_ms: f64,
    /// End seen, ms after the signal.
    pub ended_ms: f64,
    /// Longest idle before the first byte, ms.
    pub idle_ms: f64,
    /// Bytes of an answer that arrived.
    pub received: u64,
    /// The client's port.
    pub port: u16,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let age = match self.age {
            Age::Fresh => "fresh connection",
            Age::Reused => "reused connection",
        };
        write!(
            f,
            "{} on a {age} (before it: {}), idle {:.2} ms, written T{:+.2} ms, ended T{:+.2} ms: {}, {} bytes of an answer, client port {}",
            self.label,
            self.before,
            self.idle_ms,
            self.written_ms,
            self.ended_ms,
            self.outcome,
            self.received,
            self.port
        )
    }
}

/// Counts for one kind of request.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct KindCount {
    /// Requests whose first byte was written.
    pub sent: u64,
    /// Lost ones among them, inside the promise.
    pub lost: u64,
}

/// Everything that the clients of one round counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests whose first byte was written.
    pub sent: u64,
    /// Answered as asked.
    pub served: u64,
    /// Answered as asked after the signal.
    pub served_after_signal: u64,
    /// Answers that volunteered `Connection: close`.
    pub told_close: u64,
    /// Retry-safe refusals.
    pub refused_503: u64,
    /// Connections seen closed before a write: harmless.
    pub seen_closed: u64,
    /// New connections that the kernel accepted and that ended before their first byte, inside the promise.
    pub dropped_fresh: u64,
    /// Connections opened.
    pub connected: u64,
    /// Connects refused.
    pub refused: u64,
    /// Connects refused before the signal.
    pub refused_before_signal: u64,
    /// Connections accepted although begun after a refused one.
    pub accepted_after_refused: u64,
    /// Connects that neither succeeded nor failed within the client's patience.
    pub connects_hung: u64,
    /// Connects that failed for want of a local port or descriptor.
    pub local_failures: u64,
    /// Lost first requests of a connection.
    pub lost_fresh: u64,
    /// Lost later requests.
    pub lost_reused: u64,
    /// Lost beyond the promised idle time: a figure, not a failure.
    pub beyond_promise: u64,
    /// Counts by kind of request.
    pub kinds: BTreeMap<&'static str, KindCount>,
    /// Earliest observation of a refused connect.
    pub first_refused_at: Option<Instant>,
    /// The last answer.
    pub last_answer_at: Option<Instant>,
    losses: Vec<Ended>,
    losses_dropped: u64,
}

impl Tally {
    /// Lost requests inside the promise.
    pub fn lost(&self) -> u64 {
        self.lost_fresh + self.lost_reused
    }

    /// Losses that were counted but not kept in detail.
    pub fn losses_dropped(&self) -> u64 {
        self.losses_dropped
    }

    /// Counts a connect that succeeded.
    pub fn connect(&mut self, began_at: Instant) {
        self.connected += 1;
        if self
            .first_refused_at
            .is_some_and(|refused_at| refused_at < began_at)
        {
            self.accepted_after_refused += 1;
        }
    }

    /// Counts a refused connect.
    pub fn refuse(&mut self, now: Instant, signalled_at: Option<Instant>) {
        self.refused += 1;
        self.first_refused_at.get_or_insert(now);
        if signalled_at.is_none() {
            self.refused_before_signal += 1;
        }
    }

    /// Counts a connection that was seen closed before a write.
    pub fn see_closed(&mut self, age: Age, idle: Duration, promise: Promise) {
        self.seen_closed += 1;
        let promised = match promise {
            Promise::Always => true,
            Promise::Within { hold, .. } => idle <= hold,
        };
        if age == Age::Fresh && promised {
            self.dropped_fresh += 1;
        }
    }

    /// Counts a request that ended.
    pub fn end(&mut self, ended: Ended, signalled_at: Option<Instant>) {
        if ended.outcome == Outcome::ClosedBeforeWrite {
            return self.see_closed(ended.age, ended.idle, ended.promise);
        }
        self.sent += 1;
        let kind = self.kinds.entry(ended.label).or_default();
        kind.sent += 1;
        if ended.outcome.is_lost() {
            if !is_promised(&ended) {
                self.beyond_promise += 1;
                return;
            }
            kind.lost += 1;
            match ended.age {
                Age::Fresh => self.lost_fresh += 1,
                Age::Reused => self.lost_reused += 1,
            }
            if self.losses.len() < MOST_LOSSES {
                self.losses.push(ended);
            } else {
                self.losses_dropped += 1;
            }
        } else if ended.outcome == Outcome::Refused503 {
            self.refused_503 += 1;
        } else {
            self.served += 1;
            self.last_answer_at = Some(ended.ended_at);
            if signalled_at.is_some() {
                self.served_after_signal += 1;
            }
        }
    }

    /// The losses kept in detail, on the signal's clock.
    pub fn losses(&self, signalled_at: Instant) -> Vec<Loss> {
        self.losses
            .iter()
            .map(|ended| Loss {
                label: ended.label,
                outcome: ended.outcome,
                age: ended.age,
                before: ended.before,
                written_ms: millis_after(signalled_at, ended.written_at),
                ended_ms: millis_after(signalled_at, ended.ended_at),
                idle_ms: ended.idle.as_secs_f64() * 1e3,
                received: ended.received,
                port: ended.port,
            })
            .collect()
    }
}

/// Whether a loss lies inside the promise; only a write that can have crossed the FIN is ever excused.
fn is_promised(ended: &Ended) -> bool {
    match (ended.promise, ended.age) {
        (Promise::Always, _) => true,
        (Promise::Within { idle, .. }, Age::Reused) => {
            ended.idle <= idle || !ended.outcome.may_have_crossed()
        }
        (Promise::Within { hold, .. }, Age::Fresh) => {
            ended.idle <= hold || !ended.outcome.may_have_crossed()
        }
    }
}

/// Signed milliseconds from `origin` to `instant`.
pub fn millis_after(origin: Instant, instant: Instant) -> f64 {
    match instant.checked_duration_since(origin) {
        Some(after) => after.as_secs_f64() * 1e3,
        None => -(origin - instant).as_secs_f64() * 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: Outcome, age: Age, idle: u64) -> Ended {
        let now = Instant::now();
        Ended {
            label: "get",
            outcome,
            age,
            before: "get",
            promise: Promise::Within {
                idle: Duration::from_millis(80),
                hold: Duration::from_millis(200),
            },
            idle: Duration::from_millis(idle),
            written_at: now,
            ended_at: now,
            received: 0,
            port: 1,
        }
    }

    #[test]
    fn a_loss_counts_inside_the_promised_idle_time_and_is_a_figure_beyond_it() {
        let mut tally = Tally::default();
        tally.end(ended(Outcome::Eof, Age::Reused, 80), None);
        tally.end(ended(Outcome::Eof, Age::Reused, 81), None);
        tally.end(ended(Outcome::Reset, Age::Fresh, 200), None);
        tally.end(ended(Outcome::Reset, Age::Fresh, 201), None);
        assert_eq!(
            (tally.lost_reused, tally.lost_fresh, tally.beyond_promise),
            (1, 1, 2)
        );
        assert_eq!((tally.sent, tally.lost()), (4, 2));
    }

    #[test]
    fn an_answer_that_began_is_owed_whatever_the_idle_time() {
        let mut tally = Tally::default();
        tally.end(ended(Outcome::Truncated, Age::Reused, 5_000), None);
        assert_eq!(tally.lost(), 1);
    }

    #[test]
    fn a_connection_seen_closed_is_no_request() {
        let mut tally = Tally::default();
        tally.end(ended(Outcome::ClosedBeforeWrite, Age::Reused, 0), None);
        assert_eq!((tally.sent, tally.seen_closed, tally.lost()), (0, 1, 0));
    }

    #[test]
    fn a_new_connection_that_ends_before_its_first_byte_is_dropped_inside_the_promise() {
        let mut tally = Tally::default();
        let promise = Promise::Within {
            idle: Duration::ZERO,
            hold: Duration::from_millis(200),
        };
        tally.see_closed(Age::Fresh, Duration::from_millis(200), promise);
        tally.see_closed(Age::Fresh, Duration::from_millis(201), promise);
        tally.see_closed(Age::Reused, Duration::ZERO, promise);
        assert_eq!((tally.dropped_fresh, tally.seen_closed), (1, 3));
    }

    #[test]
    fn a_connect_that_began_after_a_refused_one_must_not_succeed() {
        let mut tally = Tally::default();
        let before = Instant::now();
        let refused_at = before + Duration::from_millis(1);
        tally.refuse(refused_at, Some(before));
        tally.connect(before);
        assert_eq!(tally.accepted_after_refused, 0);
        tally.connect(refused_at + Duration::from_millis(1));
        assert_eq!(
            (tally.accepted_after_refused, tally.refused_before_signal),
            (1, 0)
        );
    }

    #[test]
    fn details_are_bounded_and_what_did_not_fit_is_counted() {
        let mut tally = Tally::default();
        for _ in 0..MOST_LOSSES + 3 {
            tally.end(ended(Outcome::Eof, Age::Fresh, 0), None);
        }
        assert_eq!(tally.lost(), MOST_LOSSES as u64 + 3);
        assert_eq!(
            (tally.losses(Instant::now()).len(), tally.losses_dropped()),
            (MOST_LOSSES, 3)
        );
    }
}
