//! How an HTTP/2 client is told to go elsewhere, and when it counts as gone.
//!
//! Owns the decision, without doing anything: GOAWAY(2^31-1) first, so that nothing that is under way is lost; a round trip later, which h2
//! measures by a PING, GOAWAY with the last stream that is served (RFC 9113 §6.8). A client that leaves the PING unanswered gets the second
//! one without it.

use std::time::Duration;

use crate::server::watch::Watch;

/// Why a client is told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The service leaves.
    Steered,
    /// It had no request for too long.
    Idle,
    /// The connection is as old as it may become.
    Aged,
}

/// How far a client is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It may stay.
    Not,
    /// It was sent the first GOAWAY.
    Told { at: Duration, why: Why },
    /// It was sent the last GOAWAY by us, not waiting for its answer.
    Ended { at: Duration },
}

/// What a connection is doing, as far as leaving goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) now: Duration,
    /// Streams that were begun.
    pub(super) served: u64,
    /// Since when there is no open stream.
    pub(super) quiet_since: Option<Duration>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this time.
    Wait(Option<Duration>),
    /// Send the pair of GOAWAYs.
    Tell(Why),
    /// Send the last GOAWAY now: no stream is open.
    Last,
    /// End the open streams: their grace is over.
    EndStreams,
    /// Nothing can be said any more.
    GiveUp,
}

/// How long the last GOAWAY may wait for room in the socket.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long the PING between the GOAWAYs may stay unanswered, asked at `from`.
pub(super) fn answer_limit(watch: &Watch, from: Duration) -> Duration {
    let shared = &watch.shared;
    let limits = &shared.limits;
    let limit = if shared.drain.is_steering() {
        limits.ping_answer.min(limits.stall_draining)
    } else {
        limits.ping_answer
    };
    shared.before_deadline(limit, from)
}

impl Leave {
    pub(super) fn step(self, watch: &Watch, facts: Facts) -> Step {
        let now = facts.now;
        match self {
            Self::Not => Self::first(watch, facts),
            Self::Told { at, why } => {
                let shared = &watch.shared;
                let grace = match why {
                    Why::Aged => shared.limits.age_grace,
                    Why::Steered | Why::Idle => None,
                };
                let over = grace.map(|grace| at.saturating_add(grace));
                let Some(quiet_since) = facts.quiet_since else {
                    return match over {
                        Some(over) if now >= over => Step::EndStreams,
                        over => Step::Wait(over),
                    };
                };
                // h2 ends the connection by itself when the PING is answered.
                let from = at.max(quiet_since);
                let until = from.saturating_add(answer_limit(watch, from));
                if now >= until {
                    Step::Last
                } else {
                    Step::Wait(Some(until))
                }
            }
            Self::Ended { at } if now >= at + LAST_WORD => Step::GiveUp,
            Self::Ended { at } => Step::Wait(Some(at + LAST_WORD)),
        }
    }

    /// Whether and when a client that may stay so far is told.
    fn first(watch: &Watch, facts: Facts) -> Step {
        let shared = &watch.shared;
        let now = facts.now;
        let steered_at = match shared.drain.steer_at(watch.spread) {
            None => None,
            Some(_) if shared.drain.is_closing() => Some(now),
            // Accepted after T: it was sent here by somebody who does not know yet, and gets its first stream served.
            Some(_) if watch.spread == u64::MAX && facts.served == 0 => None,
            Some(at) => Some(at),
        };
        let idle_at = facts.quiet_since.map(|since| since + shared.limits.idle);
        let reasons = [
            (steered_at, Why::Steered),
            (idle_at, Why::Idle),
            (watch.aged_at(), Why::Aged),
        ];
        let due = reasons
            .into_iter()
            .find(|(at, _)| at.is_some_and(|at| now >= at));
        match due {
            Some((_, why)) => Step::Tell(why),
            None => Step::Wait(reasons.into_iter().filter_map(|(at, _)| at).min()),
        }
    }
}
