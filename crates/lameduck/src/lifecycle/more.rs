//! More time: a participant wishes for it, an operator gives it, and both are told by futures.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    driver::{Grants, Shared},
    inflight::Fired,
    machine::{Answer, Input, ParticipantId},
    vocab::Terms,
};

/// How a participant speaks while it leaves, kept by its handle and by the task of a worker.
#[derive(Clone)]
pub(super) struct Voice {
    pub(super) shared: Arc<Shared>,
    pub(super) id: ParticipantId,
    pub(super) grants: Arc<Grants>,
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Voice").field(&self.id).finish()
    }
}

impl Voice {
    #[cfg(feature = "tokio")]
    pub(super) fn cancellation(&self) -> crate::inflight::Cancellation {
        self.shared.cancellation_of(self.id)
    }

    pub(super) fn answer(&self, answer: Answer) {
        self.shared.send(Input::Answer(self.id, answer));
    }

    pub(super) fn working(&self, done: u64, total: u64, note: String) {
        self.answer(Answer::Working { done, total, note });
    }

    pub(super) fn need_more(&self, by: Duration, why: String) -> Granting {
        let wish = self.grants.wish();
        if let Some((wish, _)) = wish {
            self.answer(Answer::NeedMore { wish, by, why });
        }
        Granting {
            wish,
            over: self.shared.over.fired(),
            grants: Arc::clone(&self.grants),
        }
    }

    pub(super) fn given(&self) -> Given {
        let (before, more) = self.grants.given();
        Given {
            before,
            more,
            grants: Arc::clone(&self.grants),
        }
    }

    /// The terms on which it leaves, read now.
    pub(super) fn terms(&self) -> Option<Terms> {
        let status = self.shared.machine();
        let now = self.shared.now();
        let left = status.drain_end?.saturating_sub(now);
        let one = status
            .participants
            .iter()
            .find(|one| one.enrolment().id == self.id)?;
        let used = one.closed_at().map(|at| now.saturating_sub(at));
        Some(Terms::new(left, one.budget(), used))
    }
}

/// Resolves to what a wish got: see [`Participant::need_more`](super::Participant::need_more).
///
/// # Cancel safety
/// Cancel safe: dropping it changes nothing. The wish stands, and what it gets is got.
#[must_use = "futures do nothing unless polled; the wish stands all the same"]
pub struct Granting {
    wish: Option<(u32, Fired)>,
    over: Fired,
    grants: Arc<Grants>,
}

impl fmt::Debug for Granting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granting").finish_non_exhaustive()
    }
}

impl Future for Granting {
    type Output = Duration;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration> {
        let this = &mut *self;
        let Some((wish, answered)) = &mut this.wish else {
            return Poll::Ready(Duration::ZERO);
        };
        let is_answered = Pin::new(answered).poll(cx).is_ready();
        // After the end nobody answers.
        if is_answered || Pin::new(&mut this.over).poll(cx).is_ready() {
            return Poll::Ready(this.grants.of(*wish));
        }
        Poll::Pending
    }
}

/// Resolves when operators gave more time: see [`Participant::given`](super::Participant::given).
///
/// # Cancel safety
/// Cancel safe: dropping it changes nothing, and what was given stays given.
#[must_use = "futures do nothing unless polled"]
pub struct Given {
    before: Duration,
    more: Fired,
    grants: Arc<Grants>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

impl Future for Given {
    type Output = Duration;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration> {
        let this = &mut *self;
        if Pin::new(&mut this.more).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let (now, _) = this.grants.given();
        Poll::Ready(now.saturating_sub(this.before))
    }
}

/// No participant has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoParticipant {
    /// The name.
    pub name: String,
}

impl fmt::Display for NoParticipant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no participant is named {:?}", self.name)
    }
}

impl std::error::Error for NoParticipant {}
