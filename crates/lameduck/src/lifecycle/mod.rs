//! Handles: what a program holds of its lifecycle. They never wait for the driver; they send, and read atomics.

mod drain;
#[cfg(feature = "tokio")]
mod drains;
mod ended;
mod enrol;
mod epilogue;
#[cfg(feature = "group")]
mod grouped;
mod guard;
#[cfg(feature = "tower")]
mod layer;
mod more;
mod participant;
#[cfg(feature = "tokio")]
mod run;
#[cfg(feature = "tokio")]
mod spawn;
mod start;
mod turns;
mod wait;
#[cfg(feature = "tokio")]
mod worker;

use std::{fmt, future::Future, io, sync::Arc, time::Duration};

pub use drain::Drain;
pub use ended::Ended;
pub use enrol::{Enrol, EnrolError};
pub use epilogue::{Begun, Epilogue};
#[cfg(feature = "group")]
pub use grouped::TurnsTaken;
pub use guard::Guard;
#[cfg(feature = "tower")]
pub use layer::{DrainBody, DrainFuture, DrainLayer, DrainService};
pub use more::{Given, Granting, NoParticipant};
pub use participant::{Member, Participant, Place};
#[cfg(feature = "tokio")]
pub use run::run;
pub use start::{Start, StartError};
pub use turns::{Cancel, Turns, Wanted, Wish};
pub use wait::{Draining, Over, Running};
#[cfg(feature = "tokio")]
pub use worker::{Stop, Worker};

use crate::{
    driver::{Figures, Inflight, Observer, Recent, Shared, Speaker, Status},
    inflight::{Cancellation, Closed},
    machine::{Input, ParticipantId},
    vocab::{Cause, Health, Outcome, Phase, Plan, Report, Switch},
};

/// A service's lifecycle: a cheap handle, to be cloned freely.
///
/// Get one from [`run`](crate::run), from [`Lifecycle::from_env`] beside a server of your own, or from
/// [`Lifecycle::embedded`] in tests and larger programs.
///
/// # Examples
/// ```
/// use lameduck::{Lifecycle, Outcome, Phase, Plan, Preset, Window};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
/// life.ready();
/// let guard = life.enter().expect("running");
/// life.shutdown("the example is over");
/// drop(guard);
/// assert_eq!(life.wait(), Outcome::Drained);
/// assert_eq!(life.phase(), Phase::Stopped);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Lifecycle {
    shared: Arc<Shared>,
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

impl Lifecycle {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    #[cfg(any(feature = "tower", test))]
    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The phase: one atomic load.
    #[inline]
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// The plan; it does not change.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.shared.plan()
    }

    /// Time since the lifecycle began: the clock of every instant in its reports.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.now()
    }

    /// Why it leaves, once it was asked to.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.shared.request().map(|request| request.cause.clone())
    }

    /// What is in flight, for servers that count it and for pages that show it.
    #[must_use]
    pub fn inflight(&self) -> &Inflight {
        self.shared.inflight()
    }

    /// What a person is told: phase, in flight, blockers, deadline.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.shared)
    }

    /// Everything that is counted, read now: for exporters of metrics. Requests pay nothing for it.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }

    /// Names this lifecycle wherever it is spoken of: 32 hexadecimal digits, made when it began. It stands in the report, in metrics, in
    /// traces and in logs.
    #[must_use]
    pub fn drain_id(&self) -> &str {
        self.shared.ledger().drain_id()
    }

    /// How the process is doing: what it holds, and what it is at work on. A few atomic loads; what the system tells is read at most once a
    /// second, by whoever asks first.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// What work sees of the shutdown.
    #[must_use]
    pub fn drain(&self) -> Drain {
        Drain::new(Arc::clone(&self.shared))
    }

    /// Tells work that nobody waits for it any longer, and why: the drain's end was reached, the shutdown was cut, or all is over.
    ///
    /// # Phases
    /// Not before the drain's end: until then requests are served and work is waited for. To wind down in time listen to
    /// [`drain`](Self::drain).
    ///
    /// # Examples
    /// ```
    /// use lameduck::{Lifecycle, Plan, Preset, Why, Window};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
    /// let import = life.cancellation().child("import");
    /// life.ready();
    /// life.shutdown("the example is over");
    /// life.cut();
    /// let _ = life.wait();
    /// let cancelled = import.cancelled_by().expect("cut");
    /// assert_eq!(cancelled.why(), &Why::Cut);
    /// assert!(cancelled.cause().is_some_and(|cause| cause.to_string().contains("the example is over")));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cancellation(&self) -> Cancellation {
        self.shared.cancelling.cancellation().clone()
    }

    /// Enrols a participant: something that must be ready before `Running` and ends before `Stopped`.
    #[must_use = "a participant enrols with `register`"]
    pub fn participate(&self, name: impl Into<String>) -> Enrol {
        Enrol::new(Arc::clone(&self.shared), name.into())
    }

    /// The place of a participant by its name: for those who depend on what they know by name only.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<Place> {
        let at = self
            .shared
            .seats()
            .iter()
            .position(|seat| seat.name == name)?;
        let id = ParticipantId::new(u32::try_from(at).ok()?);
        Some(Place::new(Arc::clone(&self.shared), id))
    }

    /// Enters work that the shutdown waits for, until the guard is dropped.
    ///
    /// # Phases
    /// Open from the start until the last connection has ended in `Draining`: work that a request began may still enter.
    ///
    /// # Errors
    /// [`Closed`] after that: nothing would wait for the work.
    #[inline]
    pub fn enter(&self) -> Result<Guard, Closed> {
        self.shared.inflight().guards.enter().map(Guard::new)
    }

    /// Says that start-up is complete: `Running` begins once every participant is ready. Repeating it changes nothing.
    ///
    /// [`run`](crate::run) says it when its function returns, [`draining`](Self::draining) when it is called.
    pub fn ready(&self) {
        self.send(Input::Started);
    }

    /// Says that the program is alive: for the watchdog of a service supervisor, at least as often as [`watchdog`](Self::watchdog) says.
    ///
    /// [`run`](crate::run) does it from a task on its runtime. With a runtime of your own do it from a task there, so that a runtime whose
    /// workers are all blocked is noticed.
    pub fn beat(&self) {
        self.shared.beat();
    }

    /// How often the program is to [`beat`](Self::beat): a quarter of the time after which the service manager would end it. `None`: nobody
    /// watches.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        let supervisor = self.shared.supervisor()?;
        supervisor.watchdog().map(|interval| interval / 4)
    }

    /// Says that start-up failed: hooks of what had started run, and the outcome is [`Outcome::StartFailed`].
    pub fn start_failed(&self, why: impl fmt::Display) {
        self.send(Input::StartFailed {
            why: why.to_string(),
        });
    }

    /// Asks to terminate, as a signal would. A repeat changes nothing.
    pub fn shutdown(&self, why: impl Into<String>) {
        self.send(Input::Terminate { why: why.into() });
    }

    /// Asks to terminate, with less time than the plan gives: `grace` from now to SIGKILL, and never more than the plan has. See
    /// [`Plan::shortened`].
    ///
    /// # Phases
    /// What waits for its turn gets the earlier of the two deadlines, and waits less long. Once the service is leaving its deadline stands, and
    /// this changes nothing; whoever cannot wait for it [cuts](Self::cut).
    pub fn shutdown_within(&self, grace: Duration, why: impl Into<String>) {
        self.send(Input::TerminateWithin {
            why: why.into(),
            grace,
        });
    }

    /// Announces that it will be asked to terminate after `delay`: until then everything is served, and [`cancel`](Self::cancel) takes it
    /// back. Said again, the last word counts; whatever asks earlier comes earlier.
    ///
    /// # Phases
    /// Only in `Running`.
    pub fn shutdown_after(&self, delay: Duration, why: impl Into<String>) {
        self.send(Input::Announce {
            why: why.into(),
            delay,
        });
    }

    /// Takes back a departure that has not begun: one that was announced, or that waits for its turn. What it returns says whether that was
    /// still possible.
    ///
    /// # Errors
    /// [`Uncancellable`](crate::machine::Uncancellable): nothing waits, a signal asked for it, or clients have been told already.
    ///
    /// # Cancel safety
    /// The request is made by the call; dropping the future loses only the answer.
    pub fn cancel(&self, why: impl Into<String>) -> Cancel {
        Cancel::ask(&self.shared, why.into())
    }

    /// Lets requests to terminate wait for a turn, which the caller gives: for replicas that must not all leave at once.
    ///
    /// A request keeps its deadline while it waits, and everything is served. It leaves without a turn when only `needs` is left before the
    /// drain's end; `None`: half of the drain's time, at least the window's ceiling. A service that has failed does not wait, nor does one that
    /// is cut. `None` is returned if somebody gives turns already.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lameduck::{Lifecycle, Outcome, Phase, Plan, Preset, Window};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
    /// let mut turns = life.turns(None).expect("nobody else gives turns");
    /// life.ready();
    /// life.running().await;
    ///
    /// life.shutdown("a new version");
    /// let wish = turns.wanted().await;
    /// assert_eq!(life.phase(), Phase::Running);
    /// wish.granted("the only one of its group");
    /// assert_eq!(life.outcome().await, Outcome::Drained);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn turns(&self, needs: Option<Duration>) -> Option<Turns> {
        let plan = self.plan();
        let needs = needs.unwrap_or_else(|| (plan.drain_end() / 2).max(plan.window().ceiling));
        Turns::take(&self.shared, needs)
    }

    /// Gives a participant more time than its budget, by its name, as an operator does: as far as the end of the drain
    /// allows, and at most 16 times in one shutdown. The participant is [told](Participant::given).
    ///
    /// # Phases
    /// Once the service was asked to leave and until the participant ended; otherwise it changes nothing.
    ///
    /// # Errors
    /// [`NoParticipant`] if none has this name.
    pub fn grant(&self, name: &str, by: Duration) -> Result<(), NoParticipant> {
        let place = self.place(name).ok_or_else(|| NoParticipant {
            name: name.to_owned(),
        })?;
        self.send(Input::Grant(place.id(), by));
        Ok(())
    }

    /// Cuts the shutdown: the end, now, in any phase. What is in flight is lost.
    pub fn cut(&self) {
        self.send(Input::Cut);
    }

    /// Asks to reload, as SIGHUP would: what was given to [`on_reload`](Self::on_reload) is called.
    ///
    /// # Phases
    /// Only in `Running`; in any other phase it is refused, and a line in the report says so.
    pub fn reload(&self) {
        self.send(Input::Reload);
    }

    /// Takes part in the end's last moment: see [`Epilogue`].
    pub fn epilogue(&self) -> Epilogue {
        Epilogue::new(Arc::clone(&self.shared), Speaker::WRITER)
    }

    /// Writes a line into the report; at most [`Report::NOTES`] are kept.
    pub fn note(&self, what: impl Into<String>) {
        self.send(Input::Note(what.into()));
    }

    /// Tells observers, and so the audit, that a part of the program stands otherwise than before; notes of the status show it.
    ///
    /// At most 4,096 of these and of [notes](Self::note) wait for the driver; more are dropped and counted in the report.
    pub fn switched(&self, switch: Switch) {
        self.send(Input::Switched(switch));
    }

    /// The one `T` of this lifecycle, made when somebody asks for it first: where crates that build on it keep what belongs to all of it, such as the
    /// list of its circuit breakers.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use lameduck::{Lifecycle, Plan, Preset};
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// #[derive(Default)]
    /// struct Uploads(AtomicU64);
    ///
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local))?;
    /// life.common::<Uploads>().0.fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(life.clone().common::<Uploads>().0.load(Ordering::Relaxed), 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn common<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.shared.commons().of()
    }

    /// Tells an observer what happened lately, then what happens, until the end.
    ///
    /// # Errors
    /// No thread is left for it, or there are 16 observers already.
    pub fn observe(
        &self,
        name: impl Into<String>,
        observer: impl Observer + 'static,
    ) -> io::Result<()> {
        self.shared.observe(name.into(), Box::new(observer))
    }

    /// What happened lately, for pages and for those who come late.
    #[must_use]
    pub fn recent(&self) -> Recent {
        self.shared.recent()
    }

    /// Calls `reload` on SIGHUP, on a thread of its own, one reload at a time.
    ///
    /// # Phases
    /// Only in `Running`; a SIGHUP in any other phase is refused and recorded.
    ///
    /// # Errors
    /// What `reload` returns as an error is logged and reported; the old configuration stays in force.
    pub fn on_reload<E: fmt::Display>(
        &self,
        name: impl Into<String>,
        mut reload: impl FnMut() -> Result<(), E> + Send + 'static,
    ) {
        self.shared.on_reload(
            name.into(),
            Box::new(move || reload().map_err(|error| error.to_string())),
        );
    }

    /// Waits for `Running`.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing (INV-8).
    #[must_use = "futures do nothing unless polled"]
    pub fn running(&self) -> Running {
        Running::new(&self.shared)
    }

    /// The future for the shutdown hook of a server that you keep, such as `axum::serve(…).with_graceful_shutdown(…)`.
    ///
    /// Calling it says that start-up is complete, and enrols your server as participant `server`, which
    /// [`finish`](Self::finish) ends. The future resolves when the lame-duck window is over: until then the server keeps
    /// accepting and serving, which is what loses no requests. Should the server never return, the driver ends the
    /// process at the deadline all the same.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing (INV-8).
    #[must_use = "futures do nothing unless polled"]
    pub fn draining(&self) -> Draining {
        Draining::new(&self.shared)
    }

    /// Waits for the end.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing (INV-8).
    #[must_use = "futures do nothing unless polled"]
    pub fn outcome(&self) -> Over {
        Over::new(&self.shared)
    }

    /// Ends the participant that [`draining`](Self::draining) enrolled, and waits for the end. Return the outcome from
    /// `main`.
    ///
    /// # Phases
    /// If nothing asked for termination yet, the server ended by itself: that is a request of its own.
    ///
    /// # Cancel safety
    /// Dropping it does not bring the participant back; the shutdown goes on.
    pub fn finish(&self) -> impl Future<Output = Outcome> + Send + 'static {
        wait::end_server(&self.shared);
        self.outcome()
    }

    /// Blocks until the end.
    pub fn wait(&self) -> Outcome {
        self.shared.wait()
    }

    /// The report, once it is over.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.shared.report()
    }

    fn send(&self, input: Input) {
        self.shared.send(input);
    }
}
