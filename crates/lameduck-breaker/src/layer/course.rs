//! One call under way.

use crate::attempt::Attempt;
use crate::verdict::Verdict;

/// An attempt, and whether code that is not ours runs: if that never returns, it panicked.
#[derive(Debug)]
pub(super) struct Course {
    /// None: nobody watches the call, or it was reported.
    attempt: Option<Attempt>,
    is_inside: bool,
}

impl Course {
    pub(super) fn begin(attempt: Option<Attempt>) -> Self {
        Self {
            attempt,
            is_inside: false,
        }
    }

    /// Runs code that is not ours.
    pub(super) fn enter<R>(&mut self, code: impl FnOnce() -> R) -> R {
        self.is_inside = true;
        let result = code();
        self.is_inside = false;
        result
    }

    pub(super) fn report(&mut self, verdict: Verdict) {
        if let Some(attempt) = self.attempt.take() {
            attempt.report(verdict);
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        // The panic may have been caught long ago, and what is left of the call dropped only now.
        if self.is_inside {
            self.report(Verdict::Failure);
        }
    }
}
