//! Readiness: nothing is reserved before the call, so that nothing is lost when the call never comes.

use std::task::{Context, Poll, ready};

use crate::attempt::Attempt;
use crate::breaker::Breaker;
use crate::transition::{Rejected, State};
use crate::verdict::Verdict;

use super::choose::Choose;

/// Stands before a service.
#[derive(Clone, Debug)]
pub(super) struct Gate<C> {
    choose: C,
    /// The service within was not asked whether it is ready, because the call would be refused anyway, as the breaker stood then: it must not be called.
    shut: Option<State>,
}

impl<C> Gate<C> {
    pub(super) const fn new(choose: C) -> Self {
        Self { choose, shut: None }
    }

    /// Whether a call may be made. An open circuit answers at once, however long the service within would take to become ready.
    pub(super) fn poll_ready<Request, E>(
        &mut self,
        cx: &mut Context<'_>,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
        classify: impl FnOnce(&E) -> Verdict,
    ) -> Poll<Result<(), E>>
    where
        C: Choose<Request>,
    {
        let only = self.choose.only();
        self.shut = only.and_then(Breaker::refusing);
        if self.shut.is_some() {
            return Poll::Ready(Ok(()));
        }
        let Err(error) = ready!(inner(cx)) else {
            return Poll::Ready(Ok(()));
        };
        // A client that cannot connect may say so here.
        if let Some(Ok(attempt)) = only.map(Breaker::acquire) {
            attempt.report(classify(&error));
        }
        Poll::Ready(Err(error))
    }

    /// Lets a request through, with its attempt where somebody watches it.
    pub(super) fn admit<Request>(&self, request: &Request) -> Result<Option<Attempt>, Rejected>
    where
        C: Choose<Request>,
    {
        let Some(breaker) = self.choose.choose(request) else {
            return Ok(None);
        };
        if let Some(stood) = self.shut {
            // It may have become time to probe since, but not for a service that was not asked.
            return Err(breaker.refuse(stood));
        }
        breaker.acquire_owned().map(Some)
    }
}
