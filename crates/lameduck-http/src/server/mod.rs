//! The server: listeners, connections, and how both end.
//!
//! | module | owns |
//! |---|---|
//! | `listen` | addresses, bind(2), listen(2) |
//! | `accept` | the accept loop of one listener, its limit and its errors |
//! | `sweep` | closing a listener without resetting anybody |
//! | `conn` | one connection, from accept to its end |
//! | `date` | the date of responses |
//! | `course` | when one listener leaves, where that is not when the service does |
//! | `detect` | which protocol a client's first bytes belong to |
//! | `fuzzing` | what reads a client's bytes before any protocol does, for the fuzzer |
//! | `host` | which connections have a task, and which are parked |
//! | `h1`, `h2` | HTTP/1.1 and HTTP/2 on one connection |
//! | `pulse` | what every part of a connection waits for beside its peer |
//! | `clock` | what is due on a connection, by its limits and the phases |
//! | `upgrade` | what a connection speaks after HTTP: WebSockets and tunnels |
//! | `exchange` | one request and its response |
//! | `ending` | how a response that would never end is ended |
//! | `park` | idle connections that are only a socket |
//! | `piece` | what is sent of a body |
//! | `io`, `watch` | what passes through a connection, noted |
//! | `secure` | the seam between a socket and HTTP, where TLS stands if it does |
//! | `tls` | TLS under either of them (feature `tls`) |
//! | `linger` | the end of a connection that loses nothing |
//! | `limits`, `errors`, `sock` | numbers, errors of accept(2), system calls |
//!
pub(crate) mod accept;
pub(crate) mod clock;
pub(crate) mod conn;
pub(crate) mod course;
pub(crate) mod date;
pub(crate) mod detect;
pub(crate) mod ending;
pub(crate) mod errors;
pub(crate) mod exchange;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod host;
pub(crate) mod io;
pub(crate) mod limits;
pub(crate) mod linger;
pub(crate) mod listen;
pub(crate) mod park;
pub(crate) mod piece;
pub(crate) mod pulse;
pub(crate) mod secure;
pub(crate) mod sock;
pub(crate) mod sweep;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod turn;
pub(crate) mod upgrade;
pub(crate) mod watch;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lameduck::inflight::Cancellation;
use lameduck::{Count, Lifecycle};
use tokio::sync::Notify;

use self::course::{Course, Wishes};
use self::ending::Ending;
use self::limits::Limits;
use self::park::Lot;
use crate::peer::Introduction;
use crate::ws::WebSockets;

/// What the connections of one listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) life: Lifecycle,
    pub(crate) clock: Clockwork,
    /// The number of the listener's participant, for figures.
    pub(crate) owner: Option<u32>,
    /// What its connections belong to: its participant's.
    pub(crate) cancellation: Cancellation,
    /// The shutdown as this listener sees it.
    pub(crate) drain: Course,
    pub(crate) limits: Limits,
    pub(crate) protocols: Protocols,
    /// What becomes of event streams about which the application says nothing.
    pub(crate) event_streams: Ending,
    pub(crate) websockets: WebSockets,
    pub(crate) crowd: Crowd,
    /// Where its idle connections wait.
    pub(crate) lot: Lot,
    /// Whether memory is given back to the system when many were parked.
    pub(crate) trims_heap: bool,
    /// How connections are introduced to the application, if it asked for that.
    pub(crate) introduction: Option<Introduction>,
}

impl Shared {
    pub(crate) fn new(
        life: &Lifecycle,
        limits: Limits,
        protocols: Protocols,
        wishes: Wishes,
    ) -> Self {
        Self {
            life: life.clone(),
            clock: Clockwork::of(life),
            owner: None,
            cancellation: life.cancellation(),
            drain: Course::new(life, wishes),
            limits,
            protocols,
            event_streams: Ending::default(),
            websockets: WebSockets::default(),
            crowd: Crowd::default(),
            lot: Lot::default(),
            trims_heap: false,
            introduction: None,
        }
    }

    /// The time since the start of the process: [`Lifecycle::elapsed`] for what asks once or twice per request.
    #[inline]
    pub(crate) fn now(&self) -> Duration {
        self.clock.now(&self.life)
    }

    pub(crate) fn tally(&self, what: Count) {
        self.tally_many(what, 1);
    }

    pub(crate) fn tally_many(&self, what: Count, count: usize) {
        self.life.inflight().tally.add(what, count as u64);
    }

    /// Whether it is time for the connection with this place in the floor to go elsewhere.
    pub(crate) fn is_steered(&self, spread: u64) -> bool {
        self.drain
            .steer_at(spread)
            .is_some_and(|at| self.now() >= at)
    }

    /// A limit, cut so that it runs out before the drain deadline does: what ends by its own limit never forces the exit.
    pub(crate) fn before_deadline(&self, limit: Duration, from: Duration) -> Duration {
        match self.drain.drain_end() {
            Some(deadline) => limit.min(deadline.saturating_sub(from) * 7 / 8),
            None => limit,
        }
    }
}

/// Reads the clock of a [`Lifecycle`] for half of what the difference of two `std::time::Instant`s costs, where the kernel's clock is known.
#[derive(Debug)]
pub(crate) struct Clockwork {
    /// The kernel's clock at the start of the process, in nanoseconds.
    start: Option<u64>,
}

impl Clockwork {
    /// What may lie between reading one clock and the other: the time is behind the lifecycle's by no more than that, by some 100 ns in most
    /// cases, and never ahead of it.
    const SKEW: Duration = Duration::from_micros(100);
    /// A thread may be preempted between the two: the best of so many counts.
    const TRIES: u32 = 16;

    fn of(life: &Lifecycle) -> Self {
        let read = |_| {
            let before = sock::monotonic()?;
            let elapsed = u64::try_from(life.elapsed().as_nanos()).ok()?;
            let after = sock::monotonic()?;
            Some((after - before, after.checked_sub(elapsed)?))
        };
        let best = (0..Self::TRIES).filter_map(read).min();
        let near = best.filter(|(between, _)| u128::from(*between) <= Self::SKEW.as_nanos());
        Self {
            start: near.map(|(_, start)| start),
        }
    }

    #[inline]
    fn now(&self, life: &Lifecycle) -> Duration {
        let now = |start| {
            Some(Duration::from_nanos(
                sock::monotonic()?.saturating_sub(start),
            ))
        };
        self.start.and_then(now).unwrap_or_else(|| life.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_lifecycles() {
        let plan = lameduck::Plan::preset(lameduck::Preset::Local);
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let clock = Clockwork::of(&life);
        for _ in 0..1000 {
            let (before, now, after) = (life.elapsed(), clock.now(&life), life.elapsed());
            assert!(
                before <= now + Clockwork::SKEW && now <= after,
                "{before:?} {now:?} {after:?}"
            );
        }
    }
}

/// The versions of HTTP that a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocols {
    /// HTTP/1.1, and HTTP/2 for clients that begin with its preface ("prior knowledge", RFC 9113 §3.3) or chose it by ALPN.
    #[default]
    Both,
    /// HTTP/1.0 and HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// How many connections of one listener are open.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    count: AtomicUsize,
    /// Below how many somebody wants to know; zero while nobody does.
    wanted: AtomicUsize,
    left: Notify,
}

impl Crowd {
    pub(crate) fn enter(&self) {
        // SeqCst pairs with the one in `leave`: see there.
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn leave(&self) {
        // SeqCst pairs with store and load in `fewer_than`: either that load sees the count, or this one sees what is wanted, and then its
        // `Notified`, made before both, sees this notification. Who leaves a crowd of thousands wakes nobody.
        let left = self.count.fetch_sub(1, Ordering::SeqCst) - 1;
        if left < self.wanted.load(Ordering::SeqCst) {
            self.left.notify_waiters();
        }
    }

    /// Waits until there are fewer than `limit`. For one at a time: the one who accepts.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn fewer_than(&self, limit: usize) {
        loop {
            let left = self.left.notified();
            self.wanted.store(limit, Ordering::SeqCst);
            if self.is_below(limit) {
                break;
            }
            left.await;
        }
        self.wanted.store(0, Ordering::SeqCst);
    }

    pub(crate) fn is_below(&self, limit: usize) -> bool {
        self.count.load(Ordering::SeqCst) < limit
    }
}
