//! Enrolment: a participant says what it is before it takes part.

use std::{fmt, io, sync::Arc, time::Duration};

use super::{Member, Participant, more::Voice};
use crate::{
    driver::{Grants, Seat, Shared, Waited},
    inflight::Token,
    machine::{Enrolment, Hook, Input, Listens, MOST_PARTICIPANTS, ParticipantId},
    vocab::{Phase, Scope},
};

/// A participant about to enrol.
#[must_use = "a participant enrols with `register`"]
pub struct Enrol {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    after: Vec<ParticipantId>,
    pub(super) budget: Option<Duration>,
    open: Option<Box<dyn FnOnce() -> io::Result<()> + Send>>,
    listens: Listens,
}

impl fmt::Debug for Enrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrol")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Enrol {
    pub(crate) const fn new(shared: Arc<Shared>, name: String) -> Self {
        Self {
            shared,
            name,
            after: Vec::new(),
            budget: None,
            open: None,
            listens: Listens::Never,
        }
    }

    /// It depends on `other`: it ends, and its stop hook runs, before that of `other`.
    pub fn after(mut self, other: &impl Member) -> Self {
        self.after.push(other.place().id());
        self
    }

    /// How long it may take once it is told to close; without one, until the drain ends. With a [`History`](crate::History) this is the base
    /// from which it learns.
    pub const fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// It admits connections. `open` runs on the driver's thread when `Running` is entered, before anyone sees that
    /// phase; it calls listen(2) and must not block. `Draining` begins when the participant has reported
    /// [`admission_closed`](Participant::admission_closed).
    pub fn listener(mut self, open: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        self.open = Some(Box::new(open));
        self.listens = Listens::UntilClosed;
        self
    }

    /// It admits connections for others in the service, and goes on through `Draining` until
    /// [`closing`](Participant::closing): nobody waits for it to close. `open` runs as that of a [`listener`](Self::listener).
    pub fn inner_listener(
        mut self,
        open: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Self {
        self.open = Some(Box::new(open));
        self.listens = Listens::Never;
        self
    }

    /// Enrols it.
    ///
    /// # Errors
    /// [`EnrolError`] if the name is taken, if there are too many, or if the service is already leaving.
    pub fn register(self) -> Result<Participant, EnrolError> {
        let phase = self.shared.phase();
        if phase.is_leaving() {
            return Err(EnrolError::TooLate { phase });
        }
        let closing = Token::new();
        let asked_again = Token::new();
        let grants = Arc::new(Grants::new());
        let waited = Arc::new(Waited::default());
        let seat = Seat {
            name: self.name.clone(),
            closing: closing.clone(),
            asked_again: asked_again.clone(),
            cancelling: Arc::new(
                self.shared
                    .cancelling
                    .scoped_wide(Scope::Participant(self.name.as_str().into())),
            ),
            grants: Arc::clone(&grants),
            waited: Arc::clone(&waited),
            open: self.open,
            hook: None,
        };
        let (id, budget) = {
            let mut seats = self.shared.seats();
            if seats.iter().any(|seat| seat.name == self.name) {
                return Err(EnrolError::NameTaken { name: self.name });
            }
            let number = u32::try_from(seats.len())
                .ok()
                .filter(|_| seats.len() < MOST_PARTICIPANTS);
            let number = number.ok_or(EnrolError::TooMany)?;
            seats.push(seat);
            let id = ParticipantId::new(number);
            let budget = self.budget.map(|base| match self.shared.budgets() {
                Some(budgets) => budgets.learn(&self.name, base),
                None => base,
            });
            // While the seats are locked: who finds this one and depends on it is heard of after it.
            self.shared.send(Input::Enrol(Enrolment {
                id,
                name: self.name,
                after: self.after,
                budget,
                listens: self.listens,
                hook: Hook::None,
            }));
            (id, budget)
        };
        let voice = Voice {
            shared: self.shared,
            id,
            grants,
        };
        Ok(Participant::new(
            voice,
            budget,
            closing,
            asked_again,
            waited,
        ))
    }
}

/// Why a participant was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnrolError {
    /// Another participant has this name.
    NameTaken {
        /// The name.
        name: String,
    },
    /// There are as many as a lifecycle takes.
    TooMany,
    /// The service is leaving.
    TooLate {
        /// The phase it is in.
        phase: Phase,
    },
}

impl fmt::Display for EnrolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken { name } => write!(
                f,
                "a participant named {name:?} has enrolled already; give each its own name"
            ),
            Self::TooMany => write!(f, "a lifecycle takes {MOST_PARTICIPANTS} participants"),
            Self::TooLate { phase } => {
                write!(f, "nothing can enrol in {phase}: the service is leaving")
            }
        }
    }
}

impl std::error::Error for EnrolError {}
