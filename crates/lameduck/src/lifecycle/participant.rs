//! A participant's own handle.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Ended,
    more::{Given, Granting, Voice},
};
use crate::{
    driver::{HookRun, Shared, Waited},
    inflight::{Cancellation, Fired, Token},
    machine::{Answer, Input, ParticipantId},
    vocab::{ListenerReport, Terms},
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

    /// Tells what works for the participant that nobody waits for it any longer: it has ended or was given up, or the drain is over.
    ///
    /// # Examples
    /// ```
    /// use lameduck::{Lifecycle, Member, Plan, Preset, Why, Window};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
    /// let db = life.participate("db").register()?;
    /// let query = db.place().cancellation().child("query");
    /// db.ready();
    /// life.ready();
    /// life.shutdown("the example is over");
    /// db.done();
    /// let _ = life.wait();
    /// let cancelled = query.cancelled_by().expect("db is over");
    /// assert_eq!((cancelled.why(), cancelled.to_string().starts_with("participant db is over")), (&Why::Ended, true));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cancellation(&self) -> Cancellation {
        self.shared.cancellation_of(self.id)
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
    voice: Voice,
    budget: Option<Duration>,
    closing: Token,
    asked_again: Token,
    waited: Arc<Waited>,
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
    pub(super) fn new(
        voice: Voice,
        budget: Option<Duration>,
        closing: Token,
        asked_again: Token,
        waited: Arc<Waited>,
    ) -> Self {
        Self {
            place: Place::new(Arc::clone(&voice.shared), voice.id),
            voice,
            budget,
            closing,
            asked_again,
            waited,
            ended: false,
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn closing_token(&self) -> Token {
        self.closing.clone()
    }

    #[cfg(feature = "tokio")]
    pub(super) fn voice(&self) -> Voice {
        self.voice.clone()
    }

    /// How long it may take once it is told to close: what it enrolled with, or what follows from a [`History`](crate::History); `None`:
    /// until the drain ends. What it is granted beyond that is not in it.
    #[must_use]
    pub const fn budget(&self) -> Option<Duration> {
        self.budget
    }

    /// It is ready to serve.
    pub fn ready(&self) {
        self.send(Input::Ready(self.place.id));
    }

    /// It heard the request and will finish. Who answers is not asked again, and is reported as at work, not silent.
    pub fn ack(&self) {
        self.voice.answer(Answer::Ack);
    }

    /// It is at work: `done` of `total`.
    pub fn working(&self, done: u64, total: u64) {
        self.voice.working(done, total, String::new());
    }

    /// It is at work, and at what: people read it in the status and in the report. At most 256 bytes are kept.
    pub fn working_on(&self, done: u64, total: u64, note: impl Into<String>) {
        self.voice.working(done, total, note.into());
    }

    /// It wishes for more time than its budget, and why; resolves to how much more it gets.
    ///
    /// That is what it asks for or what the end of the drain leaves of it, also nothing: no wish moves the end of the
    /// drain. Without a budget it has all there is, and gets nothing. The first 16 wishes of a shutdown are answered so,
    /// further ones get nothing.
    ///
    /// # Phases
    /// From the request to terminate until it ended; before and after that it gets nothing.
    ///
    /// # Cancel safety
    /// The wish is made by the call. Dropping the future takes nothing back: what is granted is granted.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "tokio")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lameduck::{Lifecycle, Outcome, Plan, Preset, Window};
    /// use std::time::Duration;
    ///
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
    /// let outbox = life.participate("outbox").budget(Duration::from_millis(100)).register()?;
    /// outbox.ready();
    /// life.ready();
    /// life.shutdown("deploy");
    /// outbox.closing().await;
    /// let more = outbox.need_more(Duration::from_millis(300), "two batches left").await;
    /// assert_eq!(more, Duration::from_millis(300), "the drain lasts for seconds");
    /// outbox.done_with([("batches", 2)]);
    /// assert_eq!(life.outcome().await, Outcome::Drained);
    /// # Ok(()) }
    /// # #[cfg(not(feature = "tokio"))]
    /// # fn main() {}
    /// ```
    pub fn need_more(&self, by: Duration, why: impl Into<String>) -> Granting {
        self.voice.need_more(by, why.into())
    }

    /// Resolves when operators gave it more time than it had when this was called: by how much.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn given(&self) -> Given {
        self.voice.given()
    }

    /// How much time it has, read now; `None` until the service was asked to leave.
    #[must_use]
    pub fn terms(&self) -> Option<Terms> {
        self.voice.terms()
    }

    /// It finished.
    pub fn done(self) {
        self.end(Answer::done());
    }

    /// It finished, and counted this: the status, the report and observers have it. At most 32 figures are kept, their names cut
    /// after 64 bytes.
    pub fn done_with<N: Into<String>>(self, figures: impl IntoIterator<Item = (N, i64)>) {
        let figures = figures.into_iter();
        let figures = figures
            .map(|(name, figure)| (name.into(), figure))
            .collect();
        self.end(Answer::Done { figures });
    }

    /// It will not finish for this shutdown: it is not waited for any longer, and the report names it. The outcome is
    /// [`Failed`](crate::Outcome::Failed) then, unless it is worse.
    ///
    /// # Phases
    /// Before a request to terminate it takes no further part from here on.
    pub fn refuse(self, why: impl Into<String>) {
        self.end(Answer::Refused { why: why.into() });
    }

    /// What it stands for has gone, for all that is known: for whoever speaks for another process.
    ///
    /// # Phases
    /// Before a request to terminate nobody waits for it until it has [`returned`](Self::returned); afterwards it has
    /// failed.
    pub fn away(&self, why: impl Into<String>) {
        self.voice.answer(Answer::Away { why: why.into() });
    }

    /// What it stands for is back, and is to say that it is [`ready`](Self::ready).
    ///
    /// # Phases
    /// Changes nothing after a request to terminate.
    pub fn returned(&self) {
        self.send(Input::Returned(self.place.id));
    }

    /// It failed: in `Running` that ends the service.
    pub fn failed(self, why: impl fmt::Display) {
        let why = why.to_string();
        self.end(Answer::Failed { why });
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

    /// Tells what works for it that nobody waits for it any longer, and why: see [`Place::cancellation`].
    #[must_use]
    pub fn cancellation(&self) -> Cancellation {
        self.place.cancellation()
    }

    /// Resolves when it was asked again, having said nothing for half of its budget.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn asked_again(&self) -> Fired {
        self.asked_again.fired()
    }

    /// Resolves when it is waited for no longer, and to how it ended: by its own last word, given up, or not asked at all;
    /// to `None` if the process ended first.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn ended(&self) -> Ended {
        Ended::new(&self.place.shared, Arc::clone(&self.waited))
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

    fn end(mut self, answer: Answer) {
        self.ended = true;
        self.voice.answer(answer);
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
            self.voice.answer(Answer::Failed {
                why: why.to_owned(),
            });
        }
    }
}
