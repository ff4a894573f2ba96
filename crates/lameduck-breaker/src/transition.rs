//! What observers, pages and callers are told of a breaker.
//!
//! Owns words, not behaviour.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::circuit::{Circuit, Force, Kind, Turn};
use crate::rules::Counts;

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum State {
    /// Every call is admitted, and counted.
    Closed,
    /// Every call is refused, until it is time to probe.
    Open,
    /// A few calls are admitted, to see whether it has become better.
    HalfOpen,
    /// An operator has it refuse every call.
    ForcedOpen,
    /// An operator has it admit every call, whatever comes of it.
    ForcedClosed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Closed,
        Self::Open,
        Self::HalfOpen,
        Self::ForcedOpen,
        Self::ForcedClosed,
    ];

    /// One lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced-open",
            Self::ForcedClosed => "forced-closed",
        }
    }

    pub(crate) const fn of(circuit: Circuit) -> Self {
        match (circuit.force, circuit.kind) {
            (Force::Open, _) => Self::ForcedOpen,
            (Force::Closed, _) => Self::ForcedClosed,
            (Force::None, Kind::Closed) => Self::Closed,
            (Force::None, Kind::Open) => Self::Open,
            (Force::None, Kind::HalfOpen) => Self::HalfOpen,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose breaker it is: the name that the program gave it, and the key where it is one of many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Label {
    /// Its name.
    pub name: Arc<str>,
    /// Its key as text, at most 128 characters of it. A peer may have chosen it: make it harmless where it is shown.
    pub key: Option<Arc<str>>,
}

impl Label {
    /// The most characters of a key that are kept for people.
    const MOST: usize = 128;

    pub(crate) fn new(name: Arc<str>, key: Option<String>) -> Arc<Self> {
        let short = |mut key: String| {
            if let Some((end, _)) = key.char_indices().nth(Self::MOST) {
                key.truncate(end);
            }
            key.into()
        };
        Arc::new(Self {
            name,
            key: key.map(short),
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            // As `Debug` has it: no control characters.
            Some(key) => write!(f, "{} {key:?}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A breaker stands otherwise than before.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Transition {
    /// Which.
    pub label: Arc<Label>,
    /// How it stood.
    pub from: State,
    /// How it stands.
    pub to: State,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            label,
            from,
            to,
            why,
        } = self;
        write!(f, "breaker {label}: {from} to {to}: {why}")
    }
}

/// Why a breaker stands otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// Too many of these calls failed.
    FailureRate(Counts),
    /// Too many of these calls were slow.
    SlowRate(Counts),
    /// So many calls failed one after the other.
    FailuresInARow(u64),
    /// It was open long enough: it probes.
    TimeOver,
    /// Too many probes failed.
    ProbesFailed,
    /// Probes did not come back in time.
    ProbesMissing,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// An operator forced it so, for this reason.
    Forced(String),
    /// An operator left it to itself again, for this reason.
    Released(String),
}

impl Why {
    pub(crate) fn of(turn: Turn) -> Self {
        match turn {
            Turn::FailureRate(counts) => Self::FailureRate(counts),
            Turn::SlowRate(counts) => Self::SlowRate(counts),
            Turn::InARow(failures) => Self::FailuresInARow(failures),
            Turn::TimeOver => Self::TimeOver,
            Turn::ProbesFailed => Self::ProbesFailed,
            Turn::ProbesMissing => Self::ProbesMissing,
            Turn::ProbesSucceeded => Self::ProbesSucceeded,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |f: &mut fmt::Formatter<'_>, what: &str, reason: &str| {
            let colon = if reason.is_empty() { "" } else { ": " };
            write!(f, "{what}{colon}{reason}")
        };
        match self {
            Self::FailureRate(counts) => {
                write!(f, "{} of {} calls failed", counts.failures, counts.calls)
            }
            Self::SlowRate(counts) => {
                write!(f, "{} of {} calls were slow", counts.slow, counts.calls)
            }
            Self::FailuresInARow(failures) => write!(f, "{failures} calls failed in a row"),
            Self::TimeOver => f.write_str("it was open long enough"),
            Self::ProbesFailed => f.write_str("probes failed"),
            Self::ProbesMissing => f.write_str("probes did not come back in time"),
            Self::ProbesSucceeded => f.write_str("enough probes succeeded"),
            Self::Forced(reason) => by(f, "forced", reason),
            Self::Released(reason) => by(f, "released", reason),
        }
    }
}

/// A call was not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// By which breaker.
    pub label: Arc<Label>,
    /// How it stood when that was decided: for a layer, when it was asked whether it is ready.
    pub state: State,
    /// After how long it may be worth another try: never zero.
    pub retry_after: Duration,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            label,
            state,
            retry_after,
        } = self;
        // Rounded up: never none at all.
        let tenths = retry_after.as_millis().div_ceil(100).max(1);
        let (seconds, tenth) = (tenths / 10, tenths % 10);
        write!(
            f,
            "the circuit breaker {label} is {state}; try again in {seconds}.{tenth} s"
        )
    }
}

impl std::error::Error for Rejected {}

/// What a breaker has counted, read at once but not at one instant. No figure is ever less than it was before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Calls that were answered, well or not.
    pub calls: u64,
    /// Those of them that went well.
    pub successes: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those of them that were slow, failed or not.
    pub slow: u64,
    /// Calls whose outcome was ignored.
    pub ignored: u64,
    /// Calls that ended without one: cancelled.
    pub abandoned: u64,
    /// Calls that were refused.
    pub rejected: u64,
    /// Calls that were admitted as probes.
    pub probes: u64,
    /// How often it opened.
    pub opened: u64,
    /// How often it began to probe.
    pub half_opened: u64,
    /// How often it closed.
    pub closed: u64,
    /// How often an operator forced or released it.
    pub forced: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.successes += other.successes;
        self.failures += other.failures;
        self.slow += other.slow;
        self.ignored += other.ignored;
        self.abandoned += other.abandoned;
        self.rejected += other.rejected;
        self.probes += other.probes;
        self.opened += other.opened;
        self.half_opened += other.half_opened;
        self.closed += other.closed;
        self.forced += other.forced;
    }
}
