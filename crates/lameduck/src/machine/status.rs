//! The machine as a picture for people: what is known now, copied, and nothing that decides.

use alloc::sync::Arc;
use core::time::Duration;

use super::{
    Core,
    io::Enrolment,
    phases::Present,
    roster::{HookStanding, Said, Standing},
};
use crate::vocab::{Cause, Grant, Phase, PhaseReport, Progress};

/// What a person or a page is told of a machine that is still going.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// When it was entered.
    pub since: Duration,
    /// When the request came (T), if it came.
    pub requested_at: Option<Duration>,
    /// Its cause.
    pub cause: Option<Cause>,
    /// What is waited for before it leaves: its time, or its turn.
    pub waits: Option<Waits>,
    /// When the lame-duck window ends at the latest, while it is open.
    pub window_until: Option<Duration>,
    /// When the drain ends.
    pub drain_end: Option<Duration>,
    /// When the process is gone.
    pub deadline: Option<Duration>,
    /// The phases so far.
    pub phases: Vec<PhaseReport>,
    /// Every participant, in the order of enrolment.
    pub participants: Vec<ParticipantStatus>,
    /// What did not fit into a bounded list, by the list's name; only what is above zero.
    pub dropped: Vec<(&'static str, u64)>,
}

impl Status {
    pub(super) fn of(core: &Core, present: &Present) -> Self {
        let leaving = present.leaving();
        let since = core.journal.since();
        let drain_end = leaving.map(|leaving| leaving.drain_end(&core.plan));
        Self {
            phase: present.phase(),
            since,
            requested_at: leaving.map(|leaving| leaving.requested_at),
            cause: leaving.map(|leaving| leaving.cause.clone()),
            waits: present.waiting().map(|waiting| waiting.status(core)),
            window_until: leaving.and_then(|leaving| leaving.window_until()),
            drain_end,
            deadline: leaving.map(|leaving| leaving.deadline(&core.plan)),
            phases: core.journal.phases(since),
            participants: core.roster.statuses(drain_end),
            dropped: core.journal.dropped(),
        }
    }

    /// Names of the participants that have not ended: what blocks.
    pub fn open(&self) -> impl Iterator<Item = &str> {
        self.participants
            .iter()
            .filter(|one| !one.is_ended())
            .map(ParticipantStatus::name)
    }
}

/// A departure that has not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// Whether it waits for its turn; otherwise for its time.
    pub for_turn: bool,
    /// Why it is to leave.
    pub why: String,
    /// Since when it waits.
    pub since: Duration,
    /// When it leaves at the latest.
    pub until: Duration,
    /// When the process is gone; an announced departure has no deadline yet.
    pub deadline: Option<Duration>,
}

/// How one participant stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantStatus {
    pub(super) enrolment: Arc<Enrolment>,
    pub(super) standing: Standing,
    pub(super) hook: HookStanding,
    pub(super) said: Arc<Said>,
    pub(super) budget: Option<Duration>,
    pub(super) admits: bool,
    pub(super) closed_at: Option<Duration>,
    pub(super) due_at: Option<Duration>,
    pub(super) ended_at: Option<Duration>,
}

impl ParticipantStatus {
    /// What it said of itself when it enrolled.
    #[must_use]
    pub fn enrolment(&self) -> &Enrolment {
        &self.enrolment
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.enrolment.name
    }

    /// One lower-case word: `starting`, `away`, `up`, `asked`, `working` (it answered), and once it ended that of its
    /// [`ParticipantState`](crate::ParticipantState).
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match &self.standing {
            Standing::Starting => "starting",
            Standing::Away { .. } => "away",
            Standing::Up => "up",
            Standing::Asked { answered: false } => "asked",
            Standing::Asked { answered: true } => "working",
            Standing::Ended(state) => state.as_str(),
        }
    }

    /// What was said about it, if it is away, failed or refused.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match &self.standing {
            Standing::Away { why } => Some(why),
            Standing::Ended(state) => state.why(),
            _ => None,
        }
    }

    /// How far it said that it is, last.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        self.said.progress()
    }

    /// What it got beyond the budget of its enrolment, or did not get.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        self.said.grants()
    }

    /// What it counted, by name; said when it was done.
    #[must_use]
    pub fn figures(&self) -> &[(String, i64)] {
        self.said.figures()
    }

    /// Its budget with all that it was granted; `None`: until the drain ends.
    #[must_use]
    pub const fn budget(&self) -> Option<Duration> {
        self.budget
    }

    /// Whether nothing more is expected of it, but its stop hook.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended(_))
    }

    /// Whether its listener is open, as far as is known.
    #[must_use]
    pub const fn admits(&self) -> bool {
        self.admits
    }

    /// When it was told to finish; its budget runs from here.
    #[must_use]
    pub const fn closed_at(&self) -> Option<Duration> {
        self.closed_at
    }

    /// When its budget ends, once it was told to finish; `None` without a budget.
    #[must_use]
    pub const fn due_at(&self) -> Option<Duration> {
        self.due_at
    }

    /// When it ended.
    #[must_use]
    pub const fn ended_at(&self) -> Option<Duration> {
        self.ended_at
    }

    /// Its stop hook: one lower-case word, `waiting`, `running`, or how it ended; `None` if it has none.
    #[must_use]
    pub const fn hook(&self) -> Option<&'static str> {
        match &self.hook {
            HookStanding::Absent => None,
            HookStanding::Waiting => Some("waiting"),
            HookStanding::Running { .. } => Some("running"),
            HookStanding::Ended(hooked) => Some(hooked.state.as_str()),
        }
    }

    /// Since when its stop hook runs, and until when it may.
    #[must_use]
    pub const fn hook_runs(&self) -> Option<(Duration, Duration)> {
        match &self.hook {
            HookStanding::Running { since, until } => Some((*since, *until)),
            _ => None,
        }
    }
}
