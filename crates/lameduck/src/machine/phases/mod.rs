//! One struct per phase; a transition consumes it.

mod draining;
mod initializing;
mod leaving;
mod running;
mod stopped;
mod terminating;
mod waiting;

use core::time::Duration;

pub(super) use leaving::Leaving;

use self::{
    draining::Draining, initializing::Initializing, running::Running, stopped::Stopped,
    terminating::Terminating, waiting::Waiting,
};
use super::{Core, Effect, Input};
use crate::vocab::{News, Outcome, Phase};

/// The present phase, with its own data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Present {
    Initializing(Initializing),
    Running(Running),
    Terminating(Terminating),
    Draining(Draining),
    Stopped(Stopped),
    Gone(Gone),
}

/// The last effect was given out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gone {
    /// The phase in which the process ended.
    phase: Phase,
    outcome: Outcome,
    leaving: Option<Leaving>,
}

impl Present {
    pub(super) const fn initializing() -> Self {
        Self::Initializing(Initializing::new())
    }

    /// The end, from any phase.
    fn gone(
        now: Duration,
        phase: Phase,
        outcome: Outcome,
        leaving: Option<Leaving>,
        core: &mut Core,
    ) -> Self {
        core.gather();
        core.journal.news(now, News::Exit { outcome });
        core.effect(Effect::Exit(outcome));
        Self::Gone(Gone {
            phase,
            outcome,
            leaving,
        })
    }

    pub(super) const fn phase(&self) -> Phase {
        match self {
            Self::Initializing(_) => Phase::Initializing,
            Self::Running(_) => Phase::Running,
            Self::Terminating(_) => Phase::Terminating,
            Self::Draining(_) => Phase::Draining,
            Self::Stopped(_) => Phase::Stopped,
            Self::Gone(gone) => gone.phase,
        }
    }

    pub(super) const fn leaving(&self) -> Option<&Leaving> {
        match self {
            Self::Initializing(_) | Self::Running(_) => None,
            Self::Terminating(phase) => Some(&phase.leaving),
            Self::Draining(phase) => Some(&phase.leaving),
            Self::Stopped(phase) => Some(&phase.leaving),
            Self::Gone(gone) => gone.leaving.as_ref(),
        }
    }

    /// What is waited for in `Running`, if anything is.
    pub(super) const fn waiting(&self) -> Option<&Waiting> {
        match self {
            Self::Running(phase) => phase.waiting.as_ref(),
            _ => None,
        }
    }

    pub(super) const fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Gone(gone) => Some(gone.outcome),
            _ => None,
        }
    }

    pub(super) fn input(self, now: Duration, input: Input, core: &mut Core) -> Self {
        match self {
            Self::Initializing(phase) => phase.input(now, input, core),
            Self::Running(phase) => phase.input(now, input, core),
            Self::Terminating(phase) => phase.input(now, input, core),
            Self::Draining(phase) => phase.input(now, input, core),
            Self::Stopped(phase) => phase.input(now, input, core),
            Self::Gone(_) => self,
        }
    }

    /// A timer is due.
    pub(super) fn wake(self, now: Duration, core: &mut Core) -> Self {
        let overdue = self
            .leaving()
            .is_some_and(|leaving| leaving.deadline(&core.plan) <= now);
        match self {
            // Who comes this late has still to name what was in flight: the drain's end is gone through first.
            Self::Draining(phase) if overdue && phase.leaving.forced => {
                phase.leaving.deadline_passed(now, Phase::Draining, core)
            }
            Self::Stopped(phase) if overdue => {
                phase.leaving.deadline_passed(now, Phase::Stopped, core)
            }
            Self::Terminating(phase) => phase.wake(now, core),
            Self::Draining(phase) => phase.wake(now, core),
            Self::Stopped(phase) => phase.wake(now, core),
            Self::Running(phase) => phase.wake(now, core),
            Self::Initializing(_) | Self::Gone(_) => self,
        }
    }

    pub(super) fn timeout(&self, core: &Core) -> Option<Duration> {
        match self {
            Self::Initializing(_) | Self::Gone(_) => None,
            Self::Running(phase) => phase.timeout(),
            Self::Terminating(phase) => Some(phase.timeout(core)),
            Self::Draining(phase) => Some(phase.timeout(core)),
            Self::Stopped(phase) => Some(phase.timeout(core)),
        }
    }
}
