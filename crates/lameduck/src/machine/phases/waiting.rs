//! Between a request and the departure, still in `Running`: a request that was announced, or one whose turn has not come.
//!
//! The deadline of a request counts from when it was made (T), waited or not. An announced one is made when it is due.

use core::time::Duration;

use super::leaving::Asked;
use crate::{
    machine::{Core, Effect, TurnRequest, repeats::Meaning, status::Waits},
    vocab::{Cause, Signal, SignalRecord, SignalVerdict},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) enum Waiting {
    /// Somebody said when the service will leave.
    Announced {
        why: String,
        since: Duration,
        due: Duration,
    },
    /// It was asked to leave, and has asked for its turn.
    Turn(Wish),
}

/// A request that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Wish {
    pub(super) number: u64,
    pub(super) asked: Asked,
    /// When it leaves without: what is left then is what its own drain needs.
    pub(super) until: Duration,
    /// A signal came, whoever asked first: the process will be killed, so this cannot be taken back.
    signalled: bool,
}

/// What a signal does to a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    EndsWaiting,
    Cuts(Signal),
}

impl Wish {
    /// Until when a request of this time would wait; `None` where no turns are given.
    pub(super) fn until(asked_at: Duration, core: &Core) -> Option<Duration> {
        let drain_end = asked_at.saturating_add(core.plan.drain_end());
        Some(drain_end.saturating_sub(core.turns.needs?))
    }

    /// Asks for a turn, where somebody gives them and there is time to wait for one.
    pub(super) fn make(now: Duration, asked: &Asked, core: &mut Core) -> Option<Self> {
        let until = Self::until(asked.at, core)?;
        if until <= now {
            core.journal.note(
                now,
                "it leaves without a turn: its own drain needs all the time that is left"
                    .to_owned(),
            );
            return None;
        }
        let drain_end = asked.at.saturating_add(core.plan.drain_end());
        core.turns.wishes += 1;
        let left = until - now;
        core.journal.note(
            now,
            format!(
                "waits for its turn to leave, at most {left:?}: {}",
                asked.cause
            ),
        );
        core.effect(Effect::AskTurn(TurnRequest {
            number: core.turns.wishes,
            cause: asked.cause.clone(),
            until,
            drain_end,
        }));
        Some(Self {
            number: core.turns.wishes,
            asked: asked.clone(),
            until,
            signalled: matches!(asked.cause, Cause::Signal(_)),
        })
    }

    /// Somebody asks for an end within this time from now on; an end that would be later than the wish's changes nothing.
    pub(super) fn hurry(&mut self, now: Duration, grace: Duration, core: &mut Core) {
        // T stays where it is: what was waited is part of the drain's time.
        let waited = now.saturating_sub(self.asked.at);
        core.shorten(now, waited.saturating_add(grace));
        if let Some(until) = Self::until(self.asked.at, core) {
            self.until = self.until.min(until);
        }
    }

    /// Whether it can be taken back.
    pub(super) const fn is_signalled(&self) -> bool {
        self.signalled
    }

    pub(super) fn signal(
        &mut self,
        now: Duration,
        record: &SignalRecord,
        core: &mut Core,
    ) -> Heard {
        self.signalled = true;
        let (verdict, heard) = match self.asked.repeats.take(now, record, &core.plan) {
            Meaning::Same => (SignalVerdict::Merged, Heard::Nothing),
            Meaning::Noted => (SignalVerdict::Recorded, Heard::Nothing),
            Meaning::EndsWindow => (SignalVerdict::EndedWait, Heard::EndsWaiting),
            Meaning::Cuts => (SignalVerdict::Cut, Heard::Cuts(record.signal)),
        };
        core.journal.signal(now, record.clone(), verdict);
        heard
    }
}

impl Waiting {
    pub(super) const fn until(&self) -> Duration {
        match self {
            Self::Announced { due, .. } => *due,
            Self::Turn(wish) => wish.until,
        }
    }

    pub(in crate::machine) fn status(&self, core: &Core) -> Waits {
        match self {
            Self::Announced { why, since, due } => Waits {
                for_turn: false,
                why: why.clone(),
                since: *since,
                until: *due,
                deadline: None,
            },
            Self::Turn(wish) => Waits {
                for_turn: true,
                why: wish.asked.cause.to_string(),
                since: wish.asked.at,
                until: wish.until,
                deadline: Some(wish.asked.at.saturating_add(core.plan.deadline())),
            },
        }
    }
}
