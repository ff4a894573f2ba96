//! The messages, as data.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use crate::vocab::{ParticipantState, Phase, Terms};

/// What the coordinator says to a participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ToParticipant {
    /// The first message of a session.
    Hello {
        /// Names this connection.
        session: String,
        /// The phase in which the coordinator is.
        phase: Phase,
        /// The drain under way, if there is one. This session takes no part in it.
        drain_id: Option<String>,
    },
    /// The service leaves: answer, and finish when you are told to.
    ShutdownRequest {
        /// The drain.
        id: String,
        /// Why it leaves, in one word: `signal`, `api`, `participant-failed` or `start-failed`.
        kind: String,
        /// Why it leaves, for people.
        cause: String,
        /// How much time there is.
        terms: Terms,
        /// Whether it is asked once more, having said nothing for half of its budget.
        again: bool,
    },
    /// Nothing that depends on you is at work any longer: finish now; your budget runs from here.
    Close {
        /// The drain.
        id: String,
        /// How much time there is.
        terms: Terms,
    },
    /// You have more time.
    Granted {
        /// The drain.
        id: String,
        /// The number of the wish; `None` if an operator gave it.
        wish: Option<u32>,
        /// How much more, also nothing.
        by: Duration,
        /// How much time there is now, this grant included.
        terms: Terms,
    },
    /// You are waited for no longer.
    Over {
        /// The drain.
        id: String,
        /// What became of you.
        state: End,
    },
}

/// What a participant says to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FromParticipant {
    /// It is ready to serve.
    Ready,
    /// It heard the request.
    Ack {
        /// The drain.
        id: String,
    },
    /// It is at work.
    Working {
        /// The drain.
        id: String,
        /// How much is done.
        done: u64,
        /// Of how much.
        total: u64,
        /// What it is at; may be empty.
        note: String,
    },
    /// It wishes for more time than its budget.
    NeedMore {
        /// The drain.
        id: String,
        /// The number of the wish: the same number is the same wish.
        wish: u32,
        /// How much more.
        by: Duration,
        /// Why; may be empty.
        why: String,
    },
    /// It finished.
    Done {
        /// The drain.
        id: String,
        /// What it counted, by name.
        figures: Vec<(String, i64)>,
    },
    /// It will not finish for this drain.
    Refused {
        /// The drain.
        id: String,
        /// Why; may be empty.
        why: String,
    },
    /// It failed.
    Failed {
        /// The drain; `None` while the service serves.
        id: Option<String>,
        /// Why; may be empty.
        why: String,
    },
}

impl FromParticipant {
    /// The drain that it is about.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::Ack { id }
            | Self::Working { id, .. }
            | Self::NeedMore { id, .. }
            | Self::Done { id, .. }
            | Self::Refused { id, .. } => Some(id),
            Self::Failed { id, .. } => id.as_deref(),
        }
    }

    /// Whether nothing counts that is said after it.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Done { .. } | Self::Refused { .. } | Self::Failed { .. }
        )
    }
}

/// What became of a participant that is waited for no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// It finished.
    Done,
    /// It failed.
    Failed,
    /// It refused to finish.
    Refused,
    /// Its budget, or the drain, was over first.
    Overdue,
    /// It was not ready, or away, when the service began to leave.
    NotStarted,
}

impl End {
    pub(super) const ALL: [Self; 5] = [
        Self::Done,
        Self::Failed,
        Self::Refused,
        Self::Overdue,
        Self::NotStarted,
    ];

    /// One lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Overdue => "overdue",
            Self::NotStarted => "not_started",
        }
    }

    /// The end that a participant's state is; `None` while it is waited for.
    #[must_use]
    pub const fn of(state: &ParticipantState) -> Option<Self> {
        Some(match state {
            ParticipantState::Done => Self::Done,
            ParticipantState::Failed { .. } => Self::Failed,
            ParticipantState::Refused { .. } => Self::Refused,
            ParticipantState::Overdue { .. } => Self::Overdue,
            ParticipantState::NotStarted | ParticipantState::Away { .. } => Self::NotStarted,
            ParticipantState::Silent | ParticipantState::Working => return None,
        })
    }
}
