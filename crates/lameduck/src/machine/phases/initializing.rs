//! `Initializing`: nothing is admitted until everything is ready.

use core::time::Duration;

use super::{Leaving, Present, leaving::Asked, running::Running, terminating::Terminating};
use crate::{
    machine::{Answer, Core, Effect, Input},
    vocab::{Cause, CutBy, Outcome, Phase, Signal, SignalVerdict, Window},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Initializing {
    /// The program said that nothing else will enrol before `Running`.
    started: bool,
}

impl Initializing {
    pub(super) const fn new() -> Self {
        Self { started: false }
    }

    pub(super) fn input(mut self, now: Duration, input: Input, core: &mut Core) -> Present {
        match input {
            Input::Ready(id) => core.roster.ready(now, id),
            Input::Started => self.started = true,
            Input::Answer(id, answer) => {
                let news = core.roster.answer(now, id, &answer);
                if let Answer::Failed { why } = answer
                    && news
                {
                    let why = format!("participant {}: {why}", core.roster.name(id));
                    return leave(now, Cause::StartFailed { why }, core);
                }
            }
            Input::StartFailed { why } => return leave(now, Cause::StartFailed { why }, core),
            Input::Terminate { why } => return leave(now, Cause::Api { why }, core),
            Input::Cut => {
                return Present::gone(
                    now,
                    Phase::Initializing,
                    Outcome::Cut(CutBy::Api),
                    None,
                    core,
                );
            }
            Input::Signal(record) => match record.signal {
                Signal::Term | Signal::Int => {
                    core.journal
                        .signal(now, record.clone(), SignalVerdict::Started);
                    return leave(now, Cause::Signal(record), core);
                }
                Signal::Quit => {
                    core.journal.signal(now, record, SignalVerdict::Shown);
                    core.effect(Effect::DumpAndDie);
                }
                Signal::Usr1 => {
                    core.journal.signal(now, record, SignalVerdict::Shown);
                    core.effect(Effect::ShowStatus);
                }
                Signal::Hup | Signal::Usr2 => {
                    core.journal.signal(now, record, SignalVerdict::Refused)
                }
            },
            _ => {}
        }
        if self.started && core.roster.all_ready() {
            return Running::begin(now, core);
        }
        Present::Initializing(self)
    }
}

/// Nothing was ever admitted, so there is no window; what had started still gets its stop hook.
fn leave(now: Duration, cause: Cause, core: &mut Core) -> Present {
    let leaving = Leaving::begin(now, Asked::now(now, cause), Window::NONE, core);
    Terminating::begin(now, leaving, core)
}
