//! What `Terminating`, `Draining` and `Stopped` have in common: the cause, the one deadline, the repeats.

use core::time::Duration;

use super::Present;
use crate::{
    machine::{
        Core, Effect, ShutdownRequest,
        repeats::{Meaning, Repeats},
    },
    vocab::{Cause, CutBy, Outcome, Phase, Plan, Signal, SignalRecord, SignalVerdict, Window},
};

/// A request to leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Asked {
    pub(super) cause: Cause,
    /// T: the deadline counts from here.
    pub(super) at: Duration,
    pub(super) repeats: Repeats,
    /// The service failed while it waited to leave.
    pub(super) failed: bool,
}

impl Asked {
    pub(super) fn now(now: Duration, cause: Cause) -> Self {
        let signal = match &cause {
            Cause::Signal(record) => Some(record.signal),
            _ => None,
        };
        Self {
            cause,
            at: now,
            repeats: Repeats::after(now, signal),
            failed: false,
        }
    }
}

/// A shutdown under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Leaving {
    pub(in crate::machine) cause: Cause,
    /// T.
    pub(in crate::machine) requested_at: Duration,
    /// When `Terminating` began: later than T if a turn was waited for. The window counts from here.
    pub(super) begun_at: Duration,
    pub(super) window: Window,
    /// The lame-duck window is open: a repeat can still end it.
    pub(super) in_window: bool,
    repeats: Repeats,
    /// The service had failed before it began to leave, for another cause.
    failed: bool,
    /// The drain's end was reached: what was left is being ended.
    pub(super) forced: bool,
    /// A participant or a stop hook was given up before that.
    pub(super) given_up: bool,
}

/// What a signal does to a shutdown under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Nothing,
    EndWindow,
    Cut(Signal),
}

impl Leaving {
    /// The departure: the deadline is computed here, once, from when it was asked for, and everyone is told.
    pub(super) fn begin(now: Duration, asked: Asked, window: Window, core: &mut Core) -> Self {
        let leaving = Self {
            cause: asked.cause,
            requested_at: asked.at,
            begun_at: now,
            window,
            in_window: false,
            repeats: asked.repeats,
            failed: asked.failed,
            forced: false,
            given_up: false,
        };
        core.roster.ask_all(now);
        core.effect(Effect::Broadcast(ShutdownRequest {
            cause: leaving.cause.clone(),
            requested_at: leaving.requested_at,
            begun_at: now,
            drain_end: leaving.drain_end(&core.plan),
            deadline: leaving.deadline(&core.plan),
            spread: window.floor,
        }));
        // After the broadcast: who sees the phase finds the request.
        core.enter(now, Phase::Terminating, Some(&leaving));
        leaving
    }

    pub(in crate::machine) fn deadline(&self, plan: &Plan) -> Duration {
        self.after_request(plan.deadline())
    }

    pub(in crate::machine) fn drain_end(&self, plan: &Plan) -> Duration {
        self.after_request(plan.drain_end())
    }

    /// When the lame-duck window ends at the latest, while it is open.
    pub(in crate::machine) fn window_until(&self) -> Option<Duration> {
        self.in_window
            .then(|| self.after_begun(self.window.ceiling))
    }

    /// T plus a time; a plan may hold times that are too long for the clock.
    fn after_request(&self, time: Duration) -> Duration {
        self.requested_at.saturating_add(time)
    }

    /// A time of the window: it counts from when clients were first told to go elsewhere.
    pub(super) fn after_begun(&self, time: Duration) -> Duration {
        self.begun_at.saturating_add(time)
    }

    pub(super) fn signal(&mut self, now: Duration, record: SignalRecord, core: &mut Core) -> Turn {
        let (verdict, turn) = match record.signal {
            Signal::Quit => {
                core.effect(Effect::DumpAndDie);
                (SignalVerdict::Shown, Turn::Nothing)
            }
            Signal::Usr1 => {
                core.effect(Effect::ShowStatus);
                (SignalVerdict::Shown, Turn::Nothing)
            }
            Signal::Hup | Signal::Usr2 => (SignalVerdict::Refused, Turn::Nothing),
            Signal::Term | Signal::Int => match self.repeats.take(now, &record, &core.plan) {
                Meaning::Same => (SignalVerdict::Merged, Turn::Nothing),
                Meaning::EndsWindow if self.in_window => {
                    (SignalVerdict::EndedWindow, Turn::EndWindow)
                }
                Meaning::Noted | Meaning::EndsWindow => (SignalVerdict::Recorded, Turn::Nothing),
                Meaning::Cuts => (SignalVerdict::Cut, Turn::Cut(record.signal)),
            },
        };
        core.journal.signal(now, record, verdict);
        turn
    }

    pub(super) fn cut(self, now: Duration, phase: Phase, by: CutBy, core: &mut Core) -> Present {
        Present::gone(now, phase, Outcome::Cut(by), Some(self), core)
    }

    /// INV-2: the deadline is the end, whatever else is going on.
    pub(super) fn deadline_passed(self, now: Duration, phase: Phase, core: &mut Core) -> Present {
        core.roster.give_up_all(now);
        let outcome = Outcome::Forced {
            code: core.plan.forced_exit_code(),
        };
        Present::gone(now, phase, outcome, Some(self), core)
    }

    /// How it ended, when everything has run its course.
    pub(super) fn outcome(&self, core: &Core) -> Outcome {
        if matches!(self.cause, Cause::StartFailed { .. }) {
            return Outcome::StartFailed;
        }
        if self.forced || self.given_up {
            return Outcome::Forced {
                code: core.plan.forced_exit_code(),
            };
        }
        let failed = self.failed || self.cause.is_failure();
        if failed || core.roster.any_hook_failed() || core.roster.any_failed() {
            return Outcome::Failed;
        }
        Outcome::Drained
    }
}
