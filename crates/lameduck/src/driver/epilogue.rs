//! Those who have a last word to say after the end: how many there are, and when they may.
//!
//! Owns the count and the moment. The driver waits for them between the report and the end, as long as for any other writer.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use super::thread::PATIENCE;
use crate::{inflight::Token, vocab::Outcome};

/// Who has the last word, and with that, how long it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// A writer, as any other.
    Writer,
    /// A member of a group, which waits for the group to have its slot back.
    #[cfg(feature = "group")]
    Member,
}

impl Speaker {
    const fn patience(self) -> Duration {
        match self {
            Self::Writer => PATIENCE,
            // As long as `Slot::give_back` and `Group::leave` take at most.
            #[cfg(feature = "group")]
            Self::Member => Duration::from_secs(1),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Epilogues {
    begun: Token,
    outcome: OnceLock<Outcome>,
    count: AtomicUsize,
    /// Of those, members of groups.
    members: AtomicUsize,
}

impl Epilogues {
    pub(crate) fn enter(&self, who: Speaker) {
        if who != Speaker::Writer {
            self.members.fetch_add(1, SeqCst);
        }
        self.count.fetch_add(1, SeqCst);
    }

    /// Whether somebody may be waiting for it.
    pub(super) fn leave(&self, who: Speaker) -> bool {
        if who != Speaker::Writer {
            self.members.fetch_sub(1, SeqCst);
        }
        self.count.fetch_sub(1, SeqCst);
        self.begun.is_fired()
    }

    /// The end is decided.
    pub(super) fn begin(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
        self.begun.fire();
    }

    pub(crate) const fn begun(&self) -> &Token {
        &self.begun
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().copied()
    }

    pub(super) fn are_open(&self) -> bool {
        self.patience().is_some()
    }

    /// How long those that are there are waited for; `None` if nobody is.
    pub(super) fn patience(&self) -> Option<Duration> {
        #[cfg(feature = "group")]
        if self.members.load(SeqCst) > 0 {
            return Some(Speaker::Member.patience());
        }
        (self.count.load(SeqCst) > 0).then_some(Speaker::Writer.patience())
    }
}
