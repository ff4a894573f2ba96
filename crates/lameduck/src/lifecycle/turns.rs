//! Turns to leave: who gives them, and what they are asked.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    driver::{Shared, Wished},
    inflight::Fired,
    machine::{Input, Uncancellable, WishEnd},
    vocab::Cause,
};

/// Gives turns to leave: whoever holds it answers each wish, and requests wait in `Running` until it does.
///
/// For replicas that must not all leave at once. What waits keeps the deadline of its request: it leaves without a turn when
/// what is left is what its own drain needs. Dropping it lets what waits leave, and later requests wait for nobody.
#[must_use = "dropping it gives no turns: requests wait for nobody"]
pub struct Turns {
    shared: Arc<Shared>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

impl Turns {
    pub(super) fn take(shared: &Arc<Shared>, needs: Duration) -> Option<Self> {
        let tell = || shared.send(Input::TakesTurns { needs: Some(needs) });
        shared.turns().attach(tell).then(|| Self {
            shared: Arc::clone(shared),
        })
    }

    /// Resolves when the service wants to leave, once for each wish. There is a second one only if the first was taken back.
    ///
    /// # Phases
    /// Resolves in `Running` only.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it loses no wish.
    pub const fn wanted(&mut self) -> Wanted<'_> {
        Wanted { turns: self }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        let tell = || self.shared.send(Input::TakesTurns { needs: None });
        self.shared.turns().detach(tell);
    }
}

/// The future of [`Turns::wanted`].
///
/// # Cancel safety
/// Cancel safe: dropping it loses no wish.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Wanted<'a> {
    turns: &'a mut Turns,
}

impl Future for Wanted<'_> {
    type Output = Wish;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Wish> {
        let shared = &self.turns.shared;
        match shared.turns().poll_wish(cx.waker()) {
            Some(wished) => Poll::Ready(Wish {
                shared: Arc::clone(shared),
                wished,
            }),
            None => Poll::Pending,
        }
    }
}

/// The service wants to leave, and waits.
pub struct Wish {
    shared: Arc<Shared>,
    wished: Arc<Wished>,
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wish")
            .field("request", &self.wished.request)
            .finish_non_exhaustive()
    }
}

impl Wish {
    /// Why it wants to leave.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.wished.request.cause
    }

    /// How long it still waits; then it leaves without. Less after whoever asked again with less time.
    #[must_use]
    pub fn left(&self) -> Duration {
        let machine = self.shared.machine();
        let hurried = machine.waits.as_ref().filter(|waits| waits.for_turn);
        let until = self.wished.request.until;
        let until = hurried.map_or(until, |waits| waits.until.min(until));
        until.saturating_sub(self.shared.now())
    }

    /// How long until its drain ends, whenever it begins: whoever gave a turn may count on having it back a reserve later.
    #[must_use]
    pub fn drain_left(&self) -> Duration {
        self.wished
            .request
            .drain_end
            .saturating_sub(self.shared.now())
    }

    /// It may leave. `note` says why, for the report: which slot, or why it leaves alone. Given twice, or too late, it changes
    /// nothing: [`over`](Self::over) says what became of the wish.
    pub fn granted(&self, note: impl Into<String>) {
        self.shared.send(Input::TurnGiven {
            wish: self.wished.request.number,
            note: note.into(),
        });
    }

    /// Resolves when nothing waits for the turn any longer: the service leaves, the request was taken back, or it was cut.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub async fn over(&self) -> WishEnd {
        self.wished.over.fired().await;
        // Set before it fires; a wish that nobody ended could only be one of a driver that is gone.
        self.wished.end.get().copied().unwrap_or(WishEnd::Cut)
    }
}

/// The future of [`Lifecycle::cancel`](crate::Lifecycle::cancel).
///
/// # Cancel safety
/// The request was made when it was called; dropping this loses only the answer.
#[must_use = "futures do nothing unless polled; the request was made all the same"]
pub struct Cancel {
    heard: Fired,
    asked: Arc<crate::driver::Cancelling>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").finish_non_exhaustive()
    }
}

impl Cancel {
    pub(super) fn ask(shared: &Arc<Shared>, why: String) -> Self {
        let asked = shared
            .turns()
            .cancelling(|| shared.send(Input::Cancel { why }));
        if shared.outcome().is_some() {
            // Nobody else answers any more.
            shared.turns().close();
        }
        Self {
            heard: asked.heard.fired(),
            asked,
        }
    }
}

impl Future for Cancel {
    type Output = Result<(), Uncancellable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.heard).poll(cx) {
            // Set before it fires.
            Poll::Ready(()) => {
                let answer = self.asked.answer.get().copied();
                Poll::Ready(answer.unwrap_or(Err(Uncancellable::Leaving)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
