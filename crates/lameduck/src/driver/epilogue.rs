//! Those who have a last word to say after the end: how many there are, and when they may.
//!
//! Owns the count and the moment. The driver waits for them between the report and the end, as long as for any other writer.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use crate::{inflight::Token, vocab::Outcome};

#[derive(Debug, Default)]
pub(crate) struct Epilogues {
    begun: Token,
    outcome: OnceLock<Outcome>,
    count: AtomicUsize,
}

impl Epilogues {
    pub(crate) fn enter(&self) {
        self.count.fetch_add(1, SeqCst);
    }

    /// Whether somebody may be waiting for it.
    pub(super) fn leave(&self) -> bool {
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
        self.count.load(SeqCst) > 0
    }
}
