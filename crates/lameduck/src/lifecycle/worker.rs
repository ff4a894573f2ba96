//! Workers: background tasks that take part in the shutdown.

use std::{fmt, future::Future, panic::Location, time::Duration};

use super::{
    EnrolError, Granting, Lifecycle, Member, Participant, Place, more::Voice, spawn::watched,
};
use crate::{
    inflight::{Cancellation, Fired, Token},
    vocab::Terms,
};

/// What a worker sees: when to finish; and how it speaks while it does.
#[derive(Clone, Debug)]
pub struct Stop {
    closing: Token,
    voice: Voice,
}

impl Stop {
    /// Resolves when nothing that depends on the worker is at work any longer: finish now.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn closing(&self) -> Fired {
        self.closing.fired()
    }

    /// Whether it is time to finish: one atomic load.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.is_fired()
    }

    /// Tells what the worker began that nobody waits for it any longer, and why: see [`Place::cancellation`].
    #[must_use]
    pub fn cancellation(&self) -> Cancellation {
        self.voice.cancellation()
    }

    /// It is at work: `done` of `total`, and at what. See [`Participant::working_on`].
    pub fn working_on(&self, done: u64, total: u64, note: impl Into<String>) {
        self.voice.working(done, total, note.into());
    }

    /// It wishes for more time than its budget; resolves to how much more it gets. See [`Participant::need_more`].
    ///
    /// # Cancel safety
    /// The wish is made by the call. Dropping the future takes nothing back: what is granted is granted.
    pub fn need_more(&self, by: Duration, why: impl Into<String>) -> Granting {
        self.voice.need_more(by, why.into())
    }

    /// How much time it has, read now; `None` until the service was asked to leave.
    #[must_use]
    pub fn terms(&self) -> Option<Terms> {
        self.voice.terms()
    }
}

/// A background task that the shutdown waits for.
///
/// Dropping the handle changes nothing; the task goes on.
#[derive(Debug)]
pub struct Worker {
    pub(super) place: Place,
    pub(super) runtime: tokio::runtime::Handle,
}

impl Member for Worker {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Worker {
    /// Gives it an asynchronous stop hook: run at most once, in `Stopped`, before the hooks of what it depends on and
    /// inside the reserve (INV-10).
    pub fn on_stop<F, Fut, E>(&self, hook: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + 'static,
    {
        let runtime = self.runtime.clone();
        self.place.hook(Box::new(move |ended| {
            let task =
                runtime.spawn(async move { hook().await.map_err(|error| error.to_string()) });
            // A second task, because the first may panic.
            runtime.spawn(async move {
                let result = task.await.unwrap_or_else(|error| {
                    Err(if error.is_panic() {
                        "panicked"
                    } else {
                        "cancelled"
                    }
                    .to_owned())
                });
                ended.say(result);
            });
        }));
    }
}

impl Lifecycle {
    /// Spawns a background task as a participant: ready at once, told to finish when nothing that depends on it is at
    /// work, done when its future ends. In `Running`, a worker that panics ends the service. Dumps list it, as they do what [`spawn`](Self::spawn) spawns.
    ///
    /// # Errors
    /// [`EnrolError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn worker<F, Fut>(&self, name: impl Into<String>, work: F) -> Result<Worker, EnrolError>
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.worker_within(name, None, work)
    }

    /// As [`worker`](Self::worker), with a budget from the moment it is told to finish.
    ///
    /// # Errors
    /// [`EnrolError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn worker_within<F, Fut>(
        &self,
        name: impl Into<String>,
        budget: impl Into<Option<Duration>>,
        work: F,
    ) -> Result<Worker, EnrolError>
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let mut enrol = self.participate(name.clone());
        if let Some(budget) = budget.into() {
            enrol = enrol.budget(budget);
        }
        let participant = enrol.register()?;
        let runtime = tokio::runtime::Handle::current();
        let place = participant.place().clone();
        let work = work(Stop {
            closing: participant.closing_token(),
            voice: participant.voice(),
        });
        let task = answer(participant, self.drain().steering(), work);
        runtime.spawn(watched(&self.shared, name, Location::caller(), task));
        Ok(Worker { place, runtime })
    }
}

/// Runs the work; a panic drops the participant, which says that it failed.
async fn answer(participant: Participant, mut steering: Fired, work: impl Future<Output = ()>) {
    participant.ready();
    let mut work = std::pin::pin!(work);
    let mut heard = false;
    std::future::poll_fn(|cx| {
        if !heard && std::pin::Pin::new(&mut steering).poll(cx).is_ready() {
            heard = true;
            participant.ack();
        }
        work.as_mut().poll(cx)
    })
    .await;
    participant.done();
}
