//! `Attempt`: an admitted call, from its admission to what came of it.
//!
//! Owns that an outcome is reported once, and that a call without one is given back.

use std::borrow::Borrow;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;

use crate::breaker::Breaker;
use crate::circuit::Ticket;
use crate::course::Course;
use crate::transition::Rejected;
use crate::verdict::Verdict;

/// A call that was admitted. Report what came of it; dropped without a report it counts as nothing, and a probe may be made by another.
///
/// Dropped while its thread unwinds, it is a failure: the call panicked. That is so where it stands on the stack of the call. Whoever keeps one in a
/// future, which may be dropped because something else panicked, takes [`Breaker::run_async`] or a layer instead: they know whose panic it was.
///
/// # Examples
/// ```
/// # use lameduck_breaker::{Breaker, Settings};
/// # fn ask() -> Result<String, std::io::Error> { Ok("42".to_owned()) }
/// # let breaker = Breaker::new("db", Settings::new())?;
/// if let Ok(attempt) = breaker.acquire() {
///     match ask() {
///         Ok(_) => attempt.success(),
///         Err(_) => attempt.failure(),
///     }
/// }
/// assert_eq!(breaker.figures().calls, 1);
/// # Ok::<(), lameduck_breaker::SettingsError>(())
/// ```
#[must_use = "dropped without a report it counts as nothing"]
pub struct Attempt<B: Borrow<Breaker> = Breaker> {
    breaker: B,
    /// Taken by the report.
    pass: Option<Pass>,
}

/// What is remembered of an admission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) ticket: Ticket,
    /// When, in milliseconds; 0 where nobody asks how long it takes.
    pub(crate) began: u64,
}

impl<B: Borrow<Breaker>> Attempt<B> {
    #[inline]
    pub(crate) fn new(breaker: B, pass: Pass) -> Self {
        Self {
            breaker,
            pass: Some(pass),
        }
    }

    /// It went well.
    #[inline]
    pub fn success(self) {
        self.report(Verdict::Success);
    }

    /// It failed.
    #[inline]
    pub fn failure(self) {
        self.report(Verdict::Failure);
    }

    /// It says nothing about whom was called, such as a mistake of the caller's own.
    pub fn ignore(self) {
        self.report(Verdict::Ignored);
    }

    /// This came of it.
    #[inline]
    pub fn report(mut self, verdict: Verdict) {
        if let Some(pass) = self.pass.take() {
            self.breaker.borrow().core().report(pass, verdict);
        }
    }

    /// What time it is, where somebody asks how long the call takes.
    #[cfg(feature = "http")]
    pub(crate) fn time(&self) -> Option<u64> {
        self.breaker.borrow().core().time()
    }

    /// What has passed since then is no part of the call.
    #[cfg(feature = "http")]
    pub(crate) fn leave_out(&mut self, since: u64) {
        if let (Some(now), Some(pass)) = (self.time(), &mut self.pass) {
            pass.began += now.saturating_sub(since);
        }
    }

    /// It was given up.
    pub(crate) fn abandon(mut self) {
        if let Some(pass) = self.pass.take() {
            self.breaker.borrow().core().abandon(pass);
        }
    }

    /// Whether it is one of the few calls by which a half-open circuit finds out.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        let ticket = self.pass.map(|pass| pass.ticket);
        matches!(ticket, Some(Ticket::Probe { .. }))
    }
}

impl<B: Borrow<Breaker>> Drop for Attempt<B> {
    #[inline]
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            let core = self.breaker.borrow().core();
            if std::thread::panicking() {
                core.report(pass, Verdict::Failure);
            } else {
                core.abandon(pass);
            }
        }
    }
}

impl<B: Borrow<Breaker>> fmt::Debug for Attempt<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("breaker", self.breaker.borrow().label())
            .field("is_probe", &self.is_probe())
            .finish_non_exhaustive()
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError<E> {
    /// It was not made: the breaker refused it.
    Rejected(Rejected),
    /// It was made, and failed.
    Failed(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected(_) => None,
            // Its own words are said already.
            Self::Failed(error) => error.source(),
        }
    }
}

impl Breaker {
    /// Makes a call if the circuit admits it; an error is a failure, and so is a panic.
    ///
    /// # Errors
    /// [`CallError::Rejected`] if it was not made, [`CallError::Failed`] with its own error.
    pub fn run<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>> {
        let attempt = self.acquire().map_err(CallError::Rejected)?;
        let result = call();
        attempt.report(outcome(&result));
        result.map_err(CallError::Failed)
    }

    /// Awaits a call if the circuit admits it; an error is a failure, and so is a panic of its own.
    ///
    /// # Errors
    /// [`CallError::Rejected`] if it was not made, [`CallError::Failed`] with its own error.
    ///
    /// # Cancel safety
    /// Dropped, it drops the call, which counts as nothing; a probe may be made by another.
    ///
    /// # Examples
    /// ```
    /// # use lameduck_breaker::{Breaker, CallError, Settings};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let breaker = Breaker::new("db", Settings::new().failures_in_a_row(1)).expect("settings that fit");
    /// let refused = breaker.run_async(async { Err::<(), _>("refused") }).await;
    /// assert_eq!(refused, Err(CallError::Failed("refused")));
    /// let next = breaker.run_async(async { Ok::<_, &str>(42) }).await;
    /// assert!(matches!(next, Err(CallError::Rejected(_))));
    /// # }
    /// ```
    pub async fn run_async<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        let attempt = self.acquire().map_err(CallError::Rejected)?;
        // Dropped after the call.
        let mut course = Course::begin(Some(attempt));
        let mut call = pin!(call);
        let result = poll_fn(|cx| course.enter(|| call.as_mut().poll(cx))).await;
        course.report(outcome(&result));
        result.map_err(CallError::Failed)
    }
}

fn outcome<T, E>(result: &Result<T, E>) -> Verdict {
    match result {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Failure,
    }
}
