//! What honest clients saw, counted by kind of request and by moment of the round.
//!
//! Owns: fates, losses in detail (bounded), latencies (bounded). Not here: how a protocol decides a fate.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::tally::millis_after;

/// Most losses and complaints that are kept in words.
const MOST_KEPT: usize = 64;
/// Most latencies kept of one kind and moment.
const MOST_LATENCIES: usize = 200_000;

/// What became of one exchange.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Answered as asked.
    Served,
    /// Refused so that it can safely be sent elsewhere.
    Refused,
    /// The end was seen before anything was written: not a request.
    Unsent,
    /// A WebSocket message that crossed the server's Close: nobody may answer after a Close (RFC 6455 §5.5.1).
    Crossed,
    /// Lost on a connection that had been idle for longer than promised: a figure.
    Beyond,
    /// Lost, and how.
    Lost(Cow<'static, str>),
}

impl From<Outcome> for Fate {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Served | Outcome::ServedClose => Self::Served,
            Outcome::Refused503 => Self::Refused,
            Outcome::ClosedBeforeWrite => Self::Unsent,
            lost => Self::Lost(lost.name().into()),
        }
    }
}

/// One exchange that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The kind of request.
    pub label: &'static str,
    /// What became of it.
    pub fate: Fate,
    /// When its first byte was written.
    pub written_at: Instant,
}

/// Which part of a measurement an exchange ended in.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Moment {
    /// Nobody is hostile yet.
    #[default]
    Before,
    /// The attack is under way.
    During,
    /// The attack is over.
    After,
    /// The server was told to stop.
    Leaving,
}

/// Counts of one kind of request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Exchanges whose first byte was written.
    pub sent: u64,
    /// Answered as asked.
    pub served: u64,
    /// Refused retry-safe.
    pub refused: u64,
    /// Crossed a Close.
    pub crossed: u64,
    /// Lost beyond the promised idle time.
    pub beyond: u64,
    /// Lost.
    pub lost: u64,
}

/// A loss, kept in detail.
#[derive(Clone, Debug)]
pub struct Loss {
    label: &'static str,
    how: Cow<'static, str>,
    written_at: Instant,
    ended_at: Instant,
}

impl Loss {
    /// Tells the loss on the signal's clock.
    pub fn tell(&self, signalled_at: Option<Instant>) -> impl fmt::Display {
        let times = signalled_at.map_or_else(
            || "before the signal".to_owned(),
            |at| {
                format!(
                    "written T{:+.2} ms, ended T{:+.2} ms",
                    millis_after(at, self.written_at),
                    millis_after(at, self.ended_at)
                )
            },
        );
        format!("{}: {}, {times}", self.label, self.how)
    }
}

/// All that the clients of one party counted.
#[derive(Debug, Default)]
pub struct Ledger {
    moment: Moment,
    kinds: BTreeMap<&'static str, Count>,
    latencies: BTreeMap<(Moment, &'static str), Vec<Duration>>,
    losses: Vec<Loss>,
    complaints: Vec<String>,
    dropped: u64,
    connected: u64,
    refused_connects: u64,
}

impl Ledger {
    /// Says which part of the measurement begins.
    pub fn enter(&mut self, moment: Moment) {
        self.moment = moment;
    }

    /// Counts an exchange that ends now.
    pub fn end(&mut self, ended: Ended) {
        let ended_at = Instant::now();
        if ended.fate == Fate::Unsent {
            return;
        }
        let count = self.kinds.entry(ended.label).or_default();
        count.sent += 1;
        match ended.fate {
            Fate::Served => {
                count.served += 1;
                let latencies = self
                    .latencies
                    .entry((self.moment, ended.label))
                    .or_default();
                if latencies.len() < MOST_LATENCIES {
                    latencies.push(ended_at - ended.written_at);
                } else {
                    self.dropped += 1;
                }
            }
            Fate::Refused => count.refused += 1,
            Fate::Crossed => count.crossed += 1,
            Fate::Beyond => count.beyond += 1,
            Fate::Unsent => {}
            Fate::Lost(how) => {
                count.lost += 1;
                if self.losses.len() < MOST_KEPT {
                    self.losses.push(Loss {
                        label: ended.label,
                        how,
                        written_at: ended.written_at,
                        ended_at,
                    });
                } else {
                    self.dropped += 1;
                }
            }
        }
    }

    /// Counts a connection that was opened, handshake included.
    pub fn connect(&mut self) {
        self.connected += 1;
    }

    /// Counts a refused connect after the signal.
    pub fn refuse_connect(&mut self) {
        self.refused_connects += 1;
    }

    /// Writes down something that must not happen and is no lost request.
    pub fn complain(&mut self, complaint: String) {
        if self.complaints.len() < MOST_KEPT {
            self.complaints.push(complaint);
        } else {
            self.dropped += 1;
        }
    }

    /// Counts by kind of request.
    pub fn kinds(&self) -> &BTreeMap<&'static str, Count> {
        &self.kinds
    }

    /// Everything lost.
    pub fn lost(&self) -> u64 {
        self.kinds.values().map(|count| count.lost).sum()
    }

    /// The losses kept in detail.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// What else must not have happened.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Connections opened, and connects refused after the signal.
    pub fn connects(&self) -> (u64, u64) {
        (self.connected, self.refused_connects)
    }

    /// Details that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How long served exchanges took in one part of the measurement, all kinds together: median, 99 % and longest.
    pub fn latency(&self, moment: Moment) -> Option<Latency> {
        let mut all: Vec<Duration> = self
            .latencies
            .iter()
            .filter(|((of, _), _)| *of == moment)
            .flat_map(|(_, latencies)| latencies.iter().copied())
            .collect();
        Latency::of(&mut all)
    }
}

/// How long exchanges took.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Latency {
    /// Half of them took no longer.
    pub median: Duration,
    /// Of a hundred, 99 took no longer.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
    /// How many they were.
    pub count: usize,
}

impl Latency {
    fn of(all: &mut [Duration]) -> Option<Self> {
        all.sort_unstable();
        let at = |share: usize| all.get((all.len() * share / 100).min(all.len().checked_sub(1)?));
        Some(Self {
            median: *at(50)?,
            p99: *at(99)?,
            longest: *all.last()?,
            count: all.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(ledger: &mut Ledger, fate: Fate) {
        ledger.end(Ended {
            label: "get",
            fate,
            written_at: Instant::now(),
        });
    }

    #[test]
    fn what_was_never_sent_is_not_counted_and_a_loss_is_told() {
        let mut ledger = Ledger::default();
        end(&mut ledger, Fate::Unsent);
        assert!(ledger.kinds().is_empty());
        for fate in [
            Fate::Served,
            Fate::Refused,
            Fate::Crossed,
            Fate::Lost("eof".into()),
        ] {
            end(&mut ledger, fate);
        }
        let count = ledger.kinds()["get"];
        assert_eq!(
            (
                count.sent,
                count.served,
                count.refused,
                count.crossed,
                count.lost
            ),
            (4, 1, 1, 1, 1)
        );
        let told = ledger.losses()[0].tell(None).to_string();
        assert_eq!(told, "get: eof, before the signal");
    }

    #[test]
    fn details_are_bounded_and_counted() {
        let mut ledger = Ledger::default();
        for _ in 0..MOST_KEPT + 2 {
            end(&mut ledger, Fate::Lost("eof".into()));
        }
        assert_eq!(ledger.lost(), MOST_KEPT as u64 + 2);
        assert_eq!((ledger.losses().len(), ledger.dropped()), (MOST_KEPT, 2));
    }

    #[test]
    fn percentiles_of_a_hundred() {
        let mut all: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(&mut all).unwrap();
        assert_eq!(latency.median, Duration::from_millis(51));
        assert_eq!(latency.p99, Duration::from_millis(100));
        assert_eq!(Latency::of(&mut []), None);
    }
}
