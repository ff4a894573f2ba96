//! Which connection a request gets, who waits, and which connections end: decided without a clock, a socket or a task.
//!
//! Everything that happens is a call with the time; what is to be done comes out as [`Effect`]s. A connection counts against the limits from
//! before it is opened until its socket is closed, whatever anybody holds of it.

mod room;
mod words;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::mem;
use std::time::Duration;

pub(crate) use self::words::{
    Answer, Bounds, ConnId, Effect, Fit, Grant, Refusal, Season, Speaks, WaiterId, Wish,
};
use super::counts::{ClosedBy, Counts};

/// For how long a connection may take to close before it is cut.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// For how long a new connection may leave open how much it takes, before another is opened beside it: some round trips over half of the world.
const TELLS_WITHIN: Duration = Duration::from_millis(500);

/// How much earlier than its server a connection that rests is closed, so that no request crosses its end.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// Below that nothing could be used again; a server that keeps connections for a second or less is raced with.
const LEAST_KEPT: Duration = Duration::from_millis(500);

/// The idle time-out once admission has closed.
const IDLE_IN_DRAIN: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
enum State {
    Opening,
    /// HTTP/1.1, with a request on it. If it closes, that is why.
    Lent {
        ends_by: ClosedBy,
    },
    Idle {
        since: Duration,
    },
    /// HTTP/2.
    Shared {
        streams: usize,
        most: usize,
        /// It takes no more streams, and ends for this reason.
        retires: Option<ClosedBy>,
        idle_since: Duration,
    },
    Closing {
        since: Duration,
        by: ClosedBy,
        cut: bool,
    },
}

const LENT: State = State::Lent {
    ends_by: ClosedBy::Peer,
};

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Conn<H> {
    pub(crate) host: H,
    pub(crate) opened_at: Duration,
    pub(crate) requests: u64,
    state: State,
    /// What its server said before it was handed over.
    allowed: Option<usize>,
    retires: Option<ClosedBy>,
    /// Its server says that it keeps it for so long, less what a request takes on its way.
    keeps: Option<Duration>,
}

impl<H> Conn<H> {
    /// Requests on it.
    pub(crate) const fn busy(&self) -> usize {
        match self.state {
            State::Opening | State::Lent { .. } => 1,
            State::Shared { streams, .. } => streams,
            State::Idle { .. } | State::Closing { .. } => 0,
        }
    }

    /// HTTP/2, and takes streams.
    const fn is_shared(&self) -> bool {
        matches!(self.state, State::Shared { retires: None, .. })
    }

    fn idle_until(&self, limit: Duration) -> Option<Duration> {
        let limit = self.keeps.map_or(limit, |keeps| keeps.min(limit));
        Some(self.idle_since()?.saturating_add(limit))
    }

    const fn idle_since(&self) -> Option<Duration> {
        match self.state {
            State::Idle { since } => Some(since),
            State::Shared {
                streams: 0,
                retires: None,
                idle_since,
                ..
            } => Some(idle_since),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct Host {
    /// All of its connections, those that open or close included.
    open: usize,
    opening: usize,
    /// HTTP/1.1, the one that has been idle for longest first.
    idle: VecDeque<ConnId>,
    /// HTTP/2.
    shared: Vec<ConnId>,
    waiting: VecDeque<(WaiterId, Wish)>,
    /// What its connections speak, once one of them did.
    speaks: Option<Speaks>,
    /// Until then the connection that began to open last may tell whether another is needed.
    tells_until: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Machine<H> {
    bounds: Bounds,
    season: Season,
    drained_at: Option<Duration>,
    hosts: HashMap<H, Host>,
    conns: HashMap<ConnId, Conn<H>>,
    waiters: BTreeMap<WaiterId, H>,
    closing: HashSet<ConnId>,
    last_id: u64,
    effects: Vec<Effect>,
    pub(crate) counts: Counts,
}

impl<H: Clone + Eq + Hash> Machine<H> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            season: Season::Open,
            drained_at: None,
            hosts: HashMap::new(),
            conns: HashMap::new(),
            waiters: BTreeMap::new(),
            closing: HashSet::new(),
            last_id: 0,
            effects: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// What is to be done since it was asked last.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        mem::take(&mut self.effects)
    }

    pub(crate) const fn season(&self) -> Season {
        self.season
    }

    pub(crate) fn conns(&self) -> impl Iterator<Item = (ConnId, &Conn<H>)> {
        self.conns.iter().map(|(id, conn)| (*id, conn))
    }

    pub(crate) fn is_opening(&self, id: ConnId) -> bool {
        let conn = self.conns.get(&id);
        conn.is_some_and(|conn| matches!(conn.state, State::Opening))
    }

    /// Whether it takes no more streams.
    pub(crate) fn is_retired(&self, id: ConnId) -> bool {
        let conn = self.conns.get(&id);
        conn.is_none_or(|conn| conn.retires.is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn idle(&self) -> usize {
        let idle = |conn: &&Conn<H>| conn.idle_since().is_some();
        self.conns.values().filter(idle).count()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.conns.values().map(Conn::busy).sum()
    }

    /// A request asks for a connection. `presumed` is what connections to this host will speak, if that is known beforehand.
    pub(crate) fn ask(
        &mut self,
        host: &H,
        wish: Wish,
        presumed: Option<Speaks>,
        now: Duration,
    ) -> Answer {
        if self.season == Season::Over {
            self.counts.refused_over += 1;
            return Answer::Refused(Refusal::Over);
        }
        if wish == Wish::Spare {
            if self.season != Season::Open {
                self.counts.refused_over += 1;
                return Answer::Refused(Refusal::Over);
            }
            let mut conns = self.conns.values();
            if conns.any(|conn| conn.host == *host && conn.idle_since().is_some()) {
                return Answer::Spare;
            }
        }
        let known = self.hosts.entry(host.clone()).or_default();
        known.speaks = known.speaks.or(presumed);
        // Nobody overtakes.
        if known.waiting.is_empty()
            && let Some(grant) = self.try_serve(host, wish, now)
        {
            return Answer::Now(grant);
        }
        if self.waiters.len() >= self.bounds.waiting {
            self.counts.refused_full += 1;
            self.forget(host);
            return Answer::Refused(Refusal::Full);
        }
        let id = WaiterId(self.next_id());
        self.waiters.insert(id, host.clone());
        if let Some(known) = self.hosts.get_mut(host) {
            known.waiting.push_back((id, wish));
        }
        self.make_room(now);
        Answer::Wait(id)
    }

    /// A waiter goes. What it was granted already is given back by whoever holds the grant.
    pub(crate) fn cancel(&mut self, waiter: WaiterId, now: Duration) {
        let Some(host) = self.waiters.remove(&waiter) else {
            return;
        };
        if let Some(known) = self.hosts.get_mut(&host) {
            known.waiting.retain(|(id, _)| *id != waiter);
        }
        // It may have wished for more than those behind it.
        self.serve(now);
        self.forget(&host);
    }

    /// A connection that was to be opened is, with a request on it. `most`: how many streams there may be at first, on HTTP/2.
    /// False if it is not wanted any more.
    pub(crate) fn opened(
        &mut self,
        id: ConnId,
        speaks: Speaks,
        most: usize,
        now: Duration,
    ) -> bool {
        let conn = self.conns.get_mut(&id);
        let Some(conn) = conn.filter(|conn| matches!(conn.state, State::Opening)) else {
            return false;
        };
        let host = conn.host.clone();
        conn.state = match speaks {
            Speaks::Http1 => LENT,
            Speaks::Http2 => State::Shared {
                streams: 1,
                most: conn.allowed.unwrap_or(most).min(self.bounds.streams),
                retires: conn.retires,
                idle_since: now,
            },
        };
        self.counts.opened += 1;
        if let Some(known) = self.hosts.get_mut(&host) {
            known.opening -= 1;
            known.speaks = Some(speaks);
            if speaks == Speaks::Http2 && conn.retires.is_none() {
                known.shared.push(id);
            }
        }
        self.serve(now);
        true
    }

    /// How many streams a server allows.
    pub(crate) fn allow(&mut self, id: ConnId, allowed: usize, now: Duration) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.allowed = Some(allowed);
        if let State::Shared { most, .. } = &mut conn.state {
            *most = allowed.min(self.bounds.streams);
            self.serve(now);
        }
    }

    /// A connection of HTTP/2 takes no more streams: its server said GOAWAY, or it failed.
    pub(crate) fn retire(&mut self, id: ConnId, by: ClosedBy, now: Duration) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let by = *conn.retires.get_or_insert(by);
        let State::Shared {
            streams, retires, ..
        } = &mut conn.state
        else {
            return;
        };
        *retires = Some(by);
        let is_idle = *streams == 0;
        let host = conn.host.clone();
        if let Some(known) = self.hosts.get_mut(&host) {
            known.shared.retain(|one| *one != id);
        }
        if is_idle {
            self.close(id, by, now);
        }
        self.serve(now);
    }

    /// A connection of HTTP/1.1 may close because of what its request did, and not its server.
    pub(crate) fn may_end(&mut self, id: ConnId, by: ClosedBy) {
        if let Some(conn) = self.conns.get_mut(&id)
            && let State::Lent { ends_by } = &mut conn.state
        {
            *ends_by = by;
        }
    }

    /// A server says for how long it keeps a connection that rests.
    pub(crate) fn keep_for(&mut self, id: ConnId, said: Duration) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.keeps = Some(said.saturating_sub(ON_THE_WAY).max(LEAST_KEPT));
        }
    }

    /// A request is done with its connection.
    pub(crate) fn give_back(&mut self, id: ConnId, fit: Fit, now: Duration) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let is_old = self.drained_at.is_some_and(|at| conn.opened_at < at);
        let host = conn.host.clone();
        match &mut conn.state {
            State::Lent { .. } => {
                if let Fit::Not(by) = fit {
                    self.close(id, by, now);
                } else if let Some(by) = self.must_close(is_old) {
                    self.close(id, by, now);
                } else {
                    self.hand_on(id, &host, now);
                }
            }
            State::Shared {
                streams,
                retires,
                idle_since,
                ..
            } => {
                *streams = streams.saturating_sub(1);
                *idle_since = now;
                let (is_idle, retires) = (*streams == 0, *retires);
                let by = self.must_close(is_old).or(retires);
                match by {
                    Some(by) if is_idle => self.close(id, by, now),
                    _ => self.serve(now),
                }
            }
            State::Opening => self.close(id, ClosedBy::Abandoned, now),
            State::Idle { .. } | State::Closing { .. } => {}
        }
    }

    /// A connection did not come about, or its socket is closed.
    pub(crate) fn closed(&mut self, id: ConnId, now: Duration) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let (host, state) = (conn.host.clone(), conn.state);
        self.detach(id);
        self.conns.remove(&id);
        self.closing.remove(&id);
        let by = match state {
            State::Opening => ClosedBy::Unopened,
            State::Closing { by, .. } | State::Lent { ends_by: by } => by,
            State::Shared { retires, .. } => retires.unwrap_or(ClosedBy::Peer),
            State::Idle { .. } => ClosedBy::Peer,
        };
        self.counts.closed(by);
        if let Some(known) = self.hosts.get_mut(&host) {
            known.open -= 1;
        }
        self.serve(now);
        self.forget(&host);
    }

    /// The service leaves.
    pub(crate) fn turn(&mut self, season: Season, now: Duration) {
        if season <= self.season {
            return;
        }
        self.season = season;
        self.refuse_spares();
        if season < Season::Draining {
            return;
        }
        self.drained_at.get_or_insert(now);
        let by = match season {
            Season::Over => ClosedBy::Stopped,
            _ => ClosedBy::Draining,
        };
        let idle = |(id, conn): (&ConnId, &Conn<H>)| conn.idle_since().map(|_| *id);
        let idle: Vec<_> = self.conns.iter().filter_map(idle).collect();
        for id in idle {
            self.close(id, by, now);
        }
        if season == Season::Over {
            for (id, host) in mem::take(&mut self.waiters) {
                self.counts.refused_over += 1;
                self.effects.push(Effect::Refuse(id));
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.waiting.clear();
                }
                self.forget(&host);
            }
        }
    }

    /// Whoever waits to open something in advance waits in vain.
    fn refuse_spares(&mut self) {
        let mut refused = Vec::new();
        for known in self.hosts.values_mut() {
            known.waiting.retain(|(id, wish)| {
                let is_spare = *wish == Wish::Spare;
                refused.extend(is_spare.then_some(*id));
                !is_spare
            });
        }
        for id in refused {
            self.counts.refused_over += 1;
            self.effects.push(Effect::Refuse(id));
            if let Some(host) = self.waiters.remove(&id) {
                self.forget(&host);
            }
        }
    }

    /// Everything that is still open ends, now.
    pub(crate) fn cut(&mut self, now: Duration) {
        let all: Vec<_> = self.conns.keys().copied().collect();
        for id in all {
            self.close(id, ClosedBy::Cut, now);
            self.cut_one(id);
        }
    }

    /// Ends what was idle, or took to close, for too long.
    pub(crate) fn tick(&mut self, now: Duration) {
        let limit = self.idle_limit();
        let idle =
            |(id, conn): (&ConnId, &Conn<H>)| (conn.idle_until(limit)? <= now).then_some(*id);
        let idle: Vec<_> = self.conns.iter().filter_map(idle).collect();
        for id in idle {
            self.close(id, ClosedBy::IdleExpired, now);
        }
        let slow = |id: &ConnId| matches!(self.cut_at(*id), Some(at) if at <= now);
        let slow: Vec<_> = self.closing.iter().copied().filter(slow).collect();
        for id in slow {
            self.cut_one(id);
        }
        for known in self.hosts.values_mut() {
            known.tells_until = known.tells_until.filter(|until| *until > now);
        }
        self.serve(now);
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let limit = self.idle_limit();
        let idle = self.conns.values();
        let idle = idle.filter_map(|conn| conn.idle_until(limit)).min();
        let slow = self.closing.iter().filter_map(|id| self.cut_at(*id)).min();
        let waited_for = self.hosts.values();
        let waited_for = waited_for.filter(|known| !known.waiting.is_empty());
        let told = waited_for.filter_map(|known| known.tells_until).min();
        idle.into_iter().chain(slow).chain(told).min()
    }

    fn idle_limit(&self) -> Duration {
        if self.season >= Season::Draining {
            self.bounds.idle.min(IDLE_IN_DRAIN)
        } else {
            self.bounds.idle
        }
    }

    fn cut_at(&self, id: ConnId) -> Option<Duration> {
        match self.conns.get(&id)?.state {
            State::Closing {
                since, cut: false, ..
            } => Some(since.saturating_add(CLOSE_WITHIN)),
            _ => None,
        }
    }

    fn cut_one(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id)
            && let State::Closing { cut, .. } = &mut conn.state
            && !mem::replace(cut, true)
        {
            self.effects.push(Effect::Cut(id));
        }
    }

    fn must_close(&self, is_old: bool) -> Option<ClosedBy> {
        match self.season {
            Season::Over => Some(ClosedBy::Stopped),
            Season::Draining if is_old => Some(ClosedBy::Draining),
            _ => None,
        }
    }

    fn close(&mut self, id: ConnId, by: ClosedBy, now: Duration) {
        self.detach(id);
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if !matches!(conn.state, State::Closing { .. }) {
            let by = match conn.state {
                State::Opening => ClosedBy::Unopened,
                _ => by,
            };
            conn.state = State::Closing {
                since: now,
                by,
                cut: false,
            };
            self.closing.insert(id);
            self.effects.push(Effect::Close(id));
        }
    }

    /// Takes it from wherever it could be found by a request.
    fn detach(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        let Some(known) = self.hosts.get_mut(&conn.host) else {
            return;
        };
        match conn.state {
            State::Opening => known.opening -= 1,
            State::Idle { .. } => known.idle.retain(|one| *one != id),
            State::Shared { .. } => known.shared.retain(|one| *one != id),
            State::Lent { .. } | State::Closing { .. } => {}
        }
    }

    /// A host without connections and waiters leaves nothing behind, so that there are never more hosts than both.
    fn forget(&mut self, host: &H) {
        if let Some(known) = self.hosts.get(host)
            && known.open == 0
            && known.waiting.is_empty()
        {
            self.hosts.remove(host);
        }
    }

    const fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

#[cfg(test)]
mod tests;
