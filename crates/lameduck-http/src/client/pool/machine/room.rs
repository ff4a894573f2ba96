//! Who is served next, and what makes room for them.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use super::{
    ClosedBy, Conn, ConnId, Effect, Grant, Host, LENT, Machine, Speaks, State, TELLS_WITHIN,
    WaiterId, Wish,
};

impl<H: Clone + Eq + Hash> Machine<H> {
    /// A connection of HTTP/1.1 that came back goes to whoever waits for it, or rests.
    pub(super) fn hand_on(&mut self, id: ConnId, host: &H, now: Duration) {
        let next = self.hosts.get(host);
        let next = next.and_then(|known| known.waiting.front().copied());
        // Those of other hosts who came before, and have only this to hope for.
        if self.is_wanted_elsewhere(host, next.map(|(waiter, _)| waiter)) {
            self.close(id, ClosedBy::Evicted, now);
            return;
        }
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let Some(known) = self.hosts.get_mut(host) else {
            return;
        };
        if let Some((waiter, _)) = next {
            // It answered a moment ago, which is as good as fresh.
            conn.state = LENT;
            conn.requests += 1;
            known.waiting.pop_front();
            self.waiters.remove(&waiter);
            self.effects.push(Effect::Grant(waiter, Grant::Use(id)));
        } else {
            conn.state = State::Idle { since: now };
            known.idle.push_back(id);
        }
        self.make_room(now);
    }

    /// Whether somebody of another host, older than `than`, waits for the total to fall, and no connection closes for them already.
    fn is_wanted_elsewhere(&self, host: &H, than: Option<WaiterId>) -> bool {
        if self.conns.len() < self.bounds.connections {
            return false;
        }
        let older = self
            .waiters
            .iter()
            .take_while(|(waiter, _)| than.is_none_or(|than| **waiter < than));
        let held_up = older.filter(|(_, other)| *other != host && self.is_below_its_bound(other));
        held_up.count() > self.closing.len()
    }

    pub(super) fn is_below_its_bound(&self, host: &H) -> bool {
        let open = self.hosts.get(host).map_or(0, |known| known.open);
        open < self.bounds.per_host
    }

    /// Closes idle connections that are in the way of those who wait, if none closes for them already.
    pub(super) fn make_room(&mut self, now: Duration) {
        if self.waiters.is_empty() {
            return;
        }
        let in_the_way = |(host, known): (&H, &Host)| {
            let (_, wish) = known.waiting.front()?;
            let own = known.idle.front().filter(|_| *wish == Wish::Fresh)?;
            let closes = |id: &ConnId| self.conns.get(id).is_some_and(|one| one.host == *host);
            (!self.closing.iter().any(closes)).then_some(*own)
        };
        let own: Vec<_> = self.hosts.iter().filter_map(in_the_way).collect();
        for id in own {
            self.close(id, ClosedBy::Evicted, now);
        }
        if self.conns.len() < self.bounds.connections {
            return;
        }
        let held_up = self.waiters.values();
        let held_up = held_up.filter(|host| self.is_below_its_bound(host)).count();
        for _ in self.closing.len()..held_up {
            let idle = |(id, conn): (&ConnId, &Conn<H>)| Some((conn.idle_since()?, *id));
            let Some((_, oldest)) = self.conns.iter().filter_map(idle).min() else {
                self.retire_for_others(now);
                return;
            };
            self.close(oldest, ClosedBy::Evicted, now);
        }
    }

    /// Where all that is open is shared, and nothing comes back of itself while requests keep coming, the oldest takes no more of them, so
    /// that the oldest of those who wait gets its place.
    fn retire_for_others(&mut self, now: Duration) {
        let mut waiting = self.waiters.values();
        let Some(host) = waiting.find(|host| self.is_below_its_bound(host)) else {
            return;
        };
        if !self.conns.values().all(Conn::is_shared) {
            return;
        }
        let others = self.conns.iter().filter(|(_, conn)| conn.host != *host);
        let oldest = others.map(|(id, conn)| (conn.opened_at, *id)).min();
        if let Some((_, oldest)) = oldest {
            self.retire(oldest, ClosedBy::Evicted, now);
        }
    }

    /// Whoever can be served now is, the oldest first.
    pub(super) fn serve(&mut self, now: Duration) {
        let mut held_up = HashSet::new();
        let waiting: Vec<_> = self
            .waiters
            .iter()
            .map(|(id, host)| (*id, host.clone()))
            .collect();
        for (waiter, host) in waiting {
            if held_up.contains(&host) {
                continue;
            }
            let wish = self
                .hosts
                .get(&host)
                .and_then(|known| known.waiting.front());
            let Some((_, wish)) = wish.copied() else {
                continue;
            };
            if let Some(grant) = self.try_serve(&host, wish, now) {
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.waiting.pop_front();
                }
                self.waiters.remove(&waiter);
                self.effects.push(Effect::Grant(waiter, grant));
            } else {
                held_up.insert(host);
            }
        }
        self.make_room(now);
    }

    pub(super) fn try_serve(&mut self, host: &H, wish: Wish, now: Duration) -> Option<Grant> {
        let known = self.hosts.get_mut(host)?;
        for id in &known.shared {
            let conn = self.conns.get_mut(id)?;
            if let State::Shared { streams, most, .. } = &mut conn.state
                && *streams < *most
            {
                *streams += 1;
                conn.requests += 1;
                return Some(Grant::Use(*id));
            }
        }
        if wish != Wish::Fresh
            && let Some(id) = known.idle.pop_back()
        {
            // The last one that was used: the others get old enough to be closed.
            let conn = self.conns.get_mut(&id)?;
            conn.state = LENT;
            conn.requests += 1;
            return Some(Grant::Use(id));
        }
        // The first tells what the host speaks, and how much of it at a time: another may not be needed.
        let unheard = |id: &ConnId| self.conns.get(id).is_some_and(|one| one.allowed.is_none());
        let waits_for_first = known.opening > 0 && known.speaks != Some(Speaks::Http1)
            || known.shared.iter().any(unheard);
        let waits_for_first = waits_for_first && known.tells_until.is_some_and(|until| now < until);
        if known.open >= self.bounds.per_host
            || self.conns.len() >= self.bounds.connections
            || waits_for_first
        {
            return None;
        }
        known.open += 1;
        known.opening += 1;
        known.tells_until = Some(now.saturating_add(TELLS_WITHIN));
        let id = ConnId(self.next_id());
        let conn = Conn {
            host: host.clone(),
            opened_at: now,
            requests: 1,
            state: State::Opening,
            allowed: None,
            retires: None,
            keeps: None,
        };
        self.conns.insert(id, conn);
        Some(Grant::Open(id))
    }
}
