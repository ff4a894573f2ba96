//! One call under way that is polled: whose panic it was.

use std::borrow::Borrow;

use crate::attempt::Attempt;
use crate::breaker::Breaker;
use crate::verdict::Verdict;

/// An attempt, and whether code that is not ours runs: if that never returns, it panicked.
#[derive(Debug)]
pub(crate) struct Course<B: Borrow<Breaker> = Breaker> {
    /// None: nobody watches the call, or it was reported.
    attempt: Option<Attempt<B>>,
    is_inside: bool,
}

impl<B: Borrow<Breaker>> Course<B> {
    pub(crate) fn begin(attempt: Option<Attempt<B>>) -> Self {
        Self {
            attempt,
            is_inside: false,
        }
    }

    /// Runs code that is not ours.
    pub(crate) fn enter<R>(&mut self, code: impl FnOnce() -> R) -> R {
        self.is_inside = true;
        let result = code();
        self.is_inside = false;
        result
    }

    /// What time it is, where somebody asks how long the call takes.
    #[cfg(feature = "http")]
    pub(crate) fn time(&self) -> Option<u64> {
        self.attempt.as_ref().and_then(Attempt::time)
    }

    /// What has passed since then is no part of the call.
    #[cfg(feature = "http")]
    pub(crate) fn leave_out(&mut self, since: u64) {
        if let Some(attempt) = &mut self.attempt {
            attempt.leave_out(since);
        }
    }

    /// Whether code that was entered has never returned.
    #[cfg(feature = "http")]
    pub(crate) fn has_panicked(&self) -> bool {
        self.is_inside
    }

    pub(crate) fn report(&mut self, verdict: Verdict) {
        if let Some(attempt) = self.attempt.take() {
            attempt.report(verdict);
        }
    }
}

impl<B: Borrow<Breaker>> Drop for Course<B> {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        // The panic may have been caught long ago, and what is left of the call dropped only now. And the thread may unwind for another's panic,
        // which says nothing about this call.
        if self.is_inside {
            attempt.report(Verdict::Failure);
        } else {
            attempt.abandon();
        }
    }
}
