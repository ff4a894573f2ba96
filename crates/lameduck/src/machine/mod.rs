//! The machine that decides everything, and touches nothing.
//!
//! It owns the five phases, the participants, the timers and the record of what happened. It does not own a clock, a
//! thread, a socket or a signal (INV-6): the driver tells it the time with every call and executes what it asks for.
//!
//! How it is driven, in this order and on one thread:
//!
//! - **in**: [`Machine::handle`] takes the time and an [`Input`]; time never goes back.
//! - **out**: [`Machine::poll_effect`] until it is `None`, and execute each [`Effect`] in that order.
//! - **told**: [`Machine::poll_news`] says what happened, for whoever observes; nothing depends on its being asked.
//! - **time**: [`Machine::poll_timeout`] says when to come back with [`Input::Wake`].
//! - **getters**: [`Machine::phase`], [`Machine::status`], [`Machine::report`] change nothing.
//!
//! Each phase is a struct of its own in `phases/`; a transition consumes it, so that the data of a phase cannot be
//! reached from another. Reading order: [`Input`] and [`Effect`], `phases/running.rs`, `phases/terminating.rs`,
//! `phases/draining.rs`, `phases/stopped.rs`, then `roster.rs`.
//!
//! # Examples
//! ```
//! use lameduck::machine::{Effect, Input, Machine};
//! use lameduck::{Phase, Plan, Preset};
//! use std::time::Duration;
//!
//! let mut machine = Machine::new(Plan::preset(Preset::Local));
//! machine.handle(Duration::ZERO, Input::Started);
//! assert_eq!(machine.phase(), Phase::Running);
//! machine.handle(Duration::from_secs(5), Input::Terminate { why: "enough".into() });
//! assert_eq!(machine.phase(), Phase::Terminating);
//! assert!(std::iter::from_fn(|| machine.poll_effect()).any(|effect| matches!(effect, Effect::Broadcast(_))));
//! ```

mod io;
mod journal;
mod learning;
mod phases;
mod repeats;
mod roster;
mod status;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::VecDeque;

pub use io::{
    Answer, Effect, Enrolment, Hook, Input, Listens, ParticipantId, ShutdownRequest, Traffic,
    TurnRequest, Uncancellable, WishEnd,
};
use journal::Journal;
pub use learning::{NEEDS, Need, learn};
use phases::{Leaving, Present};
#[cfg(feature = "signals")]
pub(crate) use repeats::ends_waiting;
pub use roster::MOST_PARTICIPANTS;
use roster::{Roster, Wish};
pub use status::{ParticipantStatus, Status, Waits};

use crate::vocab::{News, Phase, Plan, Report};

/// The five-phase machine. See the [module](self) for how it is driven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    core: Core,
    present: Present,
    now: Duration,
}

/// What every phase shares: the plan, the participants, the effects to come and the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Core {
    plan: Plan,
    roster: Roster,
    effects: VecDeque<Effect>,
    journal: Journal,
    turns: Turns,
    /// The plan, where that of this drain was shortened.
    full_plan: Option<Plan>,
}

/// Whether turns are given to leave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Turns {
    /// They are, and of a drain's time its own work needs so much.
    needs: Option<Duration>,
    /// How many were asked for.
    wishes: u64,
}

impl Core {
    fn effect(&mut self, effect: Effect) {
        // INV-11: per participant at most one of each kind is outstanding; the rest are single.
        debug_assert!(
            self.effects.len() <= 4 * MOST_PARTICIPANTS + 64,
            "INV-11: effects are polled after each input"
        );
        self.effects.push_back(effect);
    }

    /// Enters a phase; on the way out, with the cause and the deadline.
    fn enter(&mut self, now: Duration, phase: Phase, leaving: Option<&Leaving>) {
        self.gather();
        let changed = News::PhaseChanged {
            from: self.journal.phase(),
            to: phase,
            took: now.saturating_sub(self.journal.since()),
            cause: leaving.map(|leaving| leaving.cause.clone()),
            deadline: leaving.map(|leaving| leaving.deadline(&self.plan)),
        };
        self.journal.enter(now, phase);
        self.journal.news(now, changed);
        self.effect(Effect::Enter(phase));
    }

    /// Whoever asks has less time than the plan gives. Before the request is told of, so that its deadline is computed once.
    fn shorten(&mut self, now: Duration, grace: Duration) {
        let shorter = self.plan.clone().shortened(grace);
        if shorter != self.plan {
            let (from, to) = (self.plan.grace(), shorter.grace());
            let longer = core::mem::replace(&mut self.plan, shorter);
            // A request that waits can be hurried more than once: what comes back with `cancel` is the first.
            self.full_plan.get_or_insert(longer);
            self.journal.note(
                now,
                format!(
                    "the grace period of this drain is {to:?} instead of {from:?}, as was asked"
                ),
            );
        }
    }

    /// Takes an answer while the service leaves; what went wrong is a line of the report.
    fn answer(&mut self, now: Duration, id: ParticipantId, answer: &Answer) {
        if let Answer::Failed { why } = answer {
            self.note_failure(now, id, why);
        }
        let is_news = self.roster.answer(now, id, answer);
        match answer {
            Answer::Away { why } if is_news => self.note_failure(now, id, why),
            Answer::Refused { why } if is_news => {
                let name = self.roster.name(id);
                self.journal
                    .note(now, format!("participant {name} refused to finish: {why}"));
            }
            _ => {}
        }
    }

    /// Answers a wish, or an operator.
    fn grant(&mut self, now: Duration, id: ParticipantId, wish: Wish, drain_end: Option<Duration>) {
        let number = wish.number;
        let by = self.roster.grant(now, id, wish, drain_end);
        self.effect(Effect::Granted(id, number, by));
    }

    /// A participant failed while the service leaves.
    fn note_failure(&mut self, now: Duration, id: ParticipantId, why: &str) {
        let name = self.roster.name(id);
        self.journal
            .note(now, format!("participant {name} failed: {why}"));
    }

    /// What the roster has to tell stands before what comes now.
    fn gather(&mut self) {
        for (at, news) in self.roster.take_news() {
            self.journal.news(at, news);
        }
    }
}

impl Machine {
    /// A machine in `Initializing`, at time zero.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            core: Core {
                plan,
                roster: Roster::default(),
                effects: VecDeque::new(),
                journal: Journal::new(),
                turns: Turns::default(),
                full_plan: None,
            },
            present: Present::initializing(),
            now: Duration::ZERO,
        }
    }

    /// Takes an input at a time since the start. A time before the last one counts as the last one.
    pub fn handle(&mut self, now: Duration, input: Input) {
        if self.is_over() {
            // The names of what was in flight may come last, if the end was noticed late.
            if let Input::Stragglers(named, unnamed) = input {
                self.core.journal.stragglers(self.now, named, unnamed);
            }
            return;
        }
        let now = now.max(self.now);
        self.now = now;
        let before = self.phase();
        self.settle(now);
        if let Some(input) = self.take_common(now, input) {
            self.step(|present, core| present.input(now, input, core));
        }
        self.settle(now);
        self.core.gather();
        debug_assert!(self.phase() >= before, "INV-1: phases only advance");
    }

    /// What is to be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.core.effects.pop_front()
    }

    /// What happened next, with its time since the start.
    ///
    /// Kept until it is asked for, at most 3,072 of them; then the oldest makes room and is counted in the report, under
    /// `dropped`.
    pub fn poll_news(&mut self) -> Option<(Duration, News)> {
        self.core.journal.take_news()
    }

    /// When [`Input::Wake`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.present.timeout(&self.core)
    }

    /// The phase.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.present.phase()
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.core.plan
    }

    /// Whether the end is decided: after [`Effect::Exit`] nothing happens any more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.present, Present::Gone(_))
    }

    /// What a person is told.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.core, &self.present)
    }

    /// What happened so far. The driver adds the counts.
    #[must_use]
    pub fn report(&self) -> Report {
        self.core
            .journal
            .report(self.now, &self.core.plan, &self.core.roster, &self.present)
    }

    /// Inputs that mean the same in every phase.
    fn take_common(&mut self, now: Duration, input: Input) -> Option<Input> {
        match input {
            Input::Wake => None,
            Input::Note(what) => {
                self.core.journal.note(now, what);
                None
            }
            Input::Switched(switch) => {
                self.core.journal.news(now, News::Switched(switch));
                None
            }
            Input::Reload => {
                self.reload(now);
                None
            }
            Input::Reloaded { name, result } => {
                self.core.journal.reloaded(now, name, result);
                None
            }
            Input::Enrol(enrolment) => {
                let name = enrolment.name.clone();
                if !self.core.roster.enrol(now, enrolment) {
                    self.core
                        .journal
                        .note(now, format!("participant {name} was not taken"));
                } else if self.phase().is_leaving() {
                    // It enrolled while the request was on its way: as those still starting then, it is not waited for.
                    self.core.roster.ask_all(now);
                }
                None
            }
            Input::TakesTurns { needs } => {
                self.core.turns.needs = needs;
                // Nobody gives turns any longer: what waits for one is let go.
                needs.is_none().then_some(Input::TakesTurns { needs })
            }
            Input::Cancel { why } if self.phase() != Phase::Running => {
                let refused = if self.phase().is_leaving() {
                    Uncancellable::Leaving
                } else {
                    Uncancellable::NothingWaits
                };
                self.core
                    .journal
                    .note(now, format!("cannot be taken back: {refused} ({why})"));
                self.core.effect(Effect::CancelAnswered(Err(refused)));
                None
            }
            // INV-10: once hooks run, the place of another one in their order may have passed.
            Input::Hooked(id) if self.phase() == Phase::Stopped => {
                let name = self.core.roster.name(id);
                self.core
                    .journal
                    .note(now, format!("the stop hook of {name} came too late"));
                None
            }
            Input::Hooked(id) => {
                self.core.roster.hooked(id);
                None
            }
            Input::Returned(id) => {
                self.core.roster.returned(now, id);
                None
            }
            Input::Grant(id, by) => {
                let (number, why) = (None, String::new());
                self.grant(now, id, Wish { number, by, why });
                None
            }
            Input::Answer(id, answer) => self.take_answer(now, id, answer),
            other => Some(other),
        }
    }

    /// A wish means the same in every phase; other answers are for the phase.
    fn take_answer(&mut self, now: Duration, id: ParticipantId, answer: Answer) -> Option<Input> {
        let (answer, dropped) = answer.bounded();
        self.core.journal.drop_figures(dropped);
        let Answer::NeedMore { wish, by, why } = answer else {
            return Some(Input::Answer(id, answer));
        };
        let number = Some(wish);
        self.grant(now, id, Wish { number, by, why });
        None
    }

    fn grant(&mut self, now: Duration, id: ParticipantId, wish: Wish) {
        // The end came with the time of this input, and is the last effect.
        if self.is_over() {
            return;
        }
        let leaving = self.present.leaving();
        let drain_end = leaving.map(|leaving| leaving.drain_end(&self.core.plan));
        self.core.grant(now, id, wish, drain_end);
    }

    /// As SIGHUP, which says the same in its own record.
    fn reload(&mut self, now: Duration) {
        let phase = self.phase();
        if phase == Phase::Running {
            self.core
                .journal
                .note(now, "a reload was asked for by the program".to_owned());
            self.core.effect(Effect::Reload);
        } else {
            self.core
                .journal
                .note(now, format!("a reload was refused in {phase}"));
        }
    }

    /// Lets time do what is due, until nothing is.
    fn settle(&mut self, now: Duration) {
        // Each wake moves a timer or changes the phase, so this ends; the bound is for the day on which it does not.
        for _ in 0..10_000 {
            match self.poll_timeout() {
                Some(due) if due <= now => self.step(|present, core| present.wake(now, core)),
                _ => return,
            }
        }
        debug_assert!(
            false,
            "a timer that is due does not move: {:?}",
            self.present
        );
    }

    /// Forgets what only reports and observers read, so that a model's states differ only in what decides.
    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        self.core.journal.forget();
        self.core.roster.forget();
    }

    fn step(&mut self, transition: impl FnOnce(Present, &mut Core) -> Present) {
        let present = core::mem::replace(&mut self.present, Present::initializing());
        self.present = transition(present, &mut self.core);
    }
}
