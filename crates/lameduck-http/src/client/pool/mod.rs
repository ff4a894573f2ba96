//! The pool as the rest of the client sees it: the machine behind a lock, the senders of its connections, and the turns of those who wait.
//!
//! | module | owns |
//! |---|---|
//! | `machine` | every decision |
//! | `counts` | what is counted |
//! | `lease` | a connection while one request has it, or while it is opened |
//!
//! Nothing that the machine asks for is done under the lock: senders are dropped, and tasks woken, after it.

pub(crate) mod counts;
pub(crate) mod lease;
pub(crate) mod machine;

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use self::counts::{ClosedBy, Counts};
use self::lease::{Held, Lease, Opening};
use self::machine::{
    Answer, Bounds, ConnId, Effect, Fit, Grant, Machine, Refusal, Season, Speaks, WaiterId, Wish,
};
use super::conn::Sender;
use super::target::Target;
use super::wire::WireState;

/// One client's connections.
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    began: Instant,
    /// For the keeper: something is due earlier than it knows, or the last connection is closed.
    news: Notify,
    pub(super) runtime: Handle,
}

struct Inner {
    machine: Machine<Target>,
    links: HashMap<ConnId, Link>,
    turns: HashMap<WaiterId, Turn>,
    /// What the keeper waits for.
    armed: Option<Duration>,
}

struct Link {
    /// HTTP/1.1: while no request has it. HTTP/2: until it is let go.
    sender: Option<Sender>,
    wire: Arc<WireState>,
}

enum Turn {
    Waits(Option<Waker>),
    Has(Grant),
    /// The client is over.
    Never,
}

/// What is done after the lock.
#[derive(Default)]
struct After {
    dropped: Vec<Sender>,
    woken: Vec<Waker>,
    cut: Vec<Arc<WireState>>,
    news: bool,
}

/// Why no connection was to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Late,
    Over,
}

/// An open connection, for people.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    target: Target,
    age: Duration,
    requests: u64,
    busy: usize,
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            age,
            requests,
            busy,
        } = self;
        let age = age.as_secs_f64();
        write!(
            f,
            "{target}, open for {age:.1} s, {requests} requests so far, {busy} in flight"
        )
    }
}

/// How many there are of everything, now.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) in_flight: usize,
    pub(crate) waiting: usize,
    pub(crate) counts: Counts,
}

impl Pool {
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                machine: Machine::new(bounds),
                links: HashMap::new(),
                turns: HashMap::new(),
                armed: None,
            }),
            began: Instant::now(),
            news: Notify::new(),
            runtime: Handle::current(),
        })
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What it guards is whole between any two calls, so a panic elsewhere does not spoil it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, and what follows from it.
    fn act<R>(&self, deed: impl FnOnce(&mut Inner, Duration) -> R) -> R {
        let now = self.now();
        let mut inner = self.lock();
        let result = deed(&mut inner, now);
        let mut after = inner.follow(now);
        let due = inner.machine.next_due();
        if due.is_some_and(|due| inner.armed.is_none_or(|armed| due < armed)) {
            inner.armed = due;
            after.news = true;
        }
        drop(inner);
        self.finish(after);
        result
    }

    fn finish(&self, after: After) {
        drop(after.dropped);
        after.woken.into_iter().for_each(Waker::wake);
        after.cut.iter().for_each(|wire| wire.cut());
        if after.news {
            self.news.notify_one();
        }
    }

    /// Counts something.
    pub(super) fn count(&self, counting: impl FnOnce(&mut Counts)) {
        counting(&mut self.lock().machine.counts);
    }

    /// A connection for one request: one that is open, or one that it opens itself.
    pub(super) async fn hold(
        self: &Arc<Self>,
        target: &Target,
        wish: Wish,
        presumed: Option<Speaks>,
        wait: Duration,
    ) -> Result<Held, Refused> {
        let until = Instant::now() + wait;
        let mut wish = wish;
        loop {
            let answer = self.act(|inner, now| {
                let answer = inner.machine.ask(target, wish, presumed, now);
                if let Answer::Wait(waiter) = answer {
                    inner.turns.insert(waiter, Turn::Waits(None));
                }
                answer
            });
            let grant = match answer {
                Answer::Now(grant) => grant,
                Answer::Wait(waiter) => self.turn(waiter, until).await?,
                Answer::Spare => return Ok(Held::Spare),
                Answer::Refused(Refusal::Full) => return Err(Refused::Full),
                Answer::Refused(Refusal::Over) => return Err(Refused::Over),
            };
            if let Some(held) = self.take(grant)
                && let Some(held) = held.if_open().await
            {
                return Ok(held);
            }
            // It was closed meanwhile; those beside it may be, too.
            if wish == Wish::Any {
                wish = Wish::Fresh;
            }
        }
    }

    async fn turn(self: &Arc<Self>, id: WaiterId, until: Instant) -> Result<Grant, Refused> {
        let mut waiter = Waiter {
            pool: self,
            id,
            is_over: false,
        };
        let turn = poll_fn(|cx| waiter.poll(cx));
        let Ok(turn) = timeout_at(until, turn).await else {
            self.count(|counts| counts.refused_late += 1);
            return Err(Refused::Late);
        };
        turn.ok_or(Refused::Over)
    }

    /// Makes a grant a thing that cannot be lost; None if its connection is closed.
    fn take(self: &Arc<Self>, grant: Grant) -> Option<Held> {
        let pool = Arc::clone(self);
        match grant {
            Grant::Open(id) => {
                let wire = Arc::<WireState>::default();
                let link = Link {
                    sender: None,
                    wire: Arc::clone(&wire),
                };
                let is_wanted = self.act(|inner, now| {
                    let is_wanted = inner.machine.is_opening(id);
                    if is_wanted {
                        inner.links.insert(id, link);
                    } else {
                        inner.machine.closed(id, now);
                    }
                    is_wanted
                });
                is_wanted.then(|| Held::Opening(Opening::new(pool, id, wire)))
            }
            Grant::Use(id) => {
                let (sender, wire) = {
                    let mut inner = self.lock();
                    let link = inner.links.get_mut(&id)?;
                    (link.lend(), Arc::clone(&link.wire))
                };
                Some(Held::Lease(Lease::new(pool, id, sender, wire)))
            }
        }
    }

    /// What was to be opened is. None if it is not wanted any more.
    pub(super) fn opened(
        self: &Arc<Self>,
        id: ConnId,
        sender: Sender,
        most: usize,
    ) -> Option<Lease> {
        let speaks = sender.speaks();
        // Taken if it is wanted; otherwise dropped after the lock.
        let mut sender = Some(sender);
        let (sender, wire) = self.act(|inner, now| {
            let is_wanted = inner.machine.opened(id, speaks, most, now);
            let link = inner.links.get_mut(&id).filter(|_| is_wanted)?;
            link.sender = sender.take();
            Some((link.lend(), Arc::clone(&link.wire)))
        })?;
        Some(Lease::new(Arc::clone(self), id, sender, wire))
    }

    fn may_end(&self, id: ConnId, by: ClosedBy) {
        self.lock().machine.may_end(id, by);
    }

    fn give_back(&self, id: ConnId, fit: Fit, mut sender: Option<Sender>) {
        self.act(|inner, now| {
            if sender.is_some()
                && let Some(link) = inner.links.get_mut(&id)
            {
                link.sender = sender.take();
            }
            inner.machine.give_back(id, fit, now);
        });
    }

    /// A server of HTTP/2 allows so many streams.
    pub(super) fn allow(&self, id: ConnId, streams: u32) {
        let streams = usize::try_from(streams).unwrap_or(usize::MAX);
        self.act(|inner, now| inner.machine.allow(id, streams, now));
    }

    /// A connection of HTTP/2 takes no new streams. If it closes, that is why.
    pub(super) fn retire(&self, id: ConnId, by: ClosedBy) {
        self.act(|inner, now| inner.machine.retire(id, by, now));
    }

    /// A server says for how long it keeps a connection that rests.
    pub(super) fn keep_for(&self, id: ConnId, said: Duration) {
        self.lock().machine.keep_for(id, said);
    }

    fn is_retired(&self, id: ConnId) -> bool {
        self.lock().machine.is_retired(id)
    }

    /// A socket is closed, or was never opened.
    pub(super) fn closed(&self, id: ConnId) {
        let link = self.act(|inner, now| {
            inner.machine.closed(id, now);
            inner.links.remove(&id)
        });
        drop(link);
        self.news.notify_one();
    }

    pub(super) fn turn_to(&self, season: Season) {
        self.act(|inner, now| inner.machine.turn(season, now));
        // Nothing may be open already.
        self.news.notify_one();
    }

    pub(super) fn season(&self) -> Season {
        self.lock().machine.season()
    }

    /// Closes everything, whoever uses it.
    pub(super) fn cut(&self) {
        self.act(|inner, now| inner.machine.cut(now));
    }

    /// What is open, the oldest first.
    pub(super) fn open(&self) -> Vec<Open> {
        let now = self.now();
        let inner = self.lock();
        let open = inner.machine.conns().map(|(_, conn)| Open {
            target: conn.host.clone(),
            age: now.saturating_sub(conn.opened_at),
            requests: conn.requests,
            busy: conn.busy(),
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|one| std::cmp::Reverse(one.age));
        open
    }

    pub(super) fn levels(&self) -> Levels {
        let inner = self.lock();
        Levels {
            open: inner.machine.conns().count(),
            idle: inner.machine.idle(),
            in_flight: inner.machine.in_flight(),
            waiting: inner.machine.waiting(),
            counts: inner.machine.counts.clone(),
        }
    }

    /// Does what is due, whenever it is, until nothing is open and the client is over. For one keeper.
    pub(super) async fn keep(&self) {
        loop {
            let due = self.act(|inner, now| {
                inner.machine.tick(now);
                inner.armed = inner.machine.next_due();
                let is_over = inner.machine.season() == Season::Over && inner.machine.is_empty();
                (!is_over).then_some(inner.armed)
            });
            let Some(due) = due else { return };
            let news = self.news.notified();
            match due {
                // To the millisecond, as timers are: what is due must not be missed by less.
                Some(due) => {
                    let at = self.began + due + Duration::from_millis(1);
                    let _ = timeout_at(at, news).await;
                }
                None => news.await,
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Inner {
    /// Does what can be done under the lock, and says what is to be done after it.
    fn follow(&mut self, now: Duration) -> After {
        let mut after = After::default();
        loop {
            let effects = self.machine.effects();
            if effects.is_empty() {
                return after;
            }
            for effect in effects {
                match effect {
                    Effect::Grant(waiter, grant) => {
                        match self.turns.get_mut(&waiter) {
                            Some(turn) => after.woken.extend(turn.end(Turn::Has(grant))),
                            // It went in the same moment.
                            None => self.return_grant(grant, now),
                        }
                    }
                    Effect::Refuse(waiter) => {
                        let turn = self.turns.get_mut(&waiter);
                        after
                            .woken
                            .extend(turn.and_then(|turn| turn.end(Turn::Never)));
                    }
                    Effect::Close(id) => {
                        let link = self.links.get_mut(&id);
                        after
                            .dropped
                            .extend(link.and_then(|link| link.sender.take()));
                    }
                    Effect::Cut(id) => {
                        let link = self.links.get(&id);
                        after.cut.extend(link.map(|link| Arc::clone(&link.wire)));
                    }
                }
            }
        }
    }

    fn return_grant(&mut self, grant: Grant, now: Duration) {
        match grant {
            Grant::Use(id) => self.machine.give_back(id, Fit::Again, now),
            Grant::Open(id) => self.machine.closed(id, now),
        }
    }
}

impl Link {
    /// The sender for one request.
    fn lend(&mut self) -> Option<Sender> {
        match self.sender.as_ref()?.another() {
            Some(another) => Some(another),
            None => self.sender.take(),
        }
    }
}

impl Turn {
    fn end(&mut self, turn: Self) -> Option<Waker> {
        match std::mem::replace(self, turn) {
            Self::Waits(waker) => waker,
            Self::Has(_) | Self::Never => None,
        }
    }
}

/// Somebody who waits; what it was granted and did not take goes back when it is dropped.
struct Waiter<'a> {
    pool: &'a Pool,
    id: WaiterId,
    is_over: bool,
}

impl Waiter<'_> {
    /// None: the client is over.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Grant>> {
        let mut inner = self.pool.lock();
        let grant = match inner.turns.get_mut(&self.id) {
            Some(Turn::Waits(waker)) => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(Turn::Has(grant)) => Some(*grant),
            Some(Turn::Never) | None => None,
        };
        inner.turns.remove(&self.id);
        self.is_over = true;
        Poll::Ready(grant)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.pool
            .act(|inner, now| match inner.turns.remove(&self.id) {
                Some(Turn::Has(grant)) => inner.return_grant(grant, now),
                Some(Turn::Waits(_)) => inner.machine.cancel(self.id, now),
                Some(Turn::Never) | None => {}
            });
    }
}
