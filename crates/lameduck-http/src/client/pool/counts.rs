//! What a client counts.

use crate::client::retry::RetryReason;

/// Why a connection of a [`Client`](crate::client::Client) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClosedBy {
    /// It never came about.
    Unopened,
    /// Its server ended it, or said that it would.
    Peer,
    /// It failed, or what came on it was no HTTP.
    Failed,
    /// Its request was dropped, or the body of its response before its end.
    Abandoned,
    /// It was idle for as long as it may be.
    IdleExpired,
    /// It was idle, and another host's turn.
    Evicted,
    /// The service drains.
    Draining,
    /// The client was stopped.
    Stopped,
    /// The client's time was up, and it was not.
    Cut,
}

impl ClosedBy {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unopened,
        Self::Peer,
        Self::Failed,
        Self::Abandoned,
        Self::IdleExpired,
        Self::Evicted,
        Self::Draining,
        Self::Stopped,
        Self::Cut,
    ];

    /// One word, as in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unopened => "unopened",
            Self::Peer => "peer",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::IdleExpired => "idle_expired",
            Self::Evicted => "evicted",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Cut => "cut",
        }
    }
}

/// Everything that only grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) opened: u64,
    closed: [u64; ClosedBy::ALL.len()],
    retries: [u64; RetryReason::ALL.len()],
    /// Too many waited.
    pub(crate) refused_full: u64,
    /// They waited for too long.
    pub(crate) refused_late: u64,
    /// The client was over.
    pub(crate) refused_over: u64,
    /// Retries that the budget did not allow.
    pub(crate) retries_denied: u64,
}

impl Counts {
    pub(crate) const fn closed(&mut self, by: ClosedBy) {
        self.closed[by as usize] += 1;
    }

    pub(crate) const fn retried(&mut self, reason: RetryReason) {
        self.retries[reason as usize] += 1;
    }

    pub(crate) fn all_closed(&self) -> impl Iterator<Item = (ClosedBy, u64)> + '_ {
        ClosedBy::ALL.into_iter().zip(self.closed)
    }

    pub(crate) fn all_retries(&self) -> impl Iterator<Item = (RetryReason, u64)> + '_ {
        RetryReason::ALL.into_iter().zip(self.retries)
    }
}
