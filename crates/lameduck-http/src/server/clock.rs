//! What is due on one connection, and when.
//!
//! Owns the limits in time and what the end of the window changes about them. One timer per connection, re-armed lazily: it is moved only
//! when something is due earlier than it would fire, and asked what is due only when it fires.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use lameduck::Late;
use tokio::time::{Instant, Sleep};

use super::pulse::Known;
use super::sock::{self, Pending};
use super::upgrade::Tenant;
use super::watch::{Situation, Watch};

/// Far enough to never fire before it is armed.
pub(crate) const UNARMED: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often within its limit a transfer is looked at: so much of the limit, at most, is given to a peer beyond it.
const SAMPLES: u32 = 4;

/// A connection is idle for at least so long before it is parked: what tried in vain tries again after it.
const LEAST_REST: Duration = Duration::from_millis(1);

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// HTTP/1.1 said so: `close`, the peer's end, an error.
    Http1(Result<(), hyper::Error>),
    /// HTTP/2 said so: GOAWAY and no stream left, the peer's end, an error.
    Http2(Result<(), ::h2::Error>),
    /// The TLS handshake failed; Ok when the peer left without a word.
    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "only TLS shakes hands")
    )]
    Handshake(io::Result<()>),
    /// What it was upgraded to is over, as far as the connection goes; the application may hold its side still.
    Upgraded(Tenant),
    /// Nothing was being said for long enough; hyper may still hold the beginning of a head.
    Quiet(Situation),
    /// A limit passed in the middle of something.
    Expired(Situation),
    /// The drain deadline.
    Cut,
}

/// What [`Clock::check`] found.
#[derive(Debug)]
pub(crate) enum Check {
    /// Nothing is due; the timer wakes the task when something is.
    Wait,
    /// Something changed: poll HTTP again.
    Again,
    /// Nothing was said for long enough to park; only for who asked for that.
    Rest,
    /// It is over.
    End(End),
}

/// The limits of one connection, measured.
#[derive(Debug)]
pub(crate) struct Clock<'a> {
    watch: &'a Watch,
    /// The connection's socket, open as long as the connection is driven.
    socket: RawFd,
    situation: Situation,
    served: u32,
    /// Bytes moved, when last looked at during a transfer.
    moved: u64,
    /// Of these, what the peer had acknowledged when that was last looked at.
    acknowledged: u64,
    /// When that was: the kernel does not say when an acknowledgement came, only that it did between two looks.
    sampled: Duration,
    /// When this situation began, or last made progress.
    since: Duration,
    /// When the connection was last left without a request.
    quiet_since: Duration,
    /// How long the connection must be idle to rest, if it can.
    rests: Option<Duration>,
    /// When this was tried last.
    rest_tried: Duration,
    /// When the end of the window was noticed.
    closing: Option<Duration>,
    /// Accepted while the listener was being swept.
    swept: bool,
    /// When the timer fires, at the earliest; None while it is unarmed.
    armed: Option<Duration>,
    /// Whom it wakes.
    woken: Known,
}

impl<'a> Clock<'a> {
    pub(crate) fn new(watch: &'a Watch, socket: RawFd) -> Self {
        let now = watch.shared.now();
        let parked_since = watch.parked_since();
        let since = parked_since.unwrap_or(now);
        Self {
            watch,
            socket,
            situation: watch.situation(),
            served: watch.served(),
            moved: 0,
            acknowledged: 0,
            sampled: Duration::ZERO,
            since,
            quiet_since: since,
            rests: None,
            rest_tried: now,
            closing: None,
            swept: watch.shared.drain.is_closing() && parked_since.is_none(),
            armed: None,
            woken: Known::default(),
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// From now on the connection may be parked.
    pub(crate) fn let_rest(&mut self) {
        self.rests = self.watch.shared.limits.park_after;
    }

    /// Since when the present situation has lasted.
    pub(crate) const fn since(&self) -> Duration {
        self.since
    }

    /// The window is over. A request whose first byte is here already, in the kernel's buffer at least, is not late; the next one is.
    pub(crate) fn begin_closing(&mut self) {
        let shared = &self.watch.shared;
        self.closing = Some(shared.now());
        if shared.drain.late() == Late::Refuse && !self.swept {
            if self.look() == Pending::Data && !self.watch.is_open() && !self.watch.is_handshaking()
            {
                self.watch.note_head();
            }
            if self.watch.situation() != Situation::Head {
                self.watch.note_late();
            }
        }
    }

    /// Looks at what the connection waits for and whether that took too long. HTTP was polled just before.
    pub(crate) fn check(&mut self, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Check {
        let noticed = self.observe();
        loop {
            let Some(due) = self.due() else {
                return Check::Wait;
            };
            if let Some(armed) = self.armed.filter(|at| *at <= due) {
                // Before its time it cannot have fired, and it knows whom to wake: no need to ask it after every request.
                if noticed.is_some_and(|now| now < armed) && self.woken.is(cx) {
                    return Check::Wait;
                }
                self.woken.learn(cx);
                if alarm.as_mut().poll(cx).is_pending() {
                    return Check::Wait;
                }
            }
            let now = self.now();
            if now >= due {
                self.armed = None;
                match self.fall_due(now) {
                    Some(check) => return check,
                    None => continue,
                }
            }
            alarm.as_mut().reset(Instant::now() + (due - now));
            self.armed = Some(due);
            // It may have fired, and has nobody to wake then.
            self.woken = Known::default();
        }
    }

    /// Takes note of what changed since the last poll; gives the time if something did.
    fn observe(&mut self) -> Option<Duration> {
        let (situation, served) = (self.watch.situation(), self.watch.served());
        let progress = situation == Situation::Transfer && self.watch.moved() != self.moved;
        if (situation, served) == (self.situation, self.served) && !progress {
            return None;
        }
        if !self.watch.is_open() {
            self.watch.slot.idle();
        }
        if situation == Situation::Transfer {
            self.moved = self.watch.moved();
            self.acknowledged = self.acknowledged();
        }
        let now = self.now();
        // What came was no request: a TLS record without content, say. It buys no time.
        let was_nothing = self.situation == Situation::Head
            && matches!(situation, Situation::Silent | Situation::Idle)
            && served == self.served;
        self.since = match (was_nothing, situation) {
            (true, _) => self.quiet_since,
            (false, Situation::Silent | Situation::Idle) => {
                self.quiet_since = now;
                now
            }
            (false, _) => now,
        };
        (self.situation, self.served) = (situation, served);
        self.sampled = now;
        Some(now)
    }

    /// When the present situation has lasted too long; never while the application is at work.
    fn due(&self) -> Option<Duration> {
        let shared = &self.watch.shared;
        let limits = &shared.limits;
        let since = self.since;
        Some(match (self.situation, self.closing) {
            // A body that is polled by another task may begin to wait without a word to this one: look from time to time.
            (Situation::Handling, closing) if self.watch.has_upload() => {
                let limit = match closing {
                    None => limits.stall,
                    Some(_) => limits.stall_draining,
                };
                since.saturating_add(limit)
            }
            (Situation::Handling, _) => return None,
            (Situation::Silent | Situation::Idle, None) => {
                let idle = since + limits.idle;
                self.rest_at().map_or(idle, |rest| rest.min(idle))
            }
            (Situation::Head, None) => since + limits.head,
            (Situation::Handshake, None) => since + limits.handshake,
            (Situation::Transfer, None) => {
                let sample = self.sampled + limits.stall / SAMPLES;
                sample.min(self.stalled_at())
            }
            (Situation::Silent | Situation::Idle, Some(closing)) => {
                closing.max(since + shared.before_deadline(limits.settle, since))
            }
            (Situation::Head | Situation::Handshake, Some(closing)) => {
                let draining =
                    since.max(closing) + shared.before_deadline(limits.head_draining, closing);
                let running = match self.situation {
                    Situation::Handshake => limits.handshake,
                    _ => limits.head,
                };
                draining.min(since + running)
            }
            (Situation::Transfer, Some(closing)) => {
                let limit = shared.before_deadline(limits.stall_draining, closing);
                let sample = self.sampled.max(closing) + limit / SAMPLES;
                sample.min(self.stalled_at())
            }
        })
    }

    /// When the connection is to be parked, if it can be.
    fn rest_at(&self) -> Option<Duration> {
        let can_rest = !self.watch.is_http2() && self.watch.shared.lot.is_open();
        let after = self.rests.filter(|_| can_rest)?.max(LEAST_REST);
        Some(self.since.max(self.rest_tried).saturating_add(after))
    }

    /// When the present transfer has stood still for too long.
    fn stalled_at(&self) -> Duration {
        let shared = &self.watch.shared;
        match self.closing {
            None => self.since + shared.limits.stall,
            Some(closing) => {
                let limit = shared.before_deadline(shared.limits.stall_draining, closing);
                self.since.max(closing) + limit
            }
        }
    }

    /// Decides about what is due; None if the limit begins anew.
    fn fall_due(&mut self, now: Duration) -> Option<Check> {
        match self.situation {
            Situation::Silent | Situation::Idle
                if self.closing.is_none() && now < self.since + self.watch.shared.limits.idle =>
            {
                self.rest_tried = now;
                Some(Check::Rest)
            }
            // The last look: hyper was polled, but only the kernel knows what came since.
            Situation::Silent | Situation::Idle => match self.look() {
                Pending::Data => {
                    self.watch.note_head();
                    Some(Check::Again)
                }
                Pending::Nothing | Pending::Ended => Some(Check::End(End::Quiet(self.situation))),
            },
            Situation::Transfer => {
                let acknowledged = self.acknowledged();
                self.sampled = now;
                if acknowledged > self.acknowledged {
                    self.acknowledged = acknowledged;
                    self.since = now;
                }
                if now < self.stalled_at() {
                    return None;
                }
                Some(Check::End(End::Expired(Situation::Transfer)))
            }
            Situation::Handling => {
                self.since = now;
                self.observe();
                None
            }
            situation => Some(Check::End(End::Expired(situation))),
        }
    }

    /// Bytes read, and bytes written that arrived.
    fn acknowledged(&self) -> u64 {
        let queued = sock::unacknowledged(self.socket()).unwrap_or(0);
        self.watch.moved().saturating_sub(queued as u64)
    }

    fn look(&self) -> Pending {
        sock::look(self.socket())
    }

    fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the driver makes this clock from its connection's socket and asks it only while it still owns that connection.
        unsafe { BorrowedFd::borrow_raw(self.socket) }
    }

    fn now(&self) -> Duration {
        self.watch.shared.now()
    }
}
