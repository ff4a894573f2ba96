//! `Breaker`: the circuit's word, swapped by whoever has something to say, and its window.
//!
//! Owns what is shared between threads. Decisions are `circuit`'s, counting is `window`'s, outcomes come by `attempt`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::attempt::{Attempt, Pass};
use crate::circuit::{Admission, Circuit, Force, Kind, LAST, Probed, Step, Ticket, Turn};
use crate::clock::Clock;
use crate::panel::{Panel, TableFigures};
use crate::rules::{Counts, Rules};
use crate::settings::{Excuse, Observer, Settings, SettingsError};
use crate::sync::{AtomicU64, Ordering};
use crate::transition::{Figures, Label, Rejected, State, Transition, Why};
use crate::verdict::{Fault, Verdict};
use crate::window::{Seen, Window};

/// A circuit breaker: a cheap handle, to be cloned freely.
///
/// Ask it before each call, and tell it what came of it. While the circuit is closed that takes no lock and no allocation: a load, a look at the
/// clock, one swap that adds to a counter. A call that is dropped without an outcome, as the future of a request whose client has gone, counts as
/// nothing, and a probe that is dropped may be made by somebody else.
///
/// # Examples
/// ```
/// use lameduck_breaker::{Breaker, Settings, State};
///
/// let breaker = Breaker::new("db", Settings::new().failures_in_a_row(3))?;
/// for _ in 0..3 {
///     let attempt = breaker.acquire().expect("closed");
///     attempt.failure();
/// }
/// assert_eq!(breaker.state(), State::Open);
/// let rejected = breaker.acquire().expect_err("open");
/// assert!(rejected.retry_after.as_secs() >= 4);
/// # Ok::<(), lameduck_breaker::SettingsError>(())
/// ```
#[derive(Clone)]
pub struct Breaker {
    core: Arc<Core>,
}

/// What all handles share.
pub(crate) struct Core {
    circuit: Apart<AtomicU64>,
    window: Window,
    rules: Rules,
    clock: Clock,
    /// What the clock said first: zero for this breaker, so that its times are short.
    origin: u64,
    label: Arc<Label>,
    id: u64,
    excuses: Vec<Arc<Excuse>>,
    observers: Vec<Arc<Observer>>,
    /// Where it is listed by itself.
    panels: Vec<Arc<Panel>>,
    /// Read by everybody and written seldom: away from what every call writes.
    rare: Apart<Rare>,
}

/// What no call on a closed circuit touches.
struct Rare {
    since: AtomicU64,
    chance: AtomicU64,
    ignored: AtomicU64,
    abandoned: AtomicU64,
    rejected: AtomicU64,
    probes: AtomicU64,
    opened: AtomicU64,
    half_opened: AtomicU64,
    closed: AtomicU64,
    forced: AtomicU64,
    /// The most that was shown of successes, failures and slow calls: a counter must not go back.
    shown: [AtomicU64; 3],
}

/// Two lines of cache: processors fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("label", &self.core.label)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Breaker {
    /// A closed circuit under this name, which people will read.
    ///
    /// # Errors
    /// [`SettingsError`]: a setting that makes no sense, with its numbers.
    pub fn new(name: impl Into<Arc<str>>, settings: Settings) -> Result<Self, SettingsError> {
        let rules = settings.rules()?;
        let label = Label::new(name.into(), None);
        let core = Core::new(label, rules, &settings, settings.panels.clone());
        let breaker = Self::from_core(Arc::new(core));
        for panel in &settings.panels {
            panel.list(&breaker);
        }
        Ok(breaker)
    }

    /// One of many, which are listed together.
    pub(crate) fn of(label: Arc<Label>, rules: Rules, settings: &Settings) -> Self {
        Self::from_core(Arc::new(Core::new(label, rules, settings, Vec::new())))
    }

    /// Asks to call. Report what came of it to the attempt.
    ///
    /// # Errors
    /// [`Rejected`]: the circuit is open, or enough others probe. Call nobody, and say when to try again.
    #[inline]
    pub fn acquire(&self) -> Result<Attempt<&Self>, Rejected> {
        let pass = self.core.acquire()?;
        Ok(Attempt::new(self, pass))
    }

    /// The same, for an attempt that outlives this handle.
    ///
    /// # Errors
    /// [`Rejected`], as [`acquire`](Self::acquire).
    #[inline]
    pub fn acquire_owned(&self) -> Result<Attempt, Rejected> {
        let pass = self.core.acquire()?;
        Ok(Attempt::new(self.clone(), pass))
    }

    /// How it stands. What is open is shown so until somebody asks to call, also when it is time to probe.
    #[must_use]
    pub fn state(&self) -> State {
        State::of(self.core.circuit())
    }

    /// Whether a call would be refused at this moment. Nothing is reserved: [`acquire`](Self::acquire) decides.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.refusing().is_some()
    }

    /// How it stands, if it would refuse a call at this moment.
    pub(crate) fn refusing(&self) -> Option<State> {
        let circuit = self.core.circuit();
        if Circuit::plainly_closed(circuit.pack()).is_some() {
            return None;
        }
        let now = self.core.now();
        let step = circuit.admit(now, &self.core.rules, || 0);
        matches!(step.then, Admission::Refuse(_)).then(|| State::of(circuit))
    }

    /// Its name, and its key where it is one of many.
    #[must_use]
    pub fn label(&self) -> &Arc<Label> {
        &self.core.label
    }

    /// A number of this process that no other breaker has: what operators name it by.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.core.id
    }

    /// How long it has stood as it does.
    #[must_use]
    pub fn since(&self) -> Duration {
        // Relaxed: for people.
        let since = self.core.rare.0.since.load(Ordering::Relaxed);
        Duration::from_millis(self.core.now().saturating_sub(since))
    }

    /// How long until an open circuit may be probed; zero when that is due, `None` when it is not open.
    #[must_use]
    pub fn probes_in(&self) -> Option<Duration> {
        let circuit = self.core.circuit();
        let left = || circuit.at.saturating_sub(self.core.now());
        (circuit.kind == Kind::Open).then(|| Duration::from_millis(left()))
    }

    /// How many probes are under way.
    #[must_use]
    pub fn probes_out(&self) -> u32 {
        self.core.circuit().out.into()
    }

    /// What the window holds; nothing while the circuit is not closed.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.core.counts(self.core.circuit())
    }

    /// What it has counted since it was made.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.core.figures()
    }

    /// Refuses every call from now on, whatever comes of others, until it is released. Says whether that changed something.
    pub fn force_open(&self, reason: impl Into<String>) -> bool {
        self.core.force(Force::Open, Why::Forced(reason.into()))
    }

    /// Admits every call from now on, whatever comes of it, until it is released. Says whether that changed something.
    pub fn force_closed(&self, reason: impl Into<String>) -> bool {
        self.core.force(Force::Closed, Why::Forced(reason.into()))
    }

    /// Leaves it to itself again, where it stands without force. Says whether that changed something.
    pub fn release(&self, reason: impl Into<String>) -> bool {
        self.core.force(Force::None, Why::Released(reason.into()))
    }

    /// Refuses a call that cannot be made, whatever the circuit would say by now, because it stood like this when it mattered.
    #[cfg(any(feature = "tower", all(test, loom)))]
    pub(crate) fn refuse(&self, stood: State) -> Rejected {
        self.core.refuse(stood)
    }

    /// Whether nobody else has it. What whoever had it last did to it is seen then.
    pub(crate) fn is_alone(&mut self) -> bool {
        // Not by the number of handles, which is read in no order.
        Arc::get_mut(&mut self.core).is_some()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn from_core(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl Core {
    fn new(label: Arc<Label>, rules: Rules, settings: &Settings, panels: Vec<Arc<Panel>>) -> Self {
        let clock = settings.the_clock();
        let origin = clock.now();
        let id = next_id();
        let zero = || AtomicU64::new(0);
        Self {
            circuit: Apart(AtomicU64::new(Circuit::NEW.pack())),
            window: Window::new(&rules),
            rules,
            clock,
            origin,
            label,
            id,
            excuses: settings.excuses.clone(),
            observers: settings.observers.clone(),
            panels,
            rare: Apart(Rare {
                since: zero(),
                chance: AtomicU64::new(seed(id)),
                ignored: zero(),
                abandoned: zero(),
                rejected: zero(),
                probes: zero(),
                opened: zero(),
                half_opened: zero(),
                closed: zero(),
                forced: zero(),
                shown: [zero(), zero(), zero()],
            }),
        }
    }

    /// Milliseconds since it was made.
    #[inline]
    fn now(&self) -> u64 {
        self.clock.now().saturating_sub(self.origin).min(LAST)
    }

    /// The same, where somebody asks how long calls take.
    #[cfg(feature = "http")]
    pub(crate) fn time(&self) -> Option<u64> {
        self.rules.slow.is_some().then(|| self.now())
    }

    #[inline]
    fn acquire(&self) -> Result<Pass, Rejected> {
        // Acquire: pairs with the swap in `swap`; who sees the circuit closed again sees what was said before.
        let word = self.circuit.0.load(Ordering::Acquire);
        let Some(at) = Circuit::plainly_closed(word) else {
            return self.acquire_slowly(word);
        };
        Ok(self.pass(Ticket::Call { at }))
    }

    #[inline]
    fn pass(&self, ticket: Ticket) -> Pass {
        // Nobody asks how long it took unless slow calls matter, and a look at the clock is not free.
        let began = if self.rules.slow.is_some() {
            self.now()
        } else {
            0
        };
        Pass { ticket, began }
    }

    #[cold]
    fn acquire_slowly(&self, mut word: u64) -> Result<Pass, Rejected> {
        let now = self.now();
        loop {
            let from = Circuit::unpack(word);
            let step = from.admit(now, &self.rules, || self.roll());
            if let Err(other) = self.swap(word, &step) {
                word = other;
                continue;
            }
            return match step.then {
                Admission::Admit(ticket) => {
                    if matches!(ticket, Ticket::Probe { .. }) {
                        count(&self.rare.0.probes);
                    }
                    Ok(self.pass(ticket))
                }
                Admission::Refuse(millis) => {
                    Err(self.reject(State::of(step.to.unwrap_or(from)), millis))
                }
            };
        }
    }

    /// The same for a call that cannot be made: it takes no probe, but gives up one that is missing.
    #[cfg(any(feature = "tower", all(test, loom)))]
    fn refuse(&self, stood: State) -> Rejected {
        let now = self.now();
        let mut word = self.circuit.0.load(Ordering::Acquire);
        loop {
            let from = Circuit::unpack(word);
            let step = from.admit(now, &self.rules, || self.roll());
            let Admission::Refuse(millis) = step.then else {
                return self.reject(stood, 1);
            };
            match self.swap(word, &step) {
                Ok(()) => return self.reject(State::of(step.to.unwrap_or(from)), millis),
                Err(other) => word = other,
            }
        }
    }

    fn reject(&self, state: State, millis: u64) -> Rejected {
        count(&self.rare.0.rejected);
        Rejected {
            label: Arc::clone(&self.label),
            state,
            retry_after: Duration::from_millis(millis.max(1)),
        }
    }

    /// What came of a call.
    #[inline]
    pub(crate) fn report(&self, pass: Pass, verdict: Verdict) {
        let fault = verdict.fault();
        if fault.is_some_and(|fault| self.excuses(fault)) || verdict == Verdict::Ignored {
            count(&self.rare.0.ignored);
            let says = match fault {
                Some(_) => Probed::Excused,
                None => Probed::Returned,
            };
            return self.give_back(pass, says);
        }
        // Read before the circuit is looked at: were it later, a call could be counted in a stay that began in between.
        let now = self.now();
        let is_slow = self.rules.is_slow(now.saturating_sub(pass.began));
        let seen = Seen {
            failed: fault.is_some(),
            // What may have made it fail may have made it slow.
            slow: is_slow && !(fault.is_none() && self.excuses(Fault::Failed)),
        };
        let Ticket::Call { at } = pass.ticket else {
            return self.report_rarely(pass.ticket, now, seen);
        };
        // Acquire: as in `acquire`.
        let circuit = Circuit::unpack(self.circuit.0.load(Ordering::Acquire));
        if circuit.kind == Kind::Closed && circuit.at == at {
            self.window.count(at, now, seen, &self.rules);
            if seen.failed || seen.slow {
                self.judge(at, now);
            }
        } else {
            self.window.pass(seen);
        }
    }

    /// Whether a failure counts as nothing.
    #[cold]
    fn excuses(&self, fault: Fault) -> bool {
        self.excuses.iter().any(|excuse| {
            // A call that panicked is reported while its thread unwinds, where another panic would be the process' last. Who cannot say excuses nothing.
            catch_unwind(AssertUnwindSafe(|| excuse(fault))).unwrap_or_else(|panic| {
                std::mem::forget(panic);
                false
            })
        })
    }

    #[cold]
    fn report_rarely(&self, ticket: Ticket, now: u64, seen: Seen) {
        self.window.pass(seen);
        if let Ticket::Probe { at } = ticket {
            let is_bad = seen.failed || seen.slow;
            self.probed(at, if is_bad { Probed::Lost } else { Probed::Won }, now);
        }
    }

    /// A call ended without an outcome.
    pub(crate) fn abandon(&self, pass: Pass) {
        count(&self.rare.0.abandoned);
        self.give_back(pass, Probed::Returned);
    }

    fn give_back(&self, pass: Pass, says: Probed) {
        if let Ticket::Probe { at } = pass.ticket {
            self.probed(at, says, self.now());
        }
    }

    fn probed(&self, began: u64, result: Probed, now: u64) {
        let mut word = self.circuit.0.load(Ordering::Acquire);
        loop {
            let circuit = Circuit::unpack(word);
            let Some(step) = circuit.probed(began, result, now, &self.rules, || self.roll()) else {
                return;
            };
            match self.swap(word, &step) {
                Ok(()) => return,
                Err(other) => word = other,
            }
        }
    }

    /// A call on a closed circuit was bad: is it enough?
    #[cold]
    fn judge(&self, at: u64, now: u64) {
        let counts = self.window.counts_after(at, now, &self.rules);
        let mut word = self.circuit.0.load(Ordering::Acquire);
        loop {
            let circuit = Circuit::unpack(word);
            let Some((to, turn)) = circuit.judge(at, counts, now, &self.rules, || self.roll())
            else {
                return;
            };
            let step = Step {
                then: (),
                to: Some(to),
                turn: Some(turn),
            };
            match self.swap(word, &step) {
                Ok(()) => return,
                Err(other) => word = other,
            }
        }
    }

    /// Puts the new circuit where the old one still is; else the one that is there.
    fn swap<T>(&self, word: u64, step: &Step<T>) -> Result<(), u64> {
        let Some(to) = step.to else { return Ok(()) };
        // AcqRel: pairs with itself and with the loads, so that swaps of the word are one after the other for everybody.
        self.circuit
            .0
            .compare_exchange(word, to.pack(), Ordering::AcqRel, Ordering::Acquire)?;
        if let Some(turn) = step.turn {
            self.turned(Circuit::unpack(word), to, turn);
        }
        Ok(())
    }

    /// Exactly one thread comes here for each change of the kind.
    fn turned(&self, from: Circuit, to: Circuit, turn: Turn) {
        let rare = &self.rare.0;
        count(match to.kind {
            Kind::Closed => &rare.closed,
            Kind::Open => &rare.opened,
            Kind::HalfOpen => &rare.half_opened,
        });
        self.tell(from, to, || Why::of(turn));
    }

    fn force(&self, force: Force, why: Why) -> bool {
        let mut word = self.circuit.0.load(Ordering::Acquire);
        loop {
            let from = Circuit::unpack(word);
            if from.force == force {
                return false;
            }
            let to = from.forced(force);
            let step = Step {
                then: (),
                to: Some(to),
                turn: None,
            };
            match self.swap(word, &step) {
                Ok(()) => {
                    count(&self.rare.0.forced);
                    self.tell(from, to, || why);
                    return true;
                }
                Err(other) => word = other,
            }
        }
    }

    fn tell(&self, from: Circuit, to: Circuit, why: impl FnOnce() -> Why) {
        let (from, to) = (State::of(from), State::of(to));
        if from == to {
            // What goes on below a force is shown when it ends.
            return;
        }
        // Relaxed: for people. The latest: of two threads the one with the earlier change may come here last.
        self.rare.0.since.fetch_max(self.now(), Ordering::Relaxed);
        if self.observers.is_empty() {
            return;
        }
        let transition = Transition {
            label: Arc::clone(&self.label),
            from,
            to,
            why: why(),
        };
        for observer in &self.observers {
            // The call that brought it about has nothing to do with it, and may be unwinding already.
            let called = catch_unwind(AssertUnwindSafe(|| observer(&transition)));
            if let Err(panic) = called {
                // What it carries may panic when it is dropped.
                std::mem::forget(panic);
            }
        }
    }

    fn circuit(&self) -> Circuit {
        Circuit::unpack(self.circuit.0.load(Ordering::Acquire))
    }

    pub(crate) fn counts(&self, circuit: Circuit) -> Counts {
        if circuit.kind != Kind::Closed {
            return Counts::default();
        }
        self.window.counts(circuit.at, self.now(), &self.rules)
    }

    /// Whether nothing would be forgotten with it: closed by itself, and nothing bad in its window.
    pub(crate) fn is_idle(&self) -> bool {
        let circuit = self.circuit();
        let counts = self.counts(circuit);
        circuit.kind == Kind::Closed
            && circuit.force == Force::None
            && counts.failures + counts.slow + counts.in_a_row == 0
    }

    fn figures(&self) -> Figures {
        let rare = &self.rare.0;
        // Relaxed, all of them: figures for people.
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let ever = self.window.ever();
        let shown = |nth: usize, now: u64| {
            let before = rare.shown[nth].fetch_max(now, Ordering::Relaxed);
            before.max(now)
        };
        let (successes, failures) = (shown(0, ever.successes), shown(1, ever.failures));
        Figures {
            calls: successes + failures,
            successes,
            failures,
            slow: shown(2, ever.slow),
            ignored: read(&rare.ignored),
            abandoned: read(&rare.abandoned),
            rejected: read(&rare.rejected),
            probes: read(&rare.probes),
            opened: read(&rare.opened),
            half_opened: read(&rare.half_opened),
            closed: read(&rare.closed),
            forced: read(&rare.forced),
        }
    }

    /// Chance enough to keep processes apart (splitmix64, Steele and others 2014).
    fn roll(&self) -> u32 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        // Relaxed: any number will do.
        let mut z = self.rare.0.chance.fetch_add(GAMMA, Ordering::Relaxed);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 32) as u32
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.panels.is_empty() {
            return;
        }
        let figures = self.figures();
        for panel in &self.panels {
            panel.forget(self.id, figures, TableFigures::default());
        }
    }
}

/// One more, for people.
fn count(figure: &AtomicU64) {
    // Relaxed: nothing is decided by it.
    figure.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn next_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    // Not loom's: it outlives a model, and nothing depends on its order.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A number that other processes do not have.
fn seed(id: u64) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(id)
}

#[cfg(all(test, not(loom)))]
mod tests;
