//! When a response is cut that nobody cuts: everybody's end, and the limits.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use lameduck::inflight::{Fired, Token};
use lameduck::{Drain, Lifecycle};
use tokio::time::{Sleep, sleep};

use super::Truncate;
use crate::cut::Cut;

/// A drain that is too short for the lead keeps this part of itself for its handlers: three quarters.
const LEAD_AT_MOST: u32 = 4;

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

/// The terms of one response.
pub(super) struct Terms {
    pub(super) life: Lifecycle,
    drain: Drain,
    round: Arc<Round>,
    /// On the clock of the lifecycle.
    began: Duration,
    after: Option<Duration>,
    lead: Duration,
}

impl Terms {
    pub(super) fn begin(layer: &Truncate) -> Self {
        Self {
            drain: layer.life.drain(),
            round: layer.round(),
            began: layer.life.elapsed(),
            after: layer.after,
            lead: layer.lead,
            life: layer.life.clone(),
        }
    }

    /// The cut of everything, if this is among it.
    pub(super) fn round_cut(&self) -> Option<Cut> {
        self.round.over.is_fired().then(|| self.round.cut())
    }

    /// The cut, if it is due.
    pub(super) fn due(&self) -> Option<Cut> {
        self.round_cut().or_else(|| {
            let (at, cut) = self.limit()?;
            (self.life.elapsed() >= at).then(cut)
        })
    }

    /// When the response is cut if nothing cuts it before, on the lifecycle's clock, and why.
    fn limit(&self) -> Option<(Duration, fn() -> Cut)> {
        let own = (self.after).map(|after| {
            (
                self.began.saturating_add(after),
                Cut::overdue as fn() -> Cut,
            )
        });
        let drained = (self.lead_end()).map(|at| (at, Cut::drain_end as fn() -> Cut));
        let limits = [own, drained].into_iter().flatten();
        limits.min_by_key(|limit| limit.0)
    }

    fn lead_end(&self) -> Option<Duration> {
        if self.lead.is_zero() {
            return None;
        }
        let (requested, ends) = (self.drain.steer_at(0)?, self.drain.drain_end()?);
        let whole = ends.saturating_sub(requested);
        Some(ends.saturating_sub(self.lead.min(whole / LEAD_AT_MOST)))
    }
}

/// What somebody waits for who waits for the cut.
pub(super) struct Waits {
    round: Fired,
    steering: Fired,
    ending: Fired,
    /// For the limit, and which one that was.
    alarm: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Waits {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            round: terms.round.over.fired(),
            steering: terms.drain.steering(),
            ending: terms.drain.ending(),
            alarm: None,
        }
    }

    pub(super) fn poll(&mut self, terms: &Terms, cx: &mut Context<'_>) -> Poll<Cut> {
        if Pin::new(&mut self.round).poll(cx).is_ready() {
            return Poll::Ready(terms.round.cut());
        }
        // After it there is a limit, if there was none; and the drain may be ended before its time.
        let is_steering = !terms.lead.is_zero() && Pin::new(&mut self.steering).poll(cx).is_ready();
        if is_steering && Pin::new(&mut self.ending).poll(cx).is_ready() {
            return Poll::Ready(Cut::drain_end());
        }
        let Some((at, cut)) = terms.limit() else {
            return Poll::Pending;
        };
        loop {
            let left = at.saturating_sub(terms.life.elapsed());
            if left.is_zero() {
                return Poll::Ready(cut());
            }
            let alarm = match &mut self.alarm {
                Some((set, alarm)) if *set == at => alarm,
                // The alarm's clock and the lifecycle's differ in where they began, and by rounding.
                none => &mut none.insert((at, Box::pin(sleep(left)))).1,
            };
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.alarm = None;
        }
    }
}
