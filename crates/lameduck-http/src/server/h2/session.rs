//! A conversation in HTTP/2: its streams, and what is due when.
//!
//! Owns the order in which things are looked at: h2 first, then the streams, then the time, which is read once for all of them. The streams are
//! served by tasks of their own ([`super::crew`]); they are ended with the connection, and it does not end before them.

use std::future::poll_fn;
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use lameduck::{Count, Late};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::crew::Crew;
use super::leave::{Facts, Leave, Step, Why, answer_limit};
use super::ping::{Alive, KeepAlive};
use super::stream::{Asked, Serving};
use super::{Data, Http};
use crate::body::Body;
use crate::server::Shared;
use crate::server::clock::{End, UNARMED};
use crate::server::exchange::{App, Work};
use crate::server::io::Stream;
use crate::server::piece::Piece;
use crate::server::pulse::{Heard, Known};
use crate::server::sock;
use crate::server::upgrade::Pledge;
use crate::server::watch::{Situation, Watch};

/// How long the last words of a connection that is cut may take.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// One conversation.
pub(super) struct Session<'a, S: Stream, A: App> {
    http: Http<S, A>,
    app: A,
    watch: &'a Arc<Watch>,
    crew: Crew<A>,
    /// Streams begun so far.
    served: u64,
    quiet_since: Option<Duration>,
    leave: Leave,
    alive: Option<KeepAlive>,
    /// The connection's socket, open as long as `http` has it.
    socket: RawFd,
    stall: Stall,
    /// When the streams are looked at for stalls.
    tick: Option<Duration>,
    steering: Heard,
    closing: Heard,
    ending: Heard,
    closing_at: Option<Duration>,
    alarm: Pin<Box<Sleep>>,
    /// When the alarm goes off, at the earliest; None while nothing is due.
    armed: Option<Duration>,
    /// Whom it wakes.
    woken: Known,
}

/// How long something has stood still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    moved: u64,
    since: Duration,
}

impl Stall {
    pub(super) const fn begin(now: Duration) -> Self {
        Self {
            moved: 0,
            since: now,
        }
    }

    /// How much had moved is not known, and counts as something else than the first look finds.
    const fn unseen(now: Duration) -> Self {
        Self {
            moved: u64::MAX,
            since: now,
        }
    }

    /// Since when nothing has moved although it should.
    pub(super) fn since(&mut self, should_move: bool, moved: u64, now: Duration) -> Duration {
        if !should_move || moved != self.moved {
            (self.moved, self.since) = (moved, now);
        }
        self.since
    }
}

enum Next {
    Wait,
    Again,
    End(End),
}

impl<'a, S: Stream, A: App> Session<'a, S, A> {
    /// `socket` is that of the stream under `http`.
    pub(super) fn new(mut http: Http<S, A>, app: A, watch: &'a Arc<Watch>, socket: RawFd) -> Self {
        let drain = &watch.shared.drain;
        let now = watch.shared.now();
        let alive = http.ping_pong().map(|pings| KeepAlive::new(pings, now));
        Self {
            http,
            app,
            watch,
            crew: Crew::new(),
            served: 0,
            quiet_since: Some(now),
            leave: Leave::Not,
            alive,
            socket,
            stall: Stall::begin(now),
            tick: None,
            steering: Heard::new(drain.steering()),
            closing: Heard::new(drain.closing()),
            ending: Heard::new(drain.ending()),
            closing_at: None,
            alarm: Box::pin(sleep(UNARMED)),
            armed: None,
            woken: Known::default(),
        }
    }

    /// Talks to the end; no stream outlives it.
    pub(super) async fn run(mut self) -> End {
        let end = poll_fn(|cx| self.poll(cx)).await;
        if matches!(end, End::Cut) {
            self.last_words().await;
        }
        // The streams' tasks hear of it by their streams, and drop their handlers.
        drop(self.http);
        let shared = &self.watch.shared;
        let all = poll_fn(|cx| poll_empty(&mut self.crew, shared, cx));
        tokio::select! {
            biased;
            () = all => end,
            // A handler that never yields cannot be ended; the drain's end does not wait for it.
            () = shared.drain.ending() => End::Cut,
        }
    }

    /// Ends every stream so that it does not look whole, and says which were served.
    async fn last_words(&mut self) {
        self.crew.abort_all();
        // Past a limit the peer does not read, or a handler does not yield.
        let resets = poll_fn(|cx| {
            let is_empty = poll_empty(&mut self.crew, &self.watch.shared, cx).is_ready();
            // After the tasks, so that the resets that they leave are written.
            let is_closed = self.http.poll_closed(cx).is_ready();
            if is_closed || is_empty {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let _ = timeout(LAST_WORDS, resets).await;
        self.http.abrupt_shutdown(Reason::NO_ERROR);
        let _ = timeout(LAST_WORDS, poll_fn(|cx| self.http.poll_closed(cx))).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let now = self.now();
            if let Some(end) = self.accept(now, cx) {
                return Poll::Ready(end);
            }
            self.reap(now, cx);
            match self.look(now, cx) {
                Next::Wait => return Poll::Pending,
                Next::Again => {}
                Next::End(end) => return Poll::Ready(end),
            }
        }
    }

    /// Moves the connection on and begins the streams that came.
    fn accept(&mut self, now: Duration, cx: &mut Context<'_>) -> Option<End> {
        loop {
            match self.http.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond, now),
                Poll::Ready(Some(Err(error))) => return Some(End::Http2(Err(error))),
                Poll::Ready(None) => return Some(End::Http2(Ok(()))),
                Poll::Pending => return None,
            }
        }
    }

    /// Whether the client has left the PING between the GOAWAYs unanswered for too long: h2 begins no stream once it is answered.
    fn ignores_goaway(&self, now: Duration) -> bool {
        match self.leave {
            Leave::Told { at, .. } => now >= at.saturating_add(answer_limit(self.watch, at)),
            Leave::Not | Leave::Ended { .. } => false,
        }
    }

    fn begin(
        &mut self,
        mut request: Request<RecvStream>,
        mut answer: SendResponse<Piece<Data<A>>>,
        now: Duration,
    ) {
        let shared = &self.watch.shared;
        self.served += 1;
        if shared.drain.is_closing() && shared.drain.late() == Late::Refuse {
            shared.tally(Count::LateRefused);
            answer.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        if self.ignores_goaway(now) {
            // Served for ever, it could hold the exit with one stream after the other.
            shared.tally(Count::PingExpired);
            answer.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        if request.headers().len() > shared.limits.headers {
            shared.tally(Count::Malformed);
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            // Fails only on a stream that is gone.
            let _ = answer.send_response(response, true);
            return;
        }
        join_cookies(request.headers_mut());
        let mut seat = self.crew.seat(self.watch);
        let watch = seat.watch().clone();
        let length = request.headers().get(CONTENT_LENGTH).and_then(number);
        let method = request.method().clone();
        let mut incoming = None;
        let mut request = request.map(|stream| {
            if method == Method::CONNECT {
                // Not a body: it belongs to whatever the tunnel carries.
                incoming = Some(stream);
                return Body::empty();
            }
            Body::http2(stream, length, &watch)
        });
        self.quiet_since = None;
        let pledge = Pledge::of(&mut request, &watch);
        let work = Work::begin(&watch, &mut request, pledge, now);
        let stream = answer.stream_id().as_u32();
        let asked = Asked {
            method,
            incoming,
            respond: answer,
        };
        seat.take(
            stream,
            Serving::new(&self.app, request, work, asked, &watch),
        );
        self.crew.begin(seat, now);
    }

    /// Takes note of the streams that ended.
    fn reap(&mut self, now: Duration, cx: &mut Context<'_>) {
        note_panicked(&self.watch.shared, self.crew.reap(cx));
        if self.crew.open.is_empty() && self.quiet_since.is_none() && !self.http.has_streams() {
            self.quiet_since = Some(now);
        }
    }

    /// Looks at the phases and the time.
    fn look(&mut self, now: Duration, cx: &mut Context<'_>) -> Next {
        let shared = &self.watch.shared;
        let (drain, limits) = (&shared.drain, &shared.limits);
        if self.steering.came(drain.is_steering(), cx) && self.closing.came(drain.is_closing(), cx)
        {
            if self.closing_at.is_none() {
                self.closing_at = Some(now);
                // The limits are shorter from now on.
                self.tick = self.tick.map(|_| now);
            }
            if self.ending.came(drain.is_ending(), cx) {
                return Next::End(End::Cut);
            }
        }
        if self.watch.is_flooded() && !matches!(self.leave, Leave::Ended { .. }) {
            shared.tally(Count::Flooded);
            self.crew.abort_all();
            self.http.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.leave = Leave::Ended { at: now };
            return Next::Again;
        }
        let facts = Facts {
            now,
            served: self.served,
            quiet_since: self.quiet_since,
        };
        let leave = match self.leave.step(self.watch, facts) {
            Step::Wait(until) => until,
            step => return self.take(step, now),
        };
        let stall = match self.stalled(now) {
            Ok(until) => until,
            Err(end) => return Next::End(end),
        };
        let alive = match &mut self.alive {
            Some(alive) if self.quiet_since.is_none() => {
                let received = self.watch.received();
                // Who takes what was sent is alive, however long it takes the PING behind it.
                let delivered = || delivered(self.watch, self.socket);
                let limits = (limits.ping_every, limits.ping_answer);
                match alive.check(received, delivered, now, limits, cx) {
                    Alive::Until(at) => Some(at),
                    Alive::Asked => return Next::Again,
                    Alive::Gone => return Next::End(End::Expired(Situation::Transfer)),
                }
            }
            _ => None,
        };
        self.sleep_until([leave, stall, alive].into_iter().flatten().min(), now, cx)
    }

    /// Does what leaving asks for.
    fn take(&mut self, step: Step, now: Duration) -> Next {
        match step {
            Step::Wait(_) => {}
            Step::Tell(why) => {
                self.http.graceful_shutdown();
                self.leave = Leave::Told { at: now, why };
                if why == Why::Steered && self.watch.note_steered() {
                    self.watch.shared.tally(Count::Steered);
                }
                if why == Why::Idle {
                    self.watch.shared.tally(Count::IdleExpired);
                }
            }
            Step::Last => {
                self.http.abrupt_shutdown(Reason::NO_ERROR);
                self.leave = Leave::Ended { at: now };
                self.watch.shared.tally(Count::PingExpired);
            }
            Step::EndStreams => {
                self.watch
                    .shared
                    .tally_many(Count::AgeExpired, self.crew.open.len());
                self.crew.abort_all();
                // What is left is a connection without streams that was told to go.
                self.leave = Leave::Told {
                    at: now,
                    why: Why::Steered,
                };
            }
            Step::GiveUp => return Next::End(End::Expired(Situation::Transfer)),
        }
        Next::Again
    }

    /// Ends the streams that stand still for too long; when to look again.
    fn stalled(&mut self, now: Duration) -> Result<Option<Duration>, End> {
        let shared = &self.watch.shared;
        let limits = &shared.limits;
        let is_blocked = self.watch.is_write_blocked();
        if self.crew.open.is_empty() && !is_blocked {
            self.tick = None;
            return Ok(None);
        }
        let (limit, from) = match self.closing_at {
            None => (limits.stall, Duration::ZERO),
            Some(at) => (shared.before_deadline(limits.stall_draining, at), at),
        };
        // Four looks for each limit: what stands still ends a quarter late, the first time half of it at most.
        let next = now + (limit / 4).max(Duration::from_millis(10));
        let Some(tick) = self.tick else {
            // A request that is answered before the first look needs none, nor the system call in it.
            self.stall = Stall::unseen(now);
            self.tick = Some(next);
            return Ok(Some(next));
        };
        if now < tick {
            return Ok(Some(tick));
        }
        let is_over = |since: Duration| now >= since.max(from) + limit;
        let delivered = delivered(self.watch, self.socket);
        if is_over(self.stall.since(is_blocked, delivered, now)) {
            return Err(End::Expired(Situation::Transfer));
        }
        for open in self.crew.open.iter_mut().filter(|open| !open.ended) {
            let waits = match open.watch.situation() {
                // The streams take turns: as long as one is served, the others wait for it, not for the client.
                Situation::Transfer if open.watch.is_write_blocked() => Some(self.watch.carried()),
                // A call in both directions may be silent while nobody leaves; PINGs find out whether its client is there.
                Situation::Transfer if self.closing_at.is_none() && open.watch.is_answered() => {
                    None
                }
                Situation::Transfer => Some(open.watch.moved() + self.watch.arriving(open.stream)),
                _ => None,
            };
            if is_over(open.stall.since(waits.is_some(), waits.unwrap_or(0), now)) {
                shared.tally(Count::StallExpired);
                open.ended = true;
                open.task.abort();
            }
        }
        self.tick = Some(next);
        Ok(Some(next))
    }

    fn sleep_until(&mut self, due: Option<Duration>, now: Duration, cx: &mut Context<'_>) -> Next {
        let Some(due) = due else {
            return Next::Wait;
        };
        if self.armed.is_none_or(|at| due < at) {
            self.alarm
                .as_mut()
                .reset(Instant::now() + due.saturating_sub(now));
            self.armed = Some(due);
            // It may have fired, and has nobody to wake then.
            self.woken = Known::default();
        }
        // Before its time it cannot have fired, and it knows whom to wake: no need to ask it after every request.
        if self.armed.is_some_and(|at| now < at) && self.woken.is(cx) {
            return Next::Wait;
        }
        self.woken.learn(cx);
        if self.alarm.as_mut().poll(cx).is_pending() {
            return Next::Wait;
        }
        self.armed = None;
        Next::Again
    }

    fn now(&self) -> Duration {
        self.watch.shared.now()
    }
}

/// Whether no stream's task is left; otherwise the caller's task is woken when one ends.
fn poll_empty<A: App>(crew: &mut Crew<A>, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
    note_panicked(shared, crew.reap(cx));
    if crew.open.is_empty() {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

fn note_panicked(shared: &Shared, tasks: usize) {
    if tasks > 0 {
        shared.tally_many(Count::Panicked, tasks);
    }
}

/// Bytes written that the client's side has acknowledged. `socket` is open: the session holds the stream of it.
fn delivered(watch: &Watch, socket: RawFd) -> u64 {
    // SAFETY: a session calls this with its own socket, which is open as long as its `http`.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    let queued = sock::unacknowledged(socket).unwrap_or(0);
    watch.written().saturating_sub(queued as u64)
}

/// Makes one field of the pieces that HTTP/2 allows a cookie to come in (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let mut pieces = fields.get_all(COOKIE).iter();
    let (Some(first), Some(_)) = (pieces.next(), pieces.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for piece in fields.get_all(COOKIE).iter().skip(1) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(piece.as_bytes());
    }
    let joined = HeaderValue::from_bytes(&joined).expect("made of values");
    fields.insert(COOKIE, joined);
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}
