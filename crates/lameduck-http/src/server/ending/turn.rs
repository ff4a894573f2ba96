//! When a body's turn comes to end, and when its application has had its time.
//!
//! Owns the waiting: a body that gives nothing for hours is woken for it. Before T nothing is armed but two wakers.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use crate::server::course::Course;
use tokio::time::{Instant, Sleep, sleep};

use crate::server::pulse::Heard;
use crate::server::watch::Watch;

/// The turn of one body.
#[derive(Debug)]
pub(super) struct Turn {
    steering: Heard,
    closing: Heard,
    /// When the end of the window was noticed.
    closing_at: Option<Duration>,
    /// When the body gave something for the last time, since it is due.
    moved_at: Duration,
    is_due: bool,
    /// Made when there is something to wait for.
    alarm: Option<Pin<Box<Sleep>>>,
    /// When it goes off; None while it is not armed.
    armed: Option<Duration>,
}

impl Turn {
    pub(super) fn new(drain: &Course) -> Self {
        Self {
            steering: Heard::new(drain.steering()),
            closing: Heard::new(drain.closing()),
            closing_at: None,
            moved_at: Duration::ZERO,
            is_due: false,
            alarm: None,
            armed: None,
        }
    }

    /// Whether it has come; otherwise the task is woken when it comes.
    pub(super) fn came(&mut self, watch: &Watch, cx: &mut Context<'_>) -> bool {
        self.hear(watch, cx);
        if self.is_due {
            return true;
        }
        let Some(due_at) = self.due_at(watch) else {
            return false;
        };
        self.is_due = self.reached(due_at, watch, cx);
        self.is_due
    }

    /// Whether the rest of something half sent has not come for too long after the window's end; otherwise the task is woken.
    pub(super) fn is_stalled(&mut self, watch: &Watch, cx: &mut Context<'_>) -> bool {
        let Some(closing_at) = self.closing_at else {
            return false;
        };
        let shared = &watch.shared;
        let from = closing_at.max(self.moved_at);
        let limit = shared.before_deadline(shared.limits.stall_draining, closing_at);
        self.reached(from + limit, watch, cx)
    }

    /// The body gave something although it is due.
    pub(super) fn note_moved(&mut self, watch: &Watch) {
        self.moved_at = watch.shared.now();
    }

    fn hear(&mut self, watch: &Watch, cx: &mut Context<'_>) {
        let drain = &watch.shared.drain;
        if self.steering.came(drain.is_steering(), cx)
            && self.closing.came(drain.is_closing(), cx)
            && self.closing_at.is_none()
        {
            self.closing_at = Some(watch.shared.now());
        }
    }

    /// When the client is told, and then the time in which the application may end the body itself.
    fn due_at(&self, watch: &Watch) -> Option<Duration> {
        let shared = &watch.shared;
        let told = [
            shared.drain.steer_at(watch.spread),
            self.closing_at,
            watch.aged_at(),
        ];
        let told_at = told.into_iter().flatten().min()?;
        Some(told_at + shared.before_deadline(shared.limits.settle, told_at))
    }

    fn reached(&mut self, at: Duration, watch: &Watch, cx: &mut Context<'_>) -> bool {
        let now = watch.shared.now();
        if now >= at {
            return true;
        }
        let rest = at - now;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(rest)));
        if self.armed != Some(at) {
            alarm.as_mut().reset(Instant::now() + rest);
            self.armed = Some(at);
        }
        alarm.as_mut().poll(cx).is_ready()
    }
}
