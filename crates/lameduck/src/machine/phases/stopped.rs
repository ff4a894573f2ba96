//! `Stopped`: stop hooks, in reverse order of the dependencies, inside the reserve; then the end.

use core::time::Duration;

use super::{Leaving, Present, leaving::Turn};
use crate::{
    machine::{Answer, Core, Effect, Input},
    vocab::{CutBy, Phase},
};

/// Kept before the deadline for the report, which a helper thread writes within this time.
const REPORT: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Stopped {
    pub(super) leaving: Leaving,
}

impl Stopped {
    pub(super) fn begin(now: Duration, leaving: Leaving, core: &mut Core) -> Present {
        core.enter(now, Phase::Stopped, Some(&leaving));
        Self { leaving }.proceed(now, core)
    }

    fn hooks_end(&self, core: &Core) -> Duration {
        self.leaving.deadline(&core.plan).saturating_sub(REPORT)
    }

    /// INV-10: starts each hook whose turn has come, once; ends when none is left.
    fn proceed(self, now: Duration, core: &mut Core) -> Present {
        let end = self.hooks_end(core);
        for id in core.roster.start_hooks(now, end) {
            core.effect(Effect::RunHook(id));
        }
        if core.roster.hooks_open() {
            return Present::Stopped(self);
        }
        let outcome = self.leaving.outcome(core);
        Present::gone(now, Phase::Stopped, outcome, Some(self.leaving), core)
    }

    pub(super) fn input(mut self, now: Duration, input: Input, core: &mut Core) -> Present {
        match input {
            Input::HookEnded(id, result) => {
                core.roster.hook_ended(now, id, result);
            }
            Input::AdmissionClosed(id, report) => core.roster.admission_closed(now, id, report),
            // Too late for its state, but it says what was wrong: a pool names its leak so.
            Input::Answer(id, Answer::Failed { why }) if core.roster.is_overdue(id) => {
                core.note_failure(now, id, &why);
            }
            // The names come after everything has ended by itself: they are kept all the same.
            Input::Stragglers(named, unnamed) => core.journal.stragglers(now, named, unnamed),
            Input::Cut => return self.leaving.cut(now, Phase::Stopped, CutBy::Api, core),
            Input::Signal(record) => {
                if let Turn::Cut(signal) = self.leaving.signal(now, record, core) {
                    return self
                        .leaving
                        .cut(now, Phase::Stopped, CutBy::Signal(signal), core);
                }
            }
            _ => {}
        }
        self.proceed(now, core)
    }

    pub(super) fn wake(mut self, now: Duration, core: &mut Core) -> Present {
        if core.roster.overrun_hooks(now) {
            self.leaving.given_up = true;
        }
        self.proceed(now, core)
    }

    pub(super) fn timeout(&self, core: &Core) -> Duration {
        let deadline = self.leaving.deadline(&core.plan);
        core.roster
            .next_hook_timeout()
            .unwrap_or(deadline)
            .min(deadline)
    }
}
