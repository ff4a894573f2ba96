//! What every part of a connection's life waits for beside its peer: the limits, the window's end and the drain's end.
//!
//! Owns the order in which these are looked at: the protocol first (by the caller), then the window's end, then the drain's, then the limits.

use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lameduck::inflight::Fired;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::clock::{Check, Clock, End, UNARMED};
use super::watch::Watch;

pin_project! {
    /// The pulse of one connection, from its first byte to its last.
    #[derive(Debug)]
    pub(crate) struct Pulse<'a> {
        watch: &'a Watch,
        clock: Clock<'a>,
        closing: Heard,
        ending: Fired,
        #[pin]
        alarm: Sleep,
    }
}

impl<'a> Pulse<'a> {
    /// For the connection on `socket`, which stays open as long as this is asked.
    pub(crate) fn new(watch: &'a Watch, socket: RawFd) -> Self {
        let drain = &watch.shared.drain;
        Self {
            watch,
            clock: Clock::new(watch, socket),
            closing: Heard::new(drain.closing()),
            ending: drain.ending(),
            alarm: sleep(UNARMED),
        }
    }

    /// From now on the connection may be parked.
    pub(crate) fn let_rest(self: Pin<&mut Self>) {
        self.project().clock.let_rest();
    }

    /// Since when the present situation has lasted.
    pub(crate) fn since(self: Pin<&Self>) -> Duration {
        self.project_ref().clock.since()
    }

    /// What is to be done now. The protocol was polled just before and waits.
    pub(crate) fn check(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Check {
        let this = self.project();
        let is_closing = this.watch.shared.drain.is_closing();
        if !this.clock.is_closing() && this.closing.came(is_closing, cx) {
            this.clock.begin_closing();
        }
        if this.clock.is_closing() && Pin::new(&mut *this.ending).poll(cx).is_ready() {
            return Check::End(End::Cut);
        }
        this.clock.check(this.alarm, cx)
    }

    /// The drain's end, for who waits for nothing else any more.
    pub(crate) fn poll_ending(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(self.project().ending).poll(cx)
    }
}

/// Whom something wakes that was asked before: the same task needs not ask it again only to be woken.
#[derive(Debug, Default)]
pub(crate) struct Known(Option<Waker>);

impl Known {
    /// Whether the task is the one that asked last.
    pub(crate) fn is(&self, cx: &Context<'_>) -> bool {
        self.0
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
    }

    /// This task asks now.
    pub(crate) fn learn(&mut self, cx: &Context<'_>) {
        match &mut self.0 {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// An event of the shutdown, heard without a lock per request: a task keeps its waker, so registering it once is enough.
#[derive(Debug)]
pub(crate) struct Heard {
    fired: Fired,
    known: Known,
}

impl Heard {
    pub(crate) const fn new(fired: Fired) -> Self {
        Self {
            fired,
            known: Known(None),
        }
    }

    /// Whether it has come; otherwise it wakes the task when it comes. `has_come` is what its token says just now.
    pub(crate) fn came(&mut self, has_come: bool, cx: &mut Context<'_>) -> bool {
        if has_come {
            return true;
        }
        if self.known.is(cx) {
            return false;
        }
        self.known.learn(cx);
        Pin::new(&mut self.fired).poll(cx).is_ready()
    }
}
