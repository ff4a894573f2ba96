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

/// How long a member of a group is waited for: as long as `Slot::give_back` and `Group::leave` take at most.
const LONGER: Duration = Duration::from_secs(1);

/// Who has the last word: how long it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speaker(Duration);

impl Speaker {
    /// A writer, as any other.
    pub(crate) const WRITER: Self = Self(PATIENCE);

    /// A member of a group, which waits for the group to have its slot back.
    #[cfg(feature = "group")]
    pub(crate) const MEMBER: Self = Self(LONGER);
}

#[derive(Debug, Default)]
pub(crate) struct Epilogues {
    begun: Token,
    outcome: OnceLock<Outcome>,
    count: AtomicUsize,
    /// Of those, the ones that are waited for longer than a writer.
    longer: AtomicUsize,
}

impl Epilogues {
    pub(crate) fn enter(&self, who: Speaker) {
        if who != Speaker::WRITER {
            self.longer.fetch_add(1, SeqCst);
        }
        self.count.fetch_add(1, SeqCst);
    }

    /// Whether somebody may be waiting for it.
    pub(super) fn leave(&self, who: Speaker) -> bool {
        if who != Speaker::WRITER {
            self.longer.fetch_sub(1, SeqCst);
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
        if self.longer.load(SeqCst) > 0 {
            return Some(LONGER);
        }
        (self.count.load(SeqCst) > 0).then_some(PATIENCE)
    }
}
