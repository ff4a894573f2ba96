//! The other side of an upgraded connection: when its turn to go comes, and how it goes.
//!
//! Owns the time. A WebSocket's turn is a moment of its own within the spread: then a Close goes to the peer, without any help from the
//! application, and both get a limit to end: a peer that does not answer, and an application that does not let go, hold up nothing. What is not
//! known to be a WebSocket is kept until its application lets go or the drain ends.

use std::any::Any;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use lameduck::Count;
use lameduck::inflight::Protocol;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::follower::Follower;
use super::link::{Duplex, Link, Passage, Wish};
use super::{Pledge, Speech};
use crate::server::clock::{Check, End, UNARMED};
use crate::server::conn::place_in_floor;
use crate::server::course::share;
use crate::server::io::Stream;
use crate::server::pulse::{Heard, Pulse};
use crate::server::watch::Watch;
use crate::ws::Turn;

/// How far an upgraded connection is on its way.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// It may stay.
    Staying,
    /// The application says farewell itself, until then.
    Farewell { until: Duration },
    /// Our Close waits for the end of the application's message; if that does not come, for the end of its frame.
    Waiting(Patience),
    /// A Close was said; the peer answers and the application lets go, until then. It has not read so much of what was said before.
    Closed { until: Duration, unread: usize },
    /// Nothing is known about its protocol: the application was told, no more can be done.
    Told,
}

/// How long a Close waits for a place.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// How long the application may say nothing in the middle of a frame; half of that between frames.
    stall: Duration,
    /// When a message is interrupted between its frames at the latest.
    interrupt_at: Duration,
    /// When the application last said something, or could have if its client had read.
    since: Duration,
    written: u64,
}

impl Patience {
    fn message_until(&self) -> Duration {
        self.interrupt_at
            .min(self.since.saturating_add(self.stall / 2))
    }

    fn wish(&self, now: Duration) -> Wish {
        if now < self.message_until() {
            Wish::BetweenMessages
        } else {
            Wish::BetweenFrames
        }
    }

    /// When something changes; None when it is over.
    fn until(&self, now: Duration) -> Option<Duration> {
        [self.message_until(), self.since.saturating_add(self.stall)]
            .into_iter()
            .find(|until| now < *until)
    }
}

/// What keeps an upgraded connection. Dropping it cuts the connection.
#[derive(Debug)]
pub(crate) struct Keeper {
    link: Arc<Link>,
    watch: Arc<Watch>,
    turn: Arc<Turn>,
    speech: Speech,
    /// Where in the spread it goes.
    place: u64,
    way: Way,
    steering: Heard,
    closing: Heard,
    alarm: Pin<Box<Sleep>>,
    /// When the alarm goes off; None while nothing is due.
    armed: Option<Duration>,
}

/// Keeps the connection on `stream`, of which `said` was read already, to its end. Gives the stream back to be closed with care.
pub(crate) async fn keep<S: Stream>(
    stream: S,
    said: Bytes,
    pledge: Pledge,
    watch: &Arc<Watch>,
    mut pulse: Pin<&mut Pulse<'_>>,
) -> (Option<S>, End) {
    let mut keeper = Keeper::open(pledge, Box::new(stream), said, watch);
    let end = poll_fn(|cx| {
        loop {
            if let Poll::Ready(tenant) = keeper.poll(cx) {
                return Poll::Ready(End::Upgraded(tenant));
            }
            match pulse.as_mut().check(cx) {
                Check::Wait => return Poll::Pending,
                Check::Again | Check::Rest => {}
                Check::End(end) => return Poll::Ready(end),
            }
        }
    })
    .await;
    let stream: Option<Box<dyn Any>> = keeper.take().map(|stream| stream as Box<dyn Any>);
    let stream = stream.map(|stream| {
        *stream
            .downcast()
            .expect("the stream that it was opened with")
    });
    (stream, end)
}

impl Keeper {
    /// Keeps the promise: the application gets its side of `stream`.
    pub(crate) fn open(
        pledge: Pledge,
        stream: Box<dyn Duplex>,
        said: Bytes,
        watch: &Arc<Watch>,
    ) -> Self {
        let shared = &watch.shared;
        let drain = &shared.drain;
        // As long as it lasts it is one request in the making: named, and limited only where it waits for its client.
        watch.upgrade();
        let spoken = match pledge.speech {
            Speech::WebSocket => Protocol::WebSocket,
            Speech::Foreign => Protocol::Upgraded,
        };
        watch.slot.speaks(spoken);
        watch
            .slot
            .begin(pledge.method.as_str(), &pledge.path, pledge.asked_at);
        let follower = (pledge.speech == Speech::WebSocket).then(Follower::new);
        pledge
            .link
            .lock()
            .open(stream, said, follower, watch.clone());
        pledge.mint.grant();
        Self {
            link: pledge.link,
            watch: watch.clone(),
            turn: pledge.turn,
            speech: pledge.speech,
            place: place_in_floor(drain),
            way: Way::Staying,
            steering: Heard::new(drain.steering()),
            closing: Heard::new(drain.closing()),
            alarm: Box::pin(sleep(UNARMED)),
            armed: None,
        }
    }

    /// Takes the stream away from the application.
    pub(crate) fn take(&mut self) -> Option<Box<dyn Duplex>> {
        self.link.lock().end()
    }

    /// Ready when the connection is to be closed; its stream is to be taken then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Tenant> {
        let link = self.link.clone();
        loop {
            let now = self.watch.shared.life.elapsed();
            let mut passage = link.lock();
            passage.wake_keeper_by(cx);
            passage.look_again();
            match passage.poll_close(cx) {
                // The stall limit of any transfer bounds this.
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(self.tenant()),
                Poll::Ready(Ok(())) => {}
            }
            let turn_at = self.turn_at(now, cx);
            if passage.is_left {
                let is_told =
                    self.watch.shared.drain.is_steering() || turn_at.is_some_and(|at| now >= at);
                if is_told && passage.has_room_for(Wish::BetweenFrames) {
                    // It left because the service leaves, without a word.
                    passage.begin_close(self.close_frame());
                    continue;
                }
                return Poll::Ready(self.tenant());
            }
            let due = match self.step(&mut passage, turn_at, now) {
                Step::Again => continue,
                Step::End => return Poll::Ready(self.tenant()),
                Step::Wait(due) => due,
            };
            drop(passage);
            if !self.is_over(due, cx) {
                return Poll::Pending;
            }
        }
    }

    fn step(&mut self, passage: &mut Passage, turn_at: Option<Duration>, now: Duration) -> Step {
        let shared = &self.watch.shared;
        let after = |limit| now.saturating_add(shared.before_deadline(limit, now));
        let close = shared.limits.ws_close;
        match self.way {
            Way::Staying => {
                if turn_at.is_none_or(|at| now < at) {
                    return Step::Wait(turn_at);
                }
                let is_asked = self.turn.come();
                self.way = match (self.speech, is_asked) {
                    (Speech::Foreign, _) => Way::Told,
                    (Speech::WebSocket, true) => Way::Farewell {
                        until: after(close),
                    },
                    (Speech::WebSocket, false) => self.waiting(now),
                };
                Step::Again
            }
            Way::Told => Step::Wait(None),
            Way::Farewell { until } => {
                if passage.is_closed() {
                    return self.closed(passage, now);
                }
                if now < until {
                    return Step::Wait(Some(until));
                }
                self.way = self.waiting(now);
                Step::Again
            }
            Way::Waiting(mut patience) => {
                if passage.is_closed() {
                    return self.closed(passage, now);
                }
                let written = self.watch.written();
                if passage.is_blocked() || written != patience.written {
                    (patience.since, patience.written) = (now, written);
                    self.way = Way::Waiting(patience);
                }
                passage.wish = patience.wish(now);
                if passage.has_room_for(passage.wish) {
                    passage.begin_close(self.close_frame());
                    return Step::Again;
                }
                match patience.until(now) {
                    Some(until) => Step::Wait(Some(until)),
                    None => self.expire(),
                }
            }
            Way::Closed { until, .. } if now < until => Step::Wait(Some(until)),
            Way::Closed { unread, .. } => {
                // Whoever still reads what was said before the Close cannot have answered it.
                if (1..unread).contains(&passage.unread()) {
                    return self.closed(passage, now);
                }
                self.expire()
            }
        }
    }

    /// A Close was said.
    fn closed(&mut self, passage: &mut Passage, now: Duration) -> Step {
        let shared = &self.watch.shared;
        passage.wish = Wish::Nothing;
        self.way = Way::Closed {
            until: now.saturating_add(shared.before_deadline(shared.limits.ws_close, now)),
            unread: passage.unread(),
        };
        Step::Again
    }

    /// From now on the Close goes where the application's bytes have room for it.
    fn waiting(&self, now: Duration) -> Way {
        let shared = &self.watch.shared;
        let stall = shared.before_deadline(shared.limits.stall_draining, now);
        // Half of what is left, so that a message without an end leaves time for the rest.
        let interrupt_at = match shared.drain.drain_end() {
            Some(end) => now + end.saturating_sub(now) / 2,
            None => now.saturating_add(shared.limits.stall),
        };
        Way::Waiting(Patience {
            stall,
            interrupt_at,
            since: now,
            written: self.watch.written(),
        })
    }

    fn expire(&self) -> Step {
        self.watch.shared.tally(Count::WsExpired);
        Step::End
    }

    fn close_frame(&self) -> Bytes {
        let shared = &self.watch.shared;
        if self.watch.note_steered() {
            shared.tally(Count::Steered);
        }
        shared.websockets.close_frame()
    }

    /// When its turn is, once that is known: between T and the window's end, or when it is as old as it may become.
    fn turn_at(&mut self, now: Duration, cx: &mut Context<'_>) -> Option<Duration> {
        let shared = &self.watch.shared;
        let drain = &shared.drain;
        let steered = if !self.steering.came(drain.is_steering(), cx) {
            None
        } else if self.closing.came(drain.is_closing(), cx) {
            Some(now)
        } else {
            match shared.websockets.spread {
                None => drain.steer_at(self.place),
                Some(spread) => drain
                    .steer_at(0)
                    .map(|asked_at| asked_at.saturating_add(share(spread, self.place))),
            }
        };
        [steered, self.watch.aged_at()].into_iter().flatten().min()
    }

    /// Whether this moment has come; otherwise the task is woken when it comes.
    fn is_over(&mut self, due: Option<Duration>, cx: &mut Context<'_>) -> bool {
        let Some(due) = due else { return false };
        let now = self.watch.shared.life.elapsed();
        if self.armed.is_none_or(|at| due < at) {
            self.alarm
                .as_mut()
                .reset(Instant::now() + due.saturating_sub(now).min(UNARMED));
            self.armed = Some(due);
        }
        if self.alarm.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.armed = None;
        true
    }

    fn tenant(&self) -> Tenant {
        Tenant {
            link: self.link.clone(),
            watch: self.watch.clone(),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.take());
    }
}

enum Step {
    Wait(Option<Duration>),
    Again,
    End,
}

/// The application, which may hold its side of a connection that has ended.
#[derive(Debug)]
pub(crate) struct Tenant {
    link: Arc<Link>,
    watch: Arc<Watch>,
}

impl Tenant {
    /// Waits until the application has let go, within a limit: it reads the end by now.
    pub(crate) async fn left(&self) {
        let shared = &self.watch.shared;
        let limit = shared.before_deadline(shared.limits.ws_close, shared.life.elapsed());
        let left = poll_fn(|cx| {
            let mut passage = self.link.lock();
            if passage.is_left {
                return Poll::Ready(());
            }
            passage.wake_keeper_by(cx);
            Poll::Pending
        });
        if timeout(limit, left).await.is_err() {
            shared.tally(Count::WsHeld);
        }
    }
}
