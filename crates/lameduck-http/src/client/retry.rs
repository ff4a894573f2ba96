//! Which requests are sent again: a decision without a clock, a socket or a guess.
//!
//! Owns the table and the budget. What happened to a try is found out in `attempt`; waiting and sending are `send`'s business.

use std::fmt;
use std::time::Duration;

use http::Method;

/// How much of the budget one retry takes, and what it holds at first and at most: a hundred retries.
const PRICE: u32 = 5;
const FULL: u32 = 100 * PRICE;

/// Pauses double from this on, so that a server that just restarts has a moment.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why a request was sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryReason {
    /// There was no connection to send it on: refused, unreachable, or silent for too long.
    Unreached,
    /// Its connection ended before a byte of it was written.
    Unwritten,
    /// The server refused the stream: REFUSED_STREAM says that nothing was done (RFC 9113 §8.7).
    RefusedStream,
    /// The server's last GOAWAY named a stream before it: it was not and will not be processed (RFC 9113 §6.8).
    GoneAway,
    /// Its connection ended when it was written, before the first byte of a response. Its method is idempotent (RFC 9110 §9.2.2).
    Cut,
}

impl RetryReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unreached,
        Self::Unwritten,
        Self::RefusedStream,
        Self::GoneAway,
        Self::Cut,
    ];

    /// One word, as in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreached => "unreached",
            Self::Unwritten => "unwritten",
            Self::RefusedStream => "refused_stream",
            Self::GoneAway => "gone_away",
            Self::Cut => "cut",
        }
    }

    /// Whether the server, or the way to it, had work with the try. The others happen once in a connection's life, which bounds them.
    const fn is_costly(self) -> bool {
        match self {
            Self::Unreached | Self::RefusedStream | Self::Cut => true,
            Self::Unwritten | Self::GoneAway => false,
        }
    }
}

impl fmt::Display for RetryReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreached => "the server was not reached",
            Self::Unwritten => "the connection ended before the request was written",
            Self::RefusedStream => "the server refused the stream",
            Self::GoneAway => "the server went away before the request",
            Self::Cut => "the connection ended before the response began",
        })
    }
}

/// What became of a try that has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// No connection came about for a reason that may pass.
    Unreached,
    /// None came about for a reason that stays: a certificate, a protocol.
    Unsuited,
    /// Nothing of the request was written.
    Unwritten,
    /// RST_STREAM with REFUSED_STREAM.
    RefusedStream,
    /// Above the last stream of a GOAWAY.
    GoneAway,
    /// Something was written, and no byte of a response came.
    Cut,
    /// The response had begun.
    CutShort,
    /// A limit of this client ended it.
    Expired,
    /// The peer does not speak HTTP as it should, or says too much.
    Malformed,
    /// The request's own body failed.
    Body,
}

impl Mishap {
    #[cfg(test)]
    const ALL: [Self; 10] = [
        Self::Unreached,
        Self::Unsuited,
        Self::Unwritten,
        Self::RefusedStream,
        Self::GoneAway,
        Self::Cut,
        Self::CutShort,
        Self::Expired,
        Self::Malformed,
        Self::Body,
    ];
}

/// What is left of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// The try did not take it.
    Untouched,
    /// It can be sent again: empty, or in memory and no longer than allowed.
    Copied,
    /// It was given to the try and is gone.
    Spent,
}

/// A try that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    pub(crate) mishap: Mishap,
    pub(crate) is_idempotent: bool,
    pub(crate) replay: Replay,
    /// Tries so far, this one included.
    pub(crate) tries: u32,
    /// How many there may be.
    pub(crate) most_tries: u32,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent again; if it is costly, only while the budget lasts.
    Retry(RetryReason),
    GiveUp(GivenUp),
}

/// Why a request was not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GivenUp {
    /// What happened would happen again, or the response had begun.
    Final,
    /// It may have been processed, and its method is not idempotent.
    NotIdempotent,
    /// Its body was given away, and nobody has a copy.
    BodySpent,
    /// It was tried as often as allowed.
    Tries,
    /// There were too many retries lately.
    Budget,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Final => "trying again would not help",
            Self::NotIdempotent => "it may have been processed, and its method is not idempotent",
            Self::BodySpent => "its body cannot be sent again",
            Self::Tries => "it was tried as often as allowed",
            Self::Budget => "the retry budget is used up",
        })
    }
}

/// RFC 9110 §9.2.2.
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Decides about a try that failed. What is not known to be unprocessed is sent again only if doing it twice is doing it once.
pub(crate) const fn decide(failed: Failed) -> Verdict {
    let reason = match failed.mishap {
        Mishap::Unreached => RetryReason::Unreached,
        Mishap::Unwritten => RetryReason::Unwritten,
        Mishap::RefusedStream => RetryReason::RefusedStream,
        Mishap::GoneAway => RetryReason::GoneAway,
        Mishap::Cut if failed.is_idempotent => RetryReason::Cut,
        Mishap::Cut => return Verdict::GiveUp(GivenUp::NotIdempotent),
        Mishap::Unsuited
        | Mishap::CutShort
        | Mishap::Expired
        | Mishap::Malformed
        | Mishap::Body => return Verdict::GiveUp(GivenUp::Final),
    };
    if matches!(failed.replay, Replay::Spent) {
        return Verdict::GiveUp(GivenUp::BodySpent);
    }
    if failed.tries >= failed.most_tries {
        return Verdict::GiveUp(GivenUp::Tries);
    }
    Verdict::Retry(reason)
}

/// How long to wait before the next try; `dice` is any random number, which takes up to half of it off.
pub(crate) fn pause(reason: RetryReason, tries: u32, dice: u64) -> Duration {
    if !reason.is_costly() || matches!(reason, RetryReason::Cut) {
        // Another connection is all it needs.
        return Duration::ZERO;
    }
    let doubled = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(8));
    let whole = doubled.min(LONGEST_PAUSE);
    let spread = u64::try_from(whole.as_micros() / 2).unwrap_or(u64::MAX);
    whole - Duration::from_micros(dice % (spread + 1))
}

/// What bounds retries beyond each request's tries: a hundred at once, and one for every five requests from then on.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self { left: FULL }
    }

    /// A request began.
    pub(crate) const fn earn(&mut self) {
        if self.left < FULL {
            self.left += 1;
        }
    }

    /// Pays for a retry; false if there is not enough left.
    pub(crate) const fn pay(&mut self, reason: RetryReason) -> bool {
        if !reason.is_costly() {
            return true;
        }
        if self.left < PRICE {
            return false;
        }
        self.left -= PRICE;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mishap: Mishap, is_idempotent: bool, replay: Replay, tries: u32) -> Verdict {
        decide(Failed {
            mishap,
            is_idempotent,
            replay,
            tries,
            most_tries: 3,
        })
    }

    /// The table as it stands in the manual, written out: what is retried for any method, for idempotent ones, and never.
    const TABLE: [(Mishap, Option<RetryReason>, Option<RetryReason>); 10] = {
        use Mishap as M;
        use RetryReason as R;
        [
            (M::Unreached, Some(R::Unreached), Some(R::Unreached)),
            (M::Unsuited, None, None),
            (M::Unwritten, Some(R::Unwritten), Some(R::Unwritten)),
            (
                M::RefusedStream,
                Some(R::RefusedStream),
                Some(R::RefusedStream),
            ),
            (M::GoneAway, Some(R::GoneAway), Some(R::GoneAway)),
            (M::Cut, Some(R::Cut), None),
            (M::CutShort, None, None),
            (M::Expired, None, None),
            (M::Malformed, None, None),
            (M::Body, None, None),
        ]
    };

    #[test]
    fn every_mishap_method_body_and_number_of_tries_has_the_verdict_of_the_table() {
        assert_eq!(TABLE.map(|row| row.0), Mishap::ALL);
        let mut seen = 0;
        for (mishap, idempotent, other) in TABLE {
            for (is_idempotent, retried) in [(true, idempotent), (false, other)] {
                for replay in [Replay::Untouched, Replay::Copied, Replay::Spent] {
                    for tries in 1..=4 {
                        let expected = match retried {
                            None if mishap == Mishap::Cut => {
                                Verdict::GiveUp(GivenUp::NotIdempotent)
                            }
                            None => Verdict::GiveUp(GivenUp::Final),
                            Some(_) if replay == Replay::Spent => {
                                Verdict::GiveUp(GivenUp::BodySpent)
                            }
                            Some(_) if tries >= 3 => Verdict::GiveUp(GivenUp::Tries),
                            Some(reason) => Verdict::Retry(reason),
                        };
                        let decided = of(mishap, is_idempotent, replay, tries);
                        assert_eq!(decided, expected, "{mishap:?} {replay:?} {tries}");
                        seen += 1;
                    }
                }
            }
        }
        assert_eq!(seen, 10 * 2 * 3 * 4);
    }

    #[test]
    fn only_the_methods_of_the_rfc_are_idempotent() {
        let methods = [
            ("GET", true),
            ("HEAD", true),
            ("OPTIONS", true),
            ("TRACE", true),
            ("PUT", true),
            ("DELETE", true),
            ("POST", false),
            ("PATCH", false),
            ("CONNECT", false),
            ("get", false),
            ("PURGE", false),
        ];
        for (name, expected) in methods {
            let method = Method::from_bytes(name.as_bytes()).expect("a method");
            assert_eq!(is_idempotent(&method), expected, "{name}");
        }
    }

    #[test]
    fn inv_11_the_budget_allows_a_burst_and_then_one_retry_for_five_requests() {
        let mut budget = Budget::new();
        for _ in 0..100 {
            assert!(budget.pay(RetryReason::Cut));
        }
        assert!(!budget.pay(RetryReason::Cut));
        assert!(
            budget.pay(RetryReason::Unwritten),
            "nobody had work with it"
        );
        for _ in 0..5 {
            assert!(!budget.pay(RetryReason::Unreached));
            budget.earn();
        }
        assert!(budget.pay(RetryReason::Unreached));
        for _ in 0..10_000 {
            budget.earn();
        }
        assert_eq!(budget.left, FULL);
    }

    #[test]
    fn pauses_double_up_to_a_second_and_are_spread() {
        for dice in [0, 1, 9_999, 10_000, 10_001, u64::MAX] {
            for tries in 1..40 {
                let whole = pause(RetryReason::Unreached, tries, 0);
                assert!(whole <= LONGEST_PAUSE);
                let spread = pause(RetryReason::Unreached, tries, dice);
                assert!(spread <= whole && spread * 2 >= whole, "{tries} {dice}");
            }
        }
        assert_eq!(pause(RetryReason::Unreached, 1, 0), FIRST_PAUSE);
        assert_eq!(pause(RetryReason::RefusedStream, 2, 0), FIRST_PAUSE * 2);
        assert_eq!(pause(RetryReason::Unwritten, 1, 0), Duration::ZERO);
        assert_eq!(pause(RetryReason::Cut, 1, 0), Duration::ZERO);
    }
}
