//! The end of a participant, as whoever speaks for it is told.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    driver::{Shared, Waited},
    inflight::Fired,
    vocab::ParticipantState,
};

/// Resolves when a participant is waited for no longer: see [`Participant::ended`](super::Participant::ended).
///
/// # Cancel safety
/// Cancel safe: dropping it changes nothing.
#[must_use = "futures do nothing unless polled"]
pub struct Ended {
    ended: Fired,
    over: Fired,
    waited: Arc<Waited>,
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").finish_non_exhaustive()
    }
}

impl Ended {
    pub(super) fn new(shared: &Shared, waited: Arc<Waited>) -> Self {
        Self {
            ended: waited.fired(),
            over: shared.over.fired(),
            waited,
        }
    }
}

impl Future for Ended {
    /// How it ended; `None` if the process ended first.
    type Output = Option<ParticipantState>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let is_told = Pin::new(&mut this.ended).poll(cx).is_ready();
        if is_told || Pin::new(&mut this.over).poll(cx).is_ready() {
            return Poll::Ready(this.waited.state());
        }
        Poll::Pending
    }
}
