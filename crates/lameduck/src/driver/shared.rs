//! What every handle of a lifecycle shares: the phase, the tokens, the counters, the way to the driver.

use std::{
    fmt,
    io::Write as _,
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    Budgets, Observer, Recent, Seat,
    commands::Commands,
    commons::Commons,
    epilogue::{Epilogues, Speaker},
    execute::wake,
    health::Facts,
    ledger::{Ledger, Mark},
    observe::Observers,
    reload::Reloads,
    supervisor::Supervisor,
    tally::Tally,
    turns::Desk,
};
use crate::{
    inflight::{Admission, Cancellation, Canceller, Others, Requests, Slots, Tasks, Token},
    machine::{self, Input, ParticipantId, ShutdownRequest},
    vocab::{Cause, InflightCounts, Outcome, ParticipantState, Phase, Plan, Report, Scope, Why},
};

/// What is in flight, by kind.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inflight {
    /// Connections: a pass is taken at accept. The gate closes when admission has closed.
    pub connections: Admission,
    /// Work of the program: a guard is taken by [`Lifecycle::enter`](crate::Lifecycle::enter). The gate closes after
    /// the last connection.
    pub guards: Admission,
    /// Counted requests.
    pub requests: Requests,
    /// Who each connection is serving.
    pub slots: Slots,
    /// What the tasks are doing that were spawned through the lifecycle.
    pub tasks: Tasks,
    /// How connections and requests ended.
    pub tally: Tally,
}

impl Inflight {
    pub(super) fn new() -> Self {
        Self {
            connections: Admission::new(),
            guards: Admission::new(),
            requests: Requests::new(),
            slots: Slots::new(),
            tasks: Tasks::new(),
            tally: Tally::new(),
        }
    }
}

/// See the module.
pub(crate) struct Shared {
    started: Instant,
    /// For people and pages, who tell one process from the next by it; nothing is decided by it.
    started_on: SystemTime,
    plan: Plan,
    phase: AtomicU8,
    pub(crate) running: Token,
    pub(crate) steering: Token,
    pub(crate) closing: Token,
    pub(crate) drained: Token,
    pub(crate) ending: Token,
    pub(crate) over: Token,
    /// Of all that nobody waits for any longer.
    pub(crate) cancelling: Canceller,
    request: OnceLock<ShutdownRequest>,
    outcome: OnceLock<Outcome>,
    report: OnceLock<Report>,
    status: Mutex<machine::Status>,
    /// What is wrong with signals at present.
    complaints: Mutex<Vec<String>>,
    seats: Mutex<Vec<Seat>>,
    inflight: Inflight,
    ledger: Ledger,
    facts: Facts,
    supervisor: OnceLock<Arc<dyn Supervisor>>,
    budgets: OnceLock<Arc<dyn Budgets>>,
    /// How often the program said that it is alive.
    beats: AtomicU64,
    commands: Commands,
    reloads: Reloads,
    epilogues: Epilogues,
    turns: Desk,
    observers: Observers,
    commons: Commons,
    /// Records of the audit that were not written.
    audit_lost: AtomicU64,
    /// Whether lines for people may go to stderr.
    speaks: bool,
    gone: (Mutex<()>, Condvar),
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(
        plan: Plan,
        status: machine::Status,
        speaks: bool,
    ) -> std::io::Result<(Arc<Self>, OwnedFd)> {
        let (commands, reader) = Commands::new()?;
        let inflight = Inflight::new();
        let shared = Arc::new(Self {
            started: Instant::now(),
            started_on: SystemTime::now(),
            plan,
            phase: AtomicU8::new(Phase::Initializing as u8),
            running: Token::new(),
            steering: Token::new(),
            closing: Token::new(),
            drained: Token::new(),
            ending: Token::new(),
            over: Token::new(),
            cancelling: Canceller::wide(Scope::Lifecycle),
            request: OnceLock::new(),
            outcome: OnceLock::new(),
            report: OnceLock::new(),
            status: Mutex::new(status),
            complaints: Mutex::default(),
            seats: Mutex::default(),
            ledger: Ledger::new(&inflight),
            facts: Facts::default(),
            supervisor: OnceLock::new(),
            budgets: OnceLock::new(),
            beats: AtomicU64::new(0),
            inflight,
            commands,
            reloads: Reloads::default(),
            epilogues: Epilogues::default(),
            turns: Desk::default(),
            observers: Observers::default(),
            commons: Commons::default(),
            audit_lost: AtomicU64::new(0),
            speaks,
            gone: (Mutex::new(()), Condvar::new()),
        });
        for admission in [&shared.inflight.connections, &shared.inflight.guards] {
            let weak = Arc::downgrade(&shared);
            admission.notify_with(Arc::new(move || {
                if let Some(shared) = weak.upgrade() {
                    shared.commands.ring();
                }
            }));
        }
        Ok((shared, reader))
    }

    pub(crate) fn send(&self, input: Input) {
        self.commands.send(input);
    }

    pub(super) const fn commands(&self) -> &Commands {
        &self.commands
    }

    pub(super) const fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn set_supervisor(&self, supervisor: Arc<dyn Supervisor>) {
        // The driver sets it once, before its thread starts.
        let _ = self.supervisor.set(supervisor);
    }

    pub(crate) fn supervisor(&self) -> Option<&Arc<dyn Supervisor>> {
        self.supervisor.get()
    }

    pub(crate) fn set_budgets(&self, budgets: Arc<dyn Budgets>) {
        // Of two that come at the same time the first one counts.
        let _ = self.budgets.set(budgets);
    }

    pub(crate) fn budgets(&self) -> Option<&Arc<dyn Budgets>> {
        self.budgets.get()
    }

    /// Says of each participant how its budget followed from earlier shutdowns.
    pub(super) fn explain_budgets(&self, report: &mut Report) {
        let Some(budgets) = self.budgets() else {
            return;
        };
        for participant in &mut report.participants {
            participant.learned = budgets.learned(&participant.name);
        }
    }

    /// The program is alive.
    pub(crate) fn beat(&self) {
        // Relaxed: the driver wants to see that it changes, sooner or later.
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Writes down that a phase was entered, and where the counts stand.
    pub(super) fn mark(&self, phase: Phase) {
        self.ledger
            .enter(Mark::now(phase, self.now(), &self.inflight));
    }

    pub(super) const fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    pub(super) const fn observers(&self) -> &Observers {
        &self.observers
    }

    pub(crate) const fn commons(&self) -> &Commons {
        &self.commons
    }

    pub(crate) fn observe(
        self: &Arc<Self>,
        name: String,
        observer: Box<dyn Observer>,
    ) -> std::io::Result<()> {
        self.observers.add(Arc::downgrade(self), name, observer)
    }

    pub(crate) fn count_lost_audit(&self, count: u64) {
        // Relaxed: a count for people, read once at the end.
        self.audit_lost.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn audit_lost(&self) -> u64 {
        self.audit_lost.load(Ordering::Relaxed)
    }

    pub(crate) fn recent(&self) -> Recent {
        self.observers.recent()
    }

    /// How much is in flight: a sum for each counter, a load for each slot that was ever claimed, no lock and no name.
    pub(super) fn inflight_counts(&self) -> InflightCounts {
        let inflight = &self.inflight;
        let (busy, idle) = inflight.slots.counts();
        InflightCounts::new(
            inflight.connections.count() as u64,
            busy as u64,
            idle as u64,
            inflight.guards.count() as u64,
            inflight.requests.total(),
        )
    }

    pub(crate) fn on_reload(
        &self,
        name: String,
        subscriber: Box<dyn FnMut() -> Result<(), String> + Send>,
    ) {
        self.reloads.subscribe(name, subscriber);
    }

    /// A line for people; only where the lifecycle owns the process, and never from the driver's thread: stderr may be a
    /// full pipe.
    pub(crate) fn say(&self, line: &str) {
        if self.speaks {
            // A closed stderr has nobody to hear it.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) const fn started_on(&self) -> SystemTime {
        self.started_on
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        // Acquire: pairs with the release store in `publish`, so that who sees `Terminating` sees the request.
        Phase::from_u8(self.phase.load(Ordering::Acquire))
    }

    pub(super) fn publish(&self, phase: Phase) {
        // Release: pairs with the acquire load in `phase`.
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(crate) const fn inflight(&self) -> &Inflight {
        &self.inflight
    }

    pub(crate) fn request(&self) -> Option<&ShutdownRequest> {
        self.request.get()
    }

    pub(super) fn set_request(&self, request: ShutdownRequest) {
        // The machine broadcasts once; a second request would be a repeat.
        let _ = self.request.set(request);
    }

    /// The participants' seats; a participant's number is its seat's index.
    pub(crate) fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A participant is waited for no longer: tells whoever speaks for it.
    pub(super) fn has_ended(&self, name: &str, state: &ParticipantState) {
        let waited = self
            .seats()
            .iter()
            .find(|seat| seat.name == name)
            .map(|seat| Arc::clone(&seat.waited));
        if let Some(waited) = waited {
            waited.end(state.clone());
        }
    }

    pub(super) fn set_status(&self, status: machine::Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// The same, unless somebody else reads or writes it.
    pub(super) fn try_set_status(&self, status: machine::Status) {
        match self.status.try_lock() {
            Ok(mut held) => *held = status,
            Err(TryLockError::Poisoned(poisoned)) => *poisoned.into_inner() = status,
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// What the machine said last; `None` while somebody else reads or writes it.
    pub(super) fn try_machine(&self) -> Option<machine::Status> {
        match self.status.try_lock() {
            Ok(status) => Some(status.clone()),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner().clone()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(super) fn set_complaints(&self, complaints: Vec<String>) {
        *self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = complaints;
    }

    /// What is wrong with signals at present.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What the machine said last.
    pub(crate) fn machine(&self) -> machine::Status {
        // Read first: what belongs to a phase is written before the phase is published.
        let phase = self.phase();
        let mut machine = self
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // The driver publishes the phase before it has time for the rest.
        machine.phase = machine.phase.max(phase);
        machine
    }

    /// Where turns are asked for.
    pub(crate) const fn turns(&self) -> &Desk {
        &self.turns
    }

    /// Something that has a last word to say after the end.
    pub(crate) const fn epilogues(&self) -> &Epilogues {
        &self.epilogues
    }

    /// One of them has said it.
    pub(crate) fn leave_epilogue(&self, who: Speaker) {
        if self.epilogues.leave(who) {
            self.commands.ring();
        }
    }

    /// A participant has ended: nobody waits for what it began. Returns who is to be woken.
    pub(super) fn cancel_participant(
        &self,
        name: &str,
        state: &ParticipantState,
    ) -> Option<Others> {
        let seats = self.seats();
        let seat = seats.iter().find(|seat| seat.name == name);
        let cancelling = seat.map(|seat| Arc::clone(&seat.cancelling));
        drop(seats);
        // Outside the lock: whoever is woken may ask for a seat.
        let why = match state {
            ParticipantState::Overdue { .. } => Why::Overdue,
            _ => Why::Ended,
        };
        cancelling?.cancel_first(why, self.cause())
    }

    /// Of what works for this participant; of everything, for one that nobody knows.
    pub(crate) fn cancellation_of(&self, id: ParticipantId) -> Cancellation {
        let seats = self.seats();
        let seat = seats.get(id.0 as usize);
        let cancelling = seat.map_or(&self.cancelling, |seat| &seat.cancelling);
        cancelling.cancellation().clone()
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.request().map(|request| request.cause.clone())
    }

    /// The end: publishes it and wakes who waits.
    pub(super) fn finish(&self, report: Report) {
        let outcome = report.outcome;
        let _ = self.report.set(report);
        let _ = self.outcome.set(outcome);
        let why = match outcome {
            Outcome::Cut(_) => Why::Cut,
            _ => Why::Ended,
        };
        let cancelled = self.cancelling.cancel_first(why, self.cause());
        self.over.fire();
        // After the outcome: who asks from now on sees it, and does not wait for an answer.
        self.turns.close();
        let held = self.gone.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.gone.1.notify_all();
        drop(held);
        // Last: whoever waits for the end need not wait for all whose work it ends.
        wake(cancelled);
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().copied()
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        self.report.get()
    }

    /// Blocks until the end.
    pub(crate) fn wait(&self) -> Outcome {
        let mut held = self.gone.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            held = self
                .gone
                .1
                .wait(held)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
