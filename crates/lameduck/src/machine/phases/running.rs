//! `Running`: everything is served; the first termination request ends it.

use core::time::Duration;

use super::{Leaving, Present, terminating::Terminating};
use crate::{
    machine::{Answer, Core, Effect, Input},
    vocab::{Cause, CutBy, Outcome, Phase, Signal, SignalVerdict, Window},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Running;

impl Running {
    pub(super) fn begin(now: Duration, core: &mut Core) -> Present {
        // The listeners open before anyone can see the phase: who waits for Running finds a socket that listens.
        core.effect(Effect::OpenAdmission);
        core.enter(now, Phase::Running, None);
        Present::Running(Self)
    }

    pub(super) fn input(self, now: Duration, input: Input, core: &mut Core) -> Present {
        match input {
            Input::Ready(id) => core.roster.ready(now, id),
            Input::Answer(id, answer) => {
                let name = core.roster.name(id);
                let news = core.roster.answer(now, id, &answer);
                if let Answer::Failed { why } = answer
                    && news
                {
                    return leave(now, Cause::ParticipantFailed { name, why }, core);
                }
            }
            Input::AdmissionClosed(id, report) => core.roster.admission_closed(now, id, report),
            Input::NotOpened(id, why) => {
                let why = format!("participant {}: {why}", core.roster.name(id));
                core.roster
                    .answer(now, id, &Answer::Failed { why: why.clone() });
                // Nobody can have come in by a door that did not open; the others close without a window.
                let leaving = Leaving::begin(now, Cause::StartFailed { why }, Window::NONE, core);
                return Terminating::begin(now, leaving, core);
            }
            Input::Terminate { why } => return leave(now, Cause::Api { why }, core),
            Input::TerminateWithin { why, grace } => {
                core.shorten(now, grace);
                return leave(now, Cause::Api { why }, core);
            }
            Input::StartFailed { why } => {
                return leave(
                    now,
                    Cause::ParticipantFailed {
                        name: "main".to_owned(),
                        why,
                    },
                    core,
                );
            }
            Input::Cut => {
                return Present::gone(now, Phase::Running, Outcome::Cut(CutBy::Api), None, core);
            }
            Input::Signal(record) => match record.signal {
                Signal::Term | Signal::Int => {
                    core.journal
                        .signal(now, record.clone(), SignalVerdict::Started);
                    return leave(now, Cause::Signal(record), core);
                }
                Signal::Hup => {
                    core.journal.signal(now, record, SignalVerdict::Reload);
                    core.effect(Effect::Reload);
                }
                Signal::Quit => {
                    core.journal.signal(now, record, SignalVerdict::Shown);
                    core.effect(Effect::DumpAndDie);
                }
                Signal::Usr1 => {
                    core.journal.signal(now, record, SignalVerdict::Shown);
                    core.effect(Effect::ShowStatus);
                }
                Signal::Usr2 => core.journal.signal(now, record, SignalVerdict::Refused),
            },
            _ => {}
        }
        Present::Running(self)
    }
}

fn leave(now: Duration, cause: Cause, core: &mut Core) -> Present {
    let window = core.plan.window();
    let leaving = Leaving::begin(now, cause, window, core);
    Terminating::begin(now, leaving, core)
}
