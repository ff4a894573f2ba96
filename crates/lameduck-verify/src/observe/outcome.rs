//! Owns the taxonomy: in what a request ends, what is *lost*, and counting requests by it.
//! Not: deciding a check's verdict from the counts (see `scenario` and `verdict`).

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::response::{Head, ResponseReader};

/// In what a request ended; exactly one for each (contract, version 1).
///
/// `Error` is our addition: a whole 5xx answer that the same request did not get before the signal. It is not
/// lost (the client knows), but it was not served either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A whole answer on a connection that stays open.
    Served,
    /// A whole answer that announced the close.
    #[serde(rename = "served+close")]
    ServedClose,
    /// The connect was refused: nothing was sent, any client may try elsewhere.
    RefusedConnect,
    /// HTTP/2: REFUSED_STREAM, or above the final GOAWAY id: not processed, safe to send again.
    #[serde(rename = "refused-h2")]
    RefusedH2,
    /// 503 with `Retry-After` and `Connection: close`.
    #[serde(rename = "refused-503")]
    Refused503,
    /// Sent behind a response that said `close` (RFC 9112 §9.6): safe to send again.
    UnprocessedSafe,
    /// A whole 5xx answer that is not a proper refusal.
    Error,
    /// The connection ended without one byte of an answer.
    Eof,
    /// The connection was reset without one byte of an answer.
    Reset,
    /// The answer began and never became whole.
    Truncated,
    /// No answer and no end until the grace period was over.
    Hung,
    /// The connect was accepted, the TLS handshake never became whole: nothing was sent.
    HandshakeFailed,
}

impl Outcome {
    /// All outcomes, in the order in which reports show them.
    pub const ALL: [Self; 12] = [
        Self::Served,
        Self::ServedClose,
        Self::RefusedConnect,
        Self::RefusedH2,
        Self::Refused503,
        Self::UnprocessedSafe,
        Self::Error,
        Self::Eof,
        Self::Reset,
        Self::Truncated,
        Self::Hung,
        Self::HandshakeFailed,
    ];

    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::ServedClose => "served+close",
            Self::RefusedConnect => "refused-connect",
            Self::RefusedH2 => "refused-h2",
            Self::Refused503 => "refused-503",
            Self::UnprocessedSafe => "unprocessed-safe",
            Self::Error => "error",
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Hung => "hung",
            Self::HandshakeFailed => "handshake-failed",
        }
    }

    /// The client got what it asked for.
    #[must_use]
    pub fn is_served(self) -> bool {
        matches!(self, Self::Served | Self::ServedClose)
    }

    /// The client can not know whether its request was carried out.
    #[must_use]
    pub fn is_unanswered(self) -> bool {
        matches!(self, Self::Eof | Self::Reset | Self::Truncated | Self::Hung)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a connection ended, as the client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
    /// We stopped waiting.
    GaveUp,
}

/// Names the outcome of a request from what came back and how the connection ended (if it did).
pub(crate) fn classify(
    reader: &ResponseReader,
    malformed: bool,
    end: Option<End>,
    usual: Usual,
) -> Option<Outcome> {
    if reader.is_complete() && !malformed {
        return reader.head().map(|head| answered(head, usual));
    }
    match (end?, reader.has_begun()) {
        (End::GaveUp, _) => Some(Outcome::Hung),
        (_, true) => Some(Outcome::Truncated),
        (End::Fin, false) => Some(Outcome::Eof),
        (End::Reset, false) => Some(Outcome::Reset),
    }
}

/// What the same request got before the signal: a service whose answer is always 500 is not failing at shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usual {
    Good,
    ServerError,
}

fn answered(head: Head, usual: Usual) -> Outcome {
    match (head.status, usual) {
        (503, _) if head.retry_after && head.close => Outcome::Refused503,
        (500.., Usual::Good) => Outcome::Error,
        _ if head.close => Outcome::ServedClose,
        _ => Outcome::Served,
    }
}

/// The longest time between the look and the write for which the look still counts as "immediately before".
pub(crate) const MAX_LOOK_GAP: Duration = Duration::from_millis(1);

/// One request of ours, from the look before its last byte to its end.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Its method is POST: most clients will not send it again by themselves.
    pub(crate) is_post: bool,
    /// It was the first request on its connection.
    pub(crate) is_first: bool,
    /// When its last byte was due, where a scenario planned it.
    pub(crate) planned_at: Option<Instant>,
    pub(crate) begun_at: Instant,
    /// When its connection was established.
    pub(crate) opened_at: Instant,
    /// When its last byte was written; `None` when the connection had ended before.
    pub(crate) written_at: Option<Instant>,
    /// From the look to the end of the write.
    pub(crate) look_gap: Duration,
    pub(crate) first_byte_at: Option<Instant>,
    pub(crate) ended_at: Option<Instant>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) status: Option<u16>,
    pub(crate) body_bytes: u64,
    /// The end came within one round trip of the write: the two crossed on the wire.
    pub(crate) crossed: bool,
}

impl Exchange {
    /// Lost as the contract says: looked, saw no end, wrote it all, got no answer.
    pub(crate) fn is_lost(&self) -> bool {
        self.written_at.is_some()
            && self.look_gap <= MAX_LOOK_GAP
            && self.outcome.is_some_and(Outcome::is_unanswered)
    }

    /// Written whole, but so long after the look that nothing can be said about it.
    pub(crate) fn is_discarded(&self) -> bool {
        self.written_at.is_some() && self.look_gap > MAX_LOOK_GAP
    }

    /// How late our own writer was.
    pub(crate) fn lateness(&self) -> Duration {
        match (self.planned_at, self.written_at) {
            (Some(planned), Some(written)) => written.saturating_duration_since(planned),
            _ => Duration::ZERO,
        }
    }

    /// Still unanswered at `t`, or written after it: the signal could have harmed it.
    pub(crate) fn is_at_stake(&self, t: Instant) -> bool {
        self.begun_at >= t || self.ended_at.is_none_or(|ended| ended >= t)
    }
}

/// Requests counted by outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; Outcome::ALL.len()],
    /// Requests that are *lost* as the contract says.
    pub lost: u64,
    /// Of the lost ones: the server's FIN came within one round trip of the write.
    pub crossed: u64,
    /// Of the lost ones: POSTs.
    pub lost_posts: u64,
    /// Not sent: the client saw the end of the connection in time.
    pub ended_first: u64,
    /// Not judged: our own writer was late between look and write.
    pub discarded: u64,
}

impl Tally {
    /// How many requests ended in `outcome`.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize]
    }

    /// Requests that reached the wire, refused ones too; not refused connects and failed handshakes.
    #[must_use]
    pub fn sent(&self) -> u64 {
        Outcome::ALL
            .iter()
            .filter(|outcome| {
                !matches!(outcome, Outcome::RefusedConnect | Outcome::HandshakeFailed)
            })
            .map(|o| self.count(*o))
            .sum()
    }

    /// Requests that were answered whole.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.count(Outcome::Served) + self.count(Outcome::ServedClose)
    }

    /// Adds one outcome that belongs to no exchange (a refused connect).
    pub(crate) fn add_outcome(&mut self, outcome: Outcome) {
        self.counts[outcome as usize] += 1;
    }

    pub(crate) fn add(&mut self, exchange: &Exchange) {
        let Some(outcome) = exchange.outcome else {
            self.ended_first += 1;
            return;
        };
        if exchange.is_discarded() && outcome.is_unanswered() {
            self.discarded += 1;
            return;
        }
        if exchange.written_at.is_none() && outcome.is_unanswered() && outcome != Outcome::Truncated
        {
            self.ended_first += 1;
            return;
        }
        self.add_outcome(outcome);
        if exchange.is_lost() {
            self.lost += 1;
            self.crossed += u64::from(exchange.crossed);
            self.lost_posts += u64::from(exchange.is_post);
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.lost += other.lost;
        self.crossed += other.crossed;
        self.lost_posts += other.lost_posts;
        self.ended_first += other.ended_first;
        self.discarded += other.discarded;
    }
}

impl Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sent", &self.sent())?;
        for outcome in Outcome::ALL
            .iter()
            .filter(|outcome| self.count(**outcome) > 0)
        {
            map.serialize_entry(outcome.word(), &self.count(*outcome))?;
        }
        map.serialize_entry("lost", &self.lost)?;
        for (name, count) in [
            ("lost_posts", self.lost_posts),
            ("crossed", self.crossed),
            ("ended_first", self.ended_first),
            ("discarded", self.discarded),
        ] {
            if count > 0 {
                map.serialize_entry(name, &count)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Tally {
    /// Names that this version does not know are left out: they are counts of what a later version tells apart.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = std::collections::BTreeMap::<String, u64>::deserialize(deserializer)?;
        let named = |name: &str| counts.get(name).copied().unwrap_or(0);
        Ok(Self {
            counts: Outcome::ALL.map(|outcome| named(outcome.word())),
            lost: named("lost"),
            crossed: named("crossed"),
            lost_posts: named("lost_posts"),
            ended_first: named("ended_first"),
            discarded: named("discarded"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scripted stream: what came, how it ended, and the word of the contract for it.
    fn judge(bytes: &[u8], end: Option<End>) -> Option<Outcome> {
        let mut reader = ResponseReader::new();
        let malformed = reader.push(bytes).is_err();
        if end == Some(End::Fin) {
            reader.end_of_stream();
        }
        classify(&reader, malformed, end, Usual::Good)
    }

    #[test]
    fn scripted_streams_end_in_exactly_one_word() {
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let ok_close = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        let refusal = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let bare_503 = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        let http_10 = b"HTTP/1.0 200 OK\r\n\r\nok";
        let cases: [(&[u8], Option<End>, Option<Outcome>); 13] = [
            (ok, None, Some(Outcome::Served)),
            (ok_close, Some(End::Fin), Some(Outcome::ServedClose)),
            (refusal, Some(End::Fin), Some(Outcome::Refused503)),
            (bare_503, None, Some(Outcome::Error)),
            (http_10, Some(End::Fin), Some(Outcome::ServedClose)),
            (http_10, Some(End::Reset), Some(Outcome::Truncated)),
            (b"", Some(End::Fin), Some(Outcome::Eof)),
            (b"", Some(End::Reset), Some(Outcome::Reset)),
            (b"", Some(End::GaveUp), Some(Outcome::Hung)),
            (
                &ok[..ok.len() - 1],
                Some(End::Fin),
                Some(Outcome::Truncated),
            ),
            (&ok[..20], Some(End::GaveUp), Some(Outcome::Hung)),
            (&ok[..20], None, None),
            (b"garbage\r\n\r\n", Some(End::Fin), Some(Outcome::Truncated)),
        ];
        for (bytes, end, outcome) in cases {
            assert_eq!(
                judge(bytes, end),
                outcome,
                "{:?} {end:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    fn unanswered(outcome: Outcome) -> Exchange {
        let now = Instant::now();
        Exchange {
            is_post: true,
            is_first: false,
            planned_at: None,
            begun_at: now,
            opened_at: now,
            written_at: Some(now),
            look_gap: Duration::from_micros(20),
            first_byte_at: None,
            ended_at: Some(now),
            outcome: Some(outcome),
            status: None,
            body_bytes: 0,
            crossed: false,
        }
    }

    #[test]
    fn lost_needs_a_fresh_look_and_a_whole_write() {
        let mut tally = Tally::default();
        tally.add(&unanswered(Outcome::Eof));
        tally.add(&Exchange {
            crossed: true,
            ..unanswered(Outcome::Eof)
        });
        tally.add(&Exchange {
            written_at: None,
            ..unanswered(Outcome::Eof)
        });
        tally.add(&Exchange {
            look_gap: Duration::from_millis(2),
            ..unanswered(Outcome::Reset)
        });
        tally.add(&unanswered(Outcome::Served));
        assert_eq!((tally.lost, tally.crossed, tally.lost_posts), (2, 1, 2));
        assert_eq!(
            (tally.ended_first, tally.discarded, tally.sent()),
            (1, 1, 3)
        );
    }

    #[test]
    fn a_service_that_always_fails_is_not_failing_at_shutdown() {
        let mut reader = ResponseReader::new();
        reader
            .push(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        assert_eq!(
            classify(&reader, false, None, Usual::ServerError),
            Some(Outcome::Served)
        );
        assert_eq!(
            classify(&reader, false, None, Usual::Good),
            Some(Outcome::Error)
        );
    }
}
