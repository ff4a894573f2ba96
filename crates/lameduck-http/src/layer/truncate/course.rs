//! One response under way: who cuts it, and who is told.
//!
//! Owns the `Truncation` that handlers hold, and what is counted of a cut.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request, Response};
use lameduck::Count;
use tokio::sync::Notify;

use super::terms::{Terms, Waits};
use super::{Fallback, Truncate, answer};
use crate::cut::Cut;
use crate::layer::request_hooks::OnEnd;
use crate::scope;
use crate::server::ending::is_of;

/// One response, as those see it that work for it; found in its request's extensions under [`Truncate`].
#[derive(Clone)]
pub struct Truncation {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    told: Notify,
    terms: Terms,
}

enum State {
    /// Under way; who serves it is woken when it is cut.
    Open(Option<Waker>),
    Cut(Cut),
    Over,
}

impl fmt::Debug for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Truncation")
            .field("cut", &self.reason())
            .finish_non_exhaustive()
    }
}

impl Truncation {
    /// Cuts the response, from anywhere. Once it is cut or over, this does nothing; nor does it when the server has its last byte already.
    pub fn cut(&self, why: impl Into<Cow<'static, str>>) {
        self.end(State::Cut(Cut::application(why.into())));
    }

    /// Whether the response is cut, or would be if its client took what it has been sent: what is written for it now goes nowhere.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the response is cut, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<Cut> {
        let is_open = match &*self.lock() {
            State::Cut(cut) => return Some(cut.clone()),
            State::Open(_) => true,
            State::Over => false,
        };
        is_open.then(|| self.shared.terms.due()).flatten()
    }

    /// Resolves when the response is cut, with the reason, or when it is over without that, with nothing. A client that reads nothing
    /// cannot delay it.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn told(&self) -> Option<Cut> {
        let shared = &*self.shared;
        let mut waits = Waits::new(&shared.terms);
        let mut told = pin!(shared.told.notified());
        poll_fn(|cx| {
            // Asks to be told before it looks: what is told after the look wakes it.
            let is_told = told.as_mut().poll(cx).is_ready();
            match &*self.lock() {
                State::Cut(cut) => return Poll::Ready(Some(cut.clone())),
                State::Over => return Poll::Ready(None),
                State::Open(_) => debug_assert!(!is_told, "only an end is told"),
            }
            waits.poll(&shared.terms, cx).map(Some)
        })
        .await
    }

    fn end(&self, state: State) {
        let waker = {
            let mut now = self.lock();
            match &mut *now {
                State::Open(waker) => {
                    let waker = waker.take();
                    *now = state;
                    waker
                }
                State::Cut(_) | State::Over => return,
            }
        };
        self.shared.told.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The application's cut; asks to be woken by it.
    fn poll(&self, cx: &Context<'_>) -> Poll<Cut> {
        // Foreign code, as is the end of the one that it takes the place of: not under the lock.
        let waker = cx.waker().clone();
        let former = match &mut *self.lock() {
            State::Cut(cut) => return Poll::Ready(cut.clone()),
            State::Open(known) => known.replace(waker),
            State::Over => None,
        };
        drop(former);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// One response under way, until this is dropped.
pub(super) struct Course {
    truncation: Truncation,
    fallback: Option<Arc<Fallback>>,
    /// The hooks of the request, if there are any: they are told that it was cut.
    on_end: Option<OnEnd>,
    method: Method,
    is_grpc: bool,
    waits: Option<Waits>,
    /// It was cut, and not only asked to be.
    is_cut: bool,
}

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course")
            .field("truncation", &self.truncation)
            .finish_non_exhaustive()
    }
}

impl Course {
    pub(super) fn begin<B>(layer: &Truncate, request: &mut Request<B>) -> Self {
        let truncation = Truncation {
            shared: Arc::new(Shared {
                state: Mutex::new(State::Open(None)),
                told: Notify::new(),
                terms: Terms::begin(layer),
            }),
        };
        request.extensions_mut().insert(truncation.clone());
        Self {
            truncation,
            fallback: layer.fallback.clone(),
            on_end: request.extensions().get::<OnEnd>().cloned(),
            method: request.method().clone(),
            is_grpc: is_of(request.headers(), "application/grpc", "+"),
            waits: None,
            is_cut: false,
        }
    }

    pub(super) const fn method(&self) -> &Method {
        &self.method
    }

    /// The cut, if somebody asked for it: the application, for this response or for all.
    pub(super) fn is_asked(&self) -> Option<Cut> {
        let asked = match &*self.truncation.lock() {
            State::Cut(cut) => Some(cut.clone()),
            State::Open(_) | State::Over => None,
        };
        asked.or_else(|| self.terms().round_cut())
    }

    /// The cut, if it is due; nobody is woken for it.
    pub(super) fn is_due(&self) -> Option<Cut> {
        self.truncation.reason()
    }

    /// The cut, when it comes.
    pub(super) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        if let Poll::Ready(cut) = self.truncation.poll(cx) {
            return Poll::Ready(cut);
        }
        let terms = &self.truncation.shared.terms;
        let waits = self.waits.get_or_insert_with(|| Waits::new(terms));
        waits.poll(terms, cx)
    }

    /// Tells everybody that the response is cut here, before its handler or its body is dropped.
    pub(super) fn tell(&mut self, cut: &Cut) {
        self.is_cut = true;
        self.truncation.end(State::Cut(cut.clone()));
    }

    /// The client has part of the response.
    pub(super) fn note_truncated(&self) {
        if let Some(on_end) = &self.on_end {
            on_end.note_cut();
        }
        scope::note_cut();
        self.count(Count::Truncated);
    }

    /// What is answered in the handler's stead.
    pub(super) fn fallback(&self, cut: &Cut) -> Response<Bytes> {
        let response = match &self.fallback {
            _ if self.is_grpc => answer::grpc(cut),
            Some(fallback) => fallback(cut),
            None => answer::unavailable(cut),
        };
        self.count(Count::FallbackGiven);
        response
    }

    fn count(&self, what: Count) {
        self.terms().life.inflight().tally.add(what, 1);
    }

    fn terms(&self) -> &Terms {
        &self.truncation.shared.terms
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        self.truncation.end(State::Over);
        if !self.is_cut {
            // Asked too late: the response is whole.
            *self.truncation.lock() = State::Over;
        }
    }
}
