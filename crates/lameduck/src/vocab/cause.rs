//! Why a process leaves.

use core::fmt;

use super::SignalRecord;

/// What started the shutdown. The first termination request is the cause; later ones are repeats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// A signal.
    Signal(SignalRecord),
    /// The program itself asked, and said why.
    Api {
        /// The reason given.
        why: String,
    },
    /// A participant failed.
    ParticipantFailed {
        /// Its name.
        name: String,
        /// What it said.
        why: String,
    },
    /// Start-up failed before everything was ready.
    StartFailed {
        /// What went wrong.
        why: String,
    },
}

impl Cause {
    /// One lower-case word: `signal`, `api`, `participant-failed` or `start-failed`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
            Self::Api { .. } => "api",
            Self::ParticipantFailed { .. } => "participant-failed",
            Self::StartFailed { .. } => "start-failed",
        }
    }

    /// Whether leaving for this cause is a failure of the service (exit code 1, see [`Outcome`](super::Outcome)).
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::ParticipantFailed { .. } | Self::StartFailed { .. }
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(record) => write!(f, "{} from {}", record.signal, record.sender),
            Self::Api { why } => write!(f, "asked by the program: {why}"),
            Self::ParticipantFailed { name, why } => write!(f, "participant {name} failed: {why}"),
            Self::StartFailed { why } => write!(f, "start failed: {why}"),
        }
    }
}
