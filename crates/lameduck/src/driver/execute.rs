//! Does what the machine asks for. Nothing here waits longer than `PATIENCE`, but the end for those
//! who asked for more. (Dying by SIGQUIT is in `quit.rs`.)

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    Authority, Driver, DumpCause, Status, observe::Finishing, reload::Reloads, seats::HookEnd,
    status::Request, thread::PATIENCE,
};
use crate::{
    inflight::{Others, Token},
    machine::{Effect, Input, ParticipantId},
    vocab::{Known, Outcome, Phase, Report, Straggler, Why},
};

impl Driver {
    pub(super) fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::OpenAdmission => self.open_admission(),
            Effect::Enter(phase) => self.enter(phase),
            Effect::AskTurn(request) => {
                // Who hears of the wish finds a status that says so.
                self.shared.set_status(self.machine.status());
                self.shared.turns().ask(request);
            }
            Effect::EndWish(number, end) => self.shared.turns().end(number, end),
            Effect::CancelAnswered(answer) => {
                // Who hears that it was taken back finds a status that says so.
                self.shared.set_status(self.machine.status());
                self.shared.turns().answer(answer);
            }
            Effect::Broadcast(request) => self.shared.set_request(request),
            Effect::AskAgain(id) => self
                .seat(id, |seat| seat.asked_again.clone())
                .into_iter()
                .for_each(|asked| asked.fire()),
            Effect::Granted(id, wish, by) => self
                .seat(id, |seat| Arc::clone(&seat.grants))
                .into_iter()
                .for_each(|grants| grants.answer(wish, by)),
            Effect::ReadTraffic => {
                let traffic = self
                    .samples
                    .traffic(self.shared.now(), self.shared.inflight().requests.total());
                self.input(Input::Traffic(traffic));
            }
            Effect::CloseAdmission => fire(&self.shared.closing),
            Effect::CloseConnectionsGate => {
                self.shared.inflight().connections.close();
                self.watching.connections = true;
            }
            Effect::Close(id) => self
                .seat(id, |seat| seat.closing.clone())
                .into_iter()
                .for_each(|closing| closing.fire()),
            Effect::CloseGuardsGate => {
                self.shared.inflight().guards.close();
                self.watching.guards = true;
            }
            Effect::EndStragglers => self.end_stragglers(),
            Effect::RunHook(id) => self.run_hook(id),
            Effect::Reload => Reloads::run(&self.shared),
            Effect::DumpAndDie => self.dump_and_die(),
            Effect::ShowStatus => {
                // What came in the same turn before the signal is told, too.
                self.shared.set_status(self.machine.status());
                let line = format!("{}\n", Status::of(&self.shared).to_json());
                if let Authority::Process(words) = &mut self.authority {
                    words.say(&line, PATIENCE);
                    // Not waited for. A service that is asked again and again has one dump being written and one that waits.
                    words.dump(&self.shared, DumpCause::Usr1);
                }
            }
            Effect::Exit(outcome) => self.exit(outcome),
        }
    }

    fn seat<T>(&self, id: ParticipantId, read: impl FnOnce(&mut super::Seat) -> T) -> Option<T> {
        self.shared.seats().get_mut(id.0 as usize).map(read)
    }

    fn enter(&mut self, phase: Phase) {
        // Whoever sees the phase finds its cause and its deadline. A reader who is at it is not waited for.
        self.shared.try_set_status(self.machine.status());
        // Before anybody can see the phase and begin a request in it.
        self.shared.mark(phase);
        self.shared.publish(phase);
        match phase {
            Phase::Running => self.shared.running.fire(),
            Phase::Terminating => fire(&self.shared.steering),
            Phase::Initializing | Phase::Draining | Phase::Stopped => {}
        }
        self.shared.set_status(self.machine.status());
        self.tell_phase(phase);
    }

    fn open_admission(&mut self) {
        let seats = self.shared.seats().len();
        for index in 0..u32::try_from(seats).unwrap_or(u32::MAX) {
            let id = ParticipantId::new(index);
            if let Err(why) = self.open(id) {
                self.input(Input::NotOpened(id, why));
            }
        }
    }

    /// Opens a participant's listener, if it has one that is not open.
    pub(super) fn open(&mut self, id: ParticipantId) -> Result<(), String> {
        let Some(open) = self.seat(id, |seat| seat.open.take()).flatten() else {
            return Ok(());
        };
        match catch_unwind(AssertUnwindSafe(open)) {
            Ok(opened) => opened.map_err(|error| format!("cannot listen: {error}")),
            Err(_) => Err("panicked while opening its listener".to_owned()),
        }
    }

    /// INV-5: what is ended here is named first.
    fn end_stragglers(&mut self) {
        let named = self.shared.name_inflight(Report::NOTES);
        let other = named.connections.saturating_sub(named.busy);
        let unnamed =
            named.busy.saturating_sub(named.requests.len()) + other.saturating_sub(Report::NOTES);
        let mut stragglers: Vec<_> = named
            .requests
            .into_iter()
            .map(Request::into_straggler)
            .collect();
        stragglers.extend(
            (0..other)
                .take(Report::NOTES)
                .map(|_| Straggler::new(Known::Connection, None, core::time::Duration::ZERO)),
        );
        if named.guards > 0 {
            let count = named.guards as u64;
            stragglers.push(Straggler::new(
                Known::Guards { count },
                None,
                core::time::Duration::ZERO,
            ));
        }
        // Before anything is ended by it: whatever that cancels is cancelled for this reason.
        let cause = self.shared.cause();
        let cancelled = self.shared.cancelling.cancel_first(Why::DrainEnded, cause);
        fire(&self.shared.closing);
        fire(&self.shared.ending);
        wake(cancelled);
        self.input(Input::Stragglers(stragglers, unnamed as u64));
    }

    fn run_hook(&mut self, id: ParticipantId) {
        let Some(hook) = self.seat(id, |seat| seat.hook.take()).flatten() else {
            self.input(Input::HookEnded(id, Err("the hook is gone".to_owned())));
            return;
        };
        hook(HookEnd::new(Arc::clone(&self.shared), id));
    }

    fn exit(&mut self, outcome: Outcome) {
        let mut report = self.machine.report();
        report.outcome = outcome;
        self.shared
            .ledger()
            .drain_id()
            .clone_into(&mut report.drain_id);
        report.health = Some(self.shared.final_health());
        self.shared.explain_budgets(&mut report);
        self.tell();
        let observing = self.shared.observers().finish();
        let began = Instant::now();
        let ends = self.ends_at_once(outcome);
        let hears_out = !ends && !matches!(outcome, Outcome::Cut(_));
        if hears_out {
            self.shared.epilogues().begin(outcome);
        }
        let inflight = self.shared.inflight();
        report.counts = [("requests", inflight.requests.total())]
            .into_iter()
            .chain(inflight.tally.named())
            .collect();
        let dropped = [
            ("signal_records", self.lost_signals()),
            ("commands", self.shared.commands().dropped()),
            ("slots", inflight.slots.dropped()),
            ("notifications", self.shared.notifications_dropped()),
            ("observed", self.shared.observers().dropped()),
            ("audit", self.shared.audit_lost()),
        ];
        report
            .dropped
            .extend(dropped.into_iter().filter(|(_, count)| *count > 0));
        if let Authority::Process(words) = &mut self.authority {
            let json = report.to_json();
            if ends || hears_out && self.shared.epilogues().are_open() || observing.are_any() {
                words.report(&json, PATIENCE, Box::new(|| {}));
            } else {
                // Nobody else is waited for: who has written last may say that it is over.
                let (shared, report) = (Arc::clone(&self.shared), report.clone());
                words.report(&json, PATIENCE, Box::new(move || shared.finish(report)));
            }
        }
        if hears_out {
            self.hear_out(began, observing);
        } else {
            // They had as long as the report: all these waits began together.
            observing.wait(began + PATIENCE);
        }
        if let Authority::Process(words) = &mut self.authority {
            // Nobody else may get to end the process first: a cut dies by its signal, not with an exit code.
            if ends {
                words.end(outcome);
            }
        }
        // Changes nothing where that has been done.
        self.shared.finish(report);
    }

    /// Lets those speak who have a last word to say, and those finish who observe, as long as each may take. Whoever wants the
    /// process gone at once is heard meanwhile: all that is left to do is told to others.
    fn hear_out(&mut self, began: Instant, mut observing: Finishing) {
        loop {
            let speaking = self.shared.epilogues().patience();
            let speaking = speaking.map(|patience| began + patience);
            let Some(until) = speaking.max(observing.until()) else {
                return;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.ends_at_once(Outcome::Drained) {
                return;
            }
            let deadline = self.machine.status().deadline;
            let now = self.shared.now();
            let due = [deadline, self.told.due()].into_iter().flatten();
            let left = due
                .map(|at| at.saturating_sub(now))
                .fold(left, Duration::min);
            self.sleep(Some(left));
            self.keep_informed();
            if self.stay_awake() {
                return;
            }
        }
    }
}

/// As many wake-ups as the driver makes itself: some tens of microseconds.
const FEW: usize = 256;

/// Fires a token that every connection may wait for. Thousands are woken on a thread of their own: meanwhile the driver hears that a listener has
/// closed, and the next signal.
fn fire(token: &Token) {
    wake(token.fire_first());
}

/// Wakes them: a few here, thousands on a thread of their own.
pub(super) fn wake(others: Option<Others>) {
    let Some(others) = others else { return };
    if others.count() > FEW {
        // Without a thread the others are dropped, and so woken, here.
        let spawned = thread::Builder::new()
            .name("lameduck-wake".to_owned())
            .spawn(move || drop(others));
        drop(spawned);
    }
}
