//! `Draining`: admission is closed; what is in flight completes, in the order of the dependencies.
//!
//! Three things are waited for: the connections, the guards (whose gate closes once no connection and no server is
//! left), and the participants (each told to close once nothing that depends on it is at work).

use core::time::Duration;

use super::{Leaving, Present, leaving::Turn, stopped::Stopped};
use crate::{
    machine::{Core, Effect, Input},
    vocab::{CutBy, Phase},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Draining {
    pub(super) leaving: Leaving,
    connections: Drain,
    guards: Drain,
}

/// How far a counter has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Drain {
    /// Its gate is open.
    Open,
    /// Its gate is closed; the final scan found some.
    Waiting,
    /// The final scan found none (INV-4).
    Empty,
}

impl Draining {
    pub(super) fn begin(now: Duration, leaving: Leaving, core: &mut Core) -> Present {
        core.enter(now, Phase::Draining, Some(&leaving));
        core.effect(Effect::CloseConnectionsGate);
        Self {
            leaving,
            connections: Drain::Waiting,
            guards: Drain::Open,
        }
        .proceed(now, core)
    }

    /// Tells who may close, closes the guards' gate when its time has come, and goes on when nothing is left.
    fn proceed(mut self, now: Duration, core: &mut Core) -> Present {
        for id in core.roster.close_free(now) {
            core.effect(Effect::Close(id));
        }
        if self.guards == Drain::Open
            && self.connections == Drain::Empty
            && core.roster.servers_ended()
        {
            self.guards = Drain::Waiting;
            core.effect(Effect::CloseGuardsGate);
        }
        // INV-4: drained means that both final scans found none.
        if self.connections == Drain::Empty
            && self.guards == Drain::Empty
            && core.roster.all_ended()
        {
            return Stopped::begin(now, self.leaving, core);
        }
        Present::Draining(self)
    }

    pub(super) fn input(mut self, now: Duration, input: Input, core: &mut Core) -> Present {
        match input {
            Input::ConnectionsDrained => self.connections = Drain::Empty,
            Input::GuardsDrained if self.guards == Drain::Waiting => self.guards = Drain::Empty,
            Input::AdmissionClosed(id, report) => core.roster.admission_closed(now, id, report),
            Input::Answer(id, answer) => core.answer(now, id, &answer),
            Input::Cut => return self.leaving.cut(now, Phase::Draining, CutBy::Api, core),
            Input::Signal(record) => {
                if let Turn::Cut(signal) = self.leaving.signal(now, record, core) {
                    return self
                        .leaving
                        .cut(now, Phase::Draining, CutBy::Signal(signal), core);
                }
            }
            // The answer to the drain's end: everything left was named and ended.
            Input::Stragglers(named, unnamed) if self.leaving.forced => {
                core.journal.stragglers(now, named, unnamed);
                core.roster.give_up_all(now);
                return Stopped::begin(now, self.leaving, core);
            }
            _ => {}
        }
        self.proceed(now, core)
    }

    pub(super) fn wake(mut self, now: Duration, core: &mut Core) -> Present {
        let drain_end = self.leaving.drain_end(&core.plan);
        if now >= drain_end && !self.leaving.forced {
            self.leaving.forced = true;
            // INV-5: the gate closes before the names are read, so that no guard is taken between the two and lost.
            if self.guards == Drain::Open {
                self.guards = Drain::Waiting;
                core.effect(Effect::CloseGuardsGate);
            }
            core.effect(Effect::EndStragglers);
            return Present::Draining(self);
        }
        for id in core.roster.ask_again(now, drain_end) {
            core.effect(Effect::AskAgain(id));
        }
        if core.roster.expire(now, drain_end) {
            self.leaving.given_up = true;
        }
        self.proceed(now, core)
    }

    pub(super) fn timeout(&self, core: &Core) -> Duration {
        let drain_end = self.leaving.drain_end(&core.plan);
        let deadline = self.leaving.deadline(&core.plan);
        if self.leaving.forced {
            return deadline;
        }
        core.roster
            .next_timeout(drain_end)
            .unwrap_or(drain_end)
            .min(drain_end)
    }
}
