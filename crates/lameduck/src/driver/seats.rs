//! What the driver holds for each participant: how to tell it something, and its stop hook.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

use super::{Grants, Shared};
use crate::{
    inflight::{Canceller, Fired, Token},
    machine::{Input, ParticipantId},
    vocab::ParticipantState,
};

/// Runs a stop hook somewhere else and says when it ends; must not block.
pub(crate) type HookRun = Box<dyn FnOnce(HookEnd) + Send>;
/// Opens a listener; must not block.
pub(crate) type OpenListener = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// One participant, as the driver sees it.
pub(crate) struct Seat {
    pub(crate) name: String,
    /// Nothing that depends on it is left: it finishes now.
    pub(crate) closing: Token,
    /// It was asked again.
    pub(crate) asked_again: Token,
    /// Of what works for it.
    pub(crate) cancelling: Arc<Canceller>,
    /// What it got beyond its budget.
    pub(crate) grants: Arc<Grants>,
    pub(crate) waited: Arc<Waited>,
    pub(crate) open: Option<OpenListener>,
    pub(crate) hook: Option<HookRun>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Whether a participant is waited for, and how it ended.
#[derive(Debug, Default)]
pub(crate) struct Waited {
    ended: Token,
    state: OnceLock<ParticipantState>,
}

impl Waited {
    /// When it is waited for no longer.
    pub(crate) fn fired(&self) -> Fired {
        self.ended.fired()
    }

    /// How it ended.
    pub(crate) fn state(&self) -> Option<ParticipantState> {
        self.state.get().cloned()
    }

    pub(super) fn end(&self, state: ParticipantState) {
        // A participant ends once.
        let _ = self.state.set(state);
        self.ended.fire();
    }
}

/// Says how a stop hook ended; dropped unsaid, it says that the hook did not run to its end.
pub(crate) struct HookEnd {
    said: Option<(Arc<Shared>, ParticipantId)>,
}

impl HookEnd {
    pub(super) const fn new(shared: Arc<Shared>, id: ParticipantId) -> Self {
        Self {
            said: Some((shared, id)),
        }
    }

    pub(crate) fn say(mut self, result: Result<(), String>) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result<(), String>) {
        if let Some((shared, id)) = self.said.take() {
            shared.send(Input::HookEnded(id, result));
        }
    }
}

impl Drop for HookEnd {
    fn drop(&mut self) {
        self.tell(Err("did not run to its end".to_owned()));
    }
}
