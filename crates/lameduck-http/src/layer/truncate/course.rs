//! One response under way: when its cut is due, and who is told.
//!
//! Owns the `Truncation` that handlers hold, and the order of what can cut: the handler, everybody's end, the limits.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use lameduck::inflight::{Fired, Token};
use lameduck::{Count, Drain};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::{Truncate, answer};
use crate::cut::Cut;
use crate::layer::request_hooks::OnEnd;

/// What is under way between two calls of [`Truncate::cut_all`].
pub(super) struct Round {
    over: Token,
    why: OnceLock<Cow<'static, str>>,
}

impl Round {
    pub(super) fn new() -> Self {
        Self {
            over: Token::new(),
            why: OnceLock::new(),
        }
    }

    pub(super) fn end(&self, why: Cow<'static, str>) {
        // Whoever ends it took it out of its layer: nobody else does.
        let _ = self.why.set(why);
        self.over.fire();
    }

    fn cut(&self) -> Cut {
        Cut::application(self.why.get().cloned().unwrap_or_default())
    }
}

/// One response, as those see it that work for it; found in its request's extensions under [`Truncate`].
#[derive(Clone)]
pub struct Truncation {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    told: Notify,
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
    fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State::Open(None)),
                told: Notify::new(),
            }),
        }
    }

    /// Cuts the response, from anywhere. Once it is cut or over, this does nothing.
    pub fn cut(&self, why: impl Into<Cow<'static, str>>) {
        self.end(State::Cut(Cut::application(why.into())));
    }

    /// Whether the response was cut: what is written for it now goes nowhere.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        matches!(*self.lock(), State::Cut(_))
    }

    /// Why the response was cut, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<Cut> {
        match &*self.lock() {
            State::Cut(cut) => Some(cut.clone()),
            State::Open(_) | State::Over => None,
        }
    }

    /// Resolves when the response is cut, with the reason, or when it is over without that, with nothing.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub async fn told(&self) -> Option<Cut> {
        let mut told = std::pin::pin!(self.shared.told.notified());
        // Before the look: what is told after it wakes this.
        told.as_mut().enable();
        if matches!(*self.lock(), State::Open(_)) {
            told.await;
        }
        self.reason()
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

    /// Asks to be woken by the cut.
    fn poll(&self, cx: &Context<'_>) -> Poll<Cut> {
        match &mut *self.lock() {
            State::Cut(cut) => return Poll::Ready(cut.clone()),
            State::Open(Some(known)) if known.will_wake(cx.waker()) => {}
            State::Open(known) => *known = Some(cx.waker().clone()),
            State::Over => {}
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One response under way, until this is dropped.
pub(super) struct Course {
    layer: Truncate,
    drain: Drain,
    truncation: Truncation,
    round: Arc<Round>,
    /// The hooks of the request, if there are any: they are told that it was cut.
    on_end: Option<OnEnd>,
    /// On the clock of the lifecycle.
    began: Duration,
    is_bodiless: bool,
    is_grpc: bool,
    waits: Option<Waits>,
}

/// What may cut the response later, once somebody had to wait.
struct Waits {
    round: Fired,
    steering: Fired,
    ending: Fired,
    /// For the limit, and which one that was.
    alarm: Option<(Duration, Pin<Box<Sleep>>)>,
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
        let truncation = Truncation::new();
        request.extensions_mut().insert(truncation.clone());
        let content = request.headers().get(CONTENT_TYPE);
        Self {
            drain: layer.life.drain(),
            truncation,
            round: layer.round(),
            on_end: request.extensions().get::<OnEnd>().cloned(),
            began: layer.life.elapsed(),
            is_bodiless: matches!(*request.method(), Method::HEAD | Method::CONNECT),
            is_grpc: content.is_some_and(|is| is.as_bytes().starts_with(b"application/grpc")),
            waits: None,
            layer: layer.clone(),
        }
    }

    /// Whether no answer to the request has a body that could be cut.
    pub(super) const fn is_bodiless(&self) -> bool {
        self.is_bodiless
    }

    /// The cut, if it is due; nobody is woken for it.
    pub(super) fn is_due(&self) -> Option<Cut> {
        if let Some(cut) = self.truncation.reason() {
            return Some(cut);
        }
        if self.round.over.is_fired() {
            return Some(self.round.cut());
        }
        let (at, cut) = self.limit()?;
        (self.layer.life.elapsed() >= at).then(cut)
    }

    /// The cut, when it comes.
    pub(super) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        if let Poll::Ready(cut) = self.truncation.poll(cx) {
            return Poll::Ready(cut);
        }
        let waits = self.waits.get_or_insert_with(|| Waits {
            round: self.round.over.fired(),
            steering: self.drain.steering(),
            ending: self.drain.ending(),
            alarm: None,
        });
        if Pin::new(&mut waits.round).poll(cx).is_ready() {
            return Poll::Ready(self.round.cut());
        }
        // After it there is a limit, if there was none.
        let is_steering = Pin::new(&mut waits.steering).poll(cx).is_ready();
        if is_steering && Pin::new(&mut waits.ending).poll(cx).is_ready() {
            return Poll::Ready(Cut::drain_end());
        }
        let Some((at, cut)) = self.limit() else {
            return Poll::Pending;
        };
        loop {
            let left = at.saturating_sub(self.layer.life.elapsed());
            if left.is_zero() {
                return Poll::Ready(cut());
            }
            let waits = self.waits.as_mut().expect("somebody waits");
            let alarm = match &mut waits.alarm {
                Some((set, alarm)) if *set == at => alarm,
                // The alarm's clock and the lifecycle's differ in where they began, and by rounding.
                none => &mut none.insert((at, Box::pin(sleep(left)))).1,
            };
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            waits.alarm = None;
        }
    }

    /// When the response is cut if nothing else cuts it before, on the lifecycle's clock, and why.
    fn limit(&self) -> Option<(Duration, fn() -> Cut)> {
        let own = self.layer.after.map(|after| {
            (
                self.began.saturating_add(after),
                Cut::overdue as fn() -> Cut,
            )
        });
        let lead = self.layer.lead;
        let ends = match lead.is_zero() {
            false => self.drain.drain_end(),
            true => None,
        };
        let drained = ends.map(|at| (at.saturating_sub(lead), Cut::drain_end as fn() -> Cut));
        [own, drained]
            .into_iter()
            .flatten()
            .min_by_key(|limit| limit.0)
    }

    /// Tells everybody that the response is cut here, before its handler or its body is dropped.
    pub(super) fn tell(&self, cut: &Cut) {
        self.truncation.end(State::Cut(cut.clone()));
    }

    /// The client has part of the response.
    pub(super) fn note_truncated(&self) {
        if let Some(on_end) = &self.on_end {
            on_end.note_cut();
        }
        self.count(Count::Truncated);
    }

    /// What is answered in the handler's stead.
    pub(super) fn fallback(&self, cut: &Cut) -> Response<bytes::Bytes> {
        self.count(Count::FallbackGiven);
        match &self.layer.fallback {
            _ if self.is_grpc => answer::grpc(cut),
            Some(fallback) => fallback(cut),
            None => answer::unavailable(cut),
        }
    }

    fn count(&self, what: Count) {
        self.layer.life.inflight().tally.add(what, 1);
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        self.truncation.end(State::Over);
    }
}
