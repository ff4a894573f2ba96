//! `Running`: everything is served; the first termination request ends it, once its turn has come where turns are given.

use core::time::Duration;

use super::{
    Leaving, Present,
    leaving::Asked,
    terminating::Terminating,
    waiting::{Heard, Waiting, Wish},
};
use crate::{
    machine::{Answer, Core, Effect, Input, Uncancellable, WishEnd},
    vocab::{Cause, CutBy, Outcome, Phase, Signal, SignalRecord, SignalVerdict, Window},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Running {
    pub(in crate::machine) waiting: Option<Waiting>,
}

impl Running {
    pub(super) fn begin(now: Duration, core: &mut Core) -> Present {
        // The listeners open before anyone can see the phase: who waits for Running finds a socket that listens.
        core.effect(Effect::OpenAdmission);
        core.enter(now, Phase::Running, None);
        Present::Running(Self { waiting: None })
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
                    return self.fail(now, Cause::ParticipantFailed { name, why }, core);
                }
            }
            Input::AdmissionClosed(id, report) => core.roster.admission_closed(now, id, report),
            Input::NotOpened(id, why) => {
                let why = format!("participant {}: {why}", core.roster.name(id));
                core.roster
                    .answer(now, id, &Answer::Failed { why: why.clone() });
                // Nobody can have come in by a door that did not open; the others close without a window.
                let asked = Asked::now(now, Cause::StartFailed { why });
                let leaving = Leaving::begin(now, asked, Window::NONE, core);
                return Terminating::begin(now, leaving, core);
            }
            Input::Terminate { why } => return self.ask(now, Cause::Api { why }, core),
            Input::TerminateWithin { why, grace } => {
                return self.ask_within(now, grace, Cause::Api { why }, core);
            }
            Input::StartFailed { why } => {
                let name = "main".to_owned();
                return self.fail(now, Cause::ParticipantFailed { name, why }, core);
            }
            Input::Cut => return self.cut(now, CutBy::Api, core),
            Input::Signal(record) => return self.signal(now, record, core),
            Input::Announce { why, delay } => return self.announce(now, why, delay, core),
            Input::Cancel { why } => return self.cancel(now, &why, core),
            Input::TakesTurns { needs: None } if matches!(self.waiting, Some(Waiting::Turn(_))) => {
                core.journal
                    .note(now, "nobody gives turns any longer: it leaves".to_owned());
                return self.leave(now, core);
            }
            Input::TurnGiven { wish, note } => return self.turn_given(now, wish, &note, core),
            _ => {}
        }
        Present::Running(self)
    }

    fn signal(mut self, now: Duration, record: SignalRecord, core: &mut Core) -> Present {
        match record.signal {
            Signal::Term | Signal::Int => {
                let Some(Waiting::Turn(wish)) = &mut self.waiting else {
                    let verdict = if Wish::until(now, core).is_some_and(|until| until > now) {
                        SignalVerdict::Waits
                    } else {
                        SignalVerdict::Started
                    };
                    core.journal.signal(now, record.clone(), verdict);
                    return self.ask(now, Cause::Signal(record), core);
                };
                match wish.signal(now, &record, core) {
                    Heard::Nothing => {}
                    Heard::EndsWaiting => return self.leave(now, core),
                    Heard::Cuts(signal) => return self.cut(now, CutBy::Signal(signal), core),
                }
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
        }
        Present::Running(self)
    }

    /// A request: it waits for its turn, or leaves.
    fn ask(mut self, now: Duration, cause: Cause, core: &mut Core) -> Present {
        match &self.waiting {
            Some(Waiting::Turn(_)) => {
                core.journal.note(
                    now,
                    format!("asked again while it waits for its turn: {cause}"),
                );
                return Present::Running(self);
            }
            Some(Waiting::Announced { .. }) => core.journal.note(
                now,
                "the departure that was announced comes earlier".to_owned(),
            ),
            None => {}
        }
        let asked = Asked::now(now, cause);
        if let Some(wish) = Wish::make(now, &asked, core) {
            self.waiting = Some(Waiting::Turn(wish));
            return Present::Running(self);
        }
        depart(now, asked, core)
    }

    /// A request with less time than the plan gives: what waits for its turn waits less long, never longer (INV-2).
    fn ask_within(
        mut self,
        now: Duration,
        grace: Duration,
        cause: Cause,
        core: &mut Core,
    ) -> Present {
        let Some(Waiting::Turn(wish)) = &mut self.waiting else {
            core.shorten(now, grace);
            return self.ask(now, cause, core);
        };
        wish.hurry(now, grace, core);
        self.ask(now, cause, core)
    }

    /// A service that has failed waits for nobody.
    fn fail(mut self, now: Duration, cause: Cause, core: &mut Core) -> Present {
        if let Some(Waiting::Turn(wish)) = &mut self.waiting {
            wish.asked.failed = true;
            core.journal
                .note(now, format!("waits for its turn no longer: {cause}"));
            return self.leave(now, core);
        }
        depart(now, Asked::now(now, cause), core)
    }

    fn announce(mut self, now: Duration, why: String, delay: Duration, core: &mut Core) -> Present {
        if let Some(Waiting::Turn(_)) = self.waiting {
            core.journal.note(
                now,
                format!("already asked to leave; not announced once more: {why}"),
            );
            return Present::Running(self);
        }
        if delay.is_zero() {
            return self.ask(now, Cause::Api { why }, core);
        }
        core.journal
            .note(now, format!("will be asked to leave in {delay:?}: {why}"));
        // The last word counts: an announcement that is repeated moves.
        self.waiting = Some(Waiting::Announced {
            why,
            since: now,
            due: now.saturating_add(delay),
        });
        Present::Running(self)
    }

    fn cancel(mut self, now: Duration, why: &str, core: &mut Core) -> Present {
        let refused = match &self.waiting {
            None => Some(Uncancellable::NothingWaits),
            Some(Waiting::Turn(wish)) if wish.is_signalled() => Some(Uncancellable::Signalled),
            Some(_) => None,
        };
        if let Some(refused) = refused {
            core.journal
                .note(now, format!("cannot be taken back: {refused} ({why})"));
            core.effect(Effect::CancelAnswered(Err(refused)));
            return Present::Running(self);
        }
        core.journal
            .note(now, format!("the request to leave was taken back: {why}"));
        if let Some(Waiting::Turn(wish)) = self.waiting.take() {
            core.effect(Effect::EndWish(wish.number, WishEnd::Cancelled));
        }
        // The hurry went with the request.
        if let Some(plan) = core.full_plan.take() {
            core.plan = plan;
        }
        core.effect(Effect::CancelAnswered(Ok(())));
        Present::Running(self)
    }

    fn turn_given(self, now: Duration, number: u64, note: &str, core: &mut Core) -> Present {
        match &self.waiting {
            Some(Waiting::Turn(wish)) if wish.number == number => {
                let waited = now.saturating_sub(wish.asked.at);
                core.journal
                    .note(now, format!("its turn came after {waited:?}: {note}"));
                self.leave(now, core)
            }
            // Of a wish that is over: whoever gave it hears so from the wish.
            _ => Present::Running(self),
        }
    }

    fn cut(self, now: Duration, by: CutBy, core: &mut Core) -> Present {
        if let Some(Waiting::Turn(wish)) = self.waiting {
            core.effect(Effect::EndWish(wish.number, WishEnd::Cut));
        }
        Present::gone(now, Phase::Running, Outcome::Cut(by), None, core)
    }

    /// With the request that waits.
    fn leave(mut self, now: Duration, core: &mut Core) -> Present {
        match self.waiting.take() {
            Some(Waiting::Turn(wish)) => {
                core.effect(Effect::EndWish(wish.number, WishEnd::Leaves));
                depart(now, wish.asked, core)
            }
            Some(Waiting::Announced { why, .. }) => self.ask(now, Cause::Api { why }, core),
            None => Present::Running(self),
        }
    }

    pub(super) fn wake(self, now: Duration, core: &mut Core) -> Present {
        match &self.waiting {
            Some(waiting) if waiting.until() <= now => {
                if let Waiting::Turn(wish) = waiting {
                    let waited = now.saturating_sub(wish.asked.at);
                    core.journal.note(
                        now,
                        format!("no turn came within {waited:?}: it leaves without"),
                    );
                }
                self.leave(now, core)
            }
            _ => Present::Running(self),
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.waiting.as_ref().map(Waiting::until)
    }
}

fn depart(now: Duration, asked: Asked, core: &mut Core) -> Present {
    let window = core.plan.window();
    let leaving = Leaving::begin(now, asked, window, core);
    Terminating::begin(now, leaving, core)
}
