//! A participant's own handle.

use std::{fmt, sync::Arc};

use crate::{
    driver::{HookRun, Shared},
    inflight::{Fired, Token},
    machine::{Answer, Input, ParticipantId},
    vocab::ListenerReport,
};

/// Where a participant stands in the order: what others name when they depend on it, and where its stop hook hangs.
#[derive(Clone)]
pub struct Place {
    shared: Arc<Shared>,
    id: ParticipantId,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.id).finish()
    }
}

impl Place {
    pub(super) const fn new(shared: Arc<Shared>, id: ParticipantId) -> Self {
        Self { shared, id }
    }

    /// The participant's number: its place in the order of enrolment, from 0 on.
    #[must_use]
    pub const fn id(&self) -> ParticipantId {
        self.id
    }

    pub(crate) fn hook(&self, run: HookRun) {
        if let Some(seat) = self.shared.seats().get_mut(self.id.0 as usize) {
            seat.hook = Some(run);
        }
        self.shared.send(Input::Hooked(self.id));
    }
}

/// What has a [`Place`]: participants, workers, servers.
pub trait Member {
    /// Its place.
    fn place(&self) -> &Place;
}

impl Member for Place {
    fn place(&self) -> &Place {
        self
    }
}

impl Member for Participant {
    fn place(&self) -> &Place {
        &self.place
    }
}

/// Something that takes part in the lifecycle: ready before `Running`, ended before `Stopped`.
///
/// Dropping it without [`done`](Self::done) says that it failed.
#[must_use = "dropping a participant says that it failed"]
pub struct Participant {
    pub(super) place: Place,
    closing: Token,
    asked_again: Token,
    ended: bool,
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participant")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Participant {
    pub(crate) const fn new(
        shared: Arc<Shared>,
        id: ParticipantId,
        closing: Token,
        asked_again: Token,
    ) -> Self {
        Self {
            place: Place { shared, id },
            closing,
            asked_again,
            ended: false,
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn closing_token(&self) -> Token {
        self.closing.clone()
    }

    /// It is ready to serve.
    pub fn ready(&self) {
        self.send(Input::Ready(self.place.id));
    }

    /// It heard the request and will finish. Who answers is not asked again, and is reported as at work, not silent.
    pub fn ack(&self) {
        self.answer(Answer::Ack);
    }

    /// It is at work: `done` of `total`.
    pub fn working(&self, done: u64, total: u64) {
        self.answer(Answer::Working { done, total });
    }

    /// It finished.
    pub fn done(mut self) {
        self.ended = true;
        self.answer(Answer::Done);
    }

    /// It failed: in `Running` that ends the service.
    pub fn failed(mut self, why: impl fmt::Display) {
        self.ended = true;
        self.answer(Answer::Failed {
            why: why.to_string(),
        });
    }

    /// Its listener is closed, in this way.
    pub fn admission_closed(&self, report: ListenerReport) {
        self.send(Input::AdmissionClosed(self.place.id, report));
    }

    /// Resolves in `Draining` once nothing that depends on it is at work: it finishes now.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn closing(&self) -> Fired {
        self.closing.fired()
    }

    /// Resolves when it was asked again, having said nothing for half of its budget.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn asked_again(&self) -> Fired {
        self.asked_again.fired()
    }

    /// Gives it a stop hook: run at most once, on a thread of its own, in `Stopped`, before the hooks of what it depends
    /// on and inside the reserve (INV-10). A second one replaces the first.
    pub fn on_stop<E: fmt::Display>(&self, hook: impl FnOnce() -> Result<(), E> + Send + 'static) {
        self.place.hook(Box::new(move |ended| {
            let name = "lameduck-hook".to_owned();
            let spawned = std::thread::Builder::new().name(name).spawn(move || {
                // A hook that panics has failed; the panic itself was printed by the panic hook.
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook));
                ended.say(match result {
                    Ok(result) => result.map_err(|error| error.to_string()),
                    Err(_) => Err("panicked".to_owned()),
                });
            });
            // Without a thread the callback is dropped, which says that the hook did not run.
            drop(spawned);
        }));
    }

    fn answer(&self, answer: Answer) {
        self.send(Input::Answer(self.place.id, answer));
    }

    fn send(&self, input: Input) {
        self.place.shared.send(input);
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        if !self.ended {
            let why = if std::thread::panicking() {
                "panicked"
            } else {
                "dropped before it was done"
            };
            self.answer(Answer::Failed {
                why: why.to_owned(),
            });
        }
    }
}
