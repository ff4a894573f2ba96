//! What a client counts, for whoever asks.

use super::pool::Levels;
use super::pool::counts::ClosedBy;
use super::retry::RetryReason;

/// The numbers of a [`Client`](super::Client) at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientFigures {
    /// Connections, those that open and close included.
    pub open: usize,
    /// Connections that nobody uses.
    pub idle: usize,
    /// Requests that have a connection, until their response is read to its end.
    pub in_flight: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Requests that began.
    pub requests: u64,
    /// Connections that came about.
    pub opened: u64,
    /// Connections that ended, or did not come about, by why: in the order of [`ClosedBy::ALL`].
    pub closed: Vec<(ClosedBy, u64)>,
    /// Retries by why: in the order of [`RetryReason::ALL`].
    pub retries: Vec<(RetryReason, u64)>,
    /// Retries that the budget did not allow.
    pub retries_denied: u64,
    /// Requests that were refused because too many waited.
    pub refused_full: u64,
    /// Requests that were refused because they had waited for too long.
    pub refused_late: u64,
    /// Requests that were refused because the client was stopped.
    pub refused_stopped: u64,
}

impl ClientFigures {
    pub(super) fn of(levels: Levels) -> Self {
        let Levels {
            open,
            idle,
            in_flight,
            waiting,
            counts,
        } = levels;
        Self {
            open,
            idle,
            in_flight,
            waiting,
            requests: counts.requests,
            opened: counts.opened,
            closed: counts.all_closed().collect(),
            retries: counts.all_retries().collect(),
            retries_denied: counts.retries_denied,
            refused_full: counts.refused_full,
            refused_late: counts.refused_late,
            refused_stopped: counts.refused_over,
        }
    }

    /// How many connections ended for this reason.
    #[must_use]
    pub fn closed_by(&self, by: ClosedBy) -> u64 {
        let mut closed = self.closed.iter();
        closed
            .find(|(one, _)| *one == by)
            .map_or(0, |(_, count)| *count)
    }

    /// How many retries there were for this reason.
    #[must_use]
    pub fn retries_for(&self, reason: RetryReason) -> u64 {
        let mut retries = self.retries.iter();
        retries
            .find(|(one, _)| *one == reason)
            .map_or(0, |(_, count)| *count)
    }
}
