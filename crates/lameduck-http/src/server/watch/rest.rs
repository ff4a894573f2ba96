//! What a connection's notes say about rest, and what is left of them while it is parked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lameduck::inflight::Slot;

use super::{Situation, Watch};
use crate::peer::Introduced;
use crate::server::Shared;

/// What is remembered of a parked connection.
#[derive(Debug)]
pub(crate) struct Facts {
    slot: Slot,
    peer: Option<SocketAddr>,
    spread: u64,
    born: Duration,
    /// Since when it has been idle.
    pub(crate) since: Duration,
    read: u64,
    wire_read: u64,
    served: u32,
    steered: bool,
    close_delimited: bool,
    introduced: Option<Introduced>,
}

impl Facts {
    /// What it waits for.
    pub(crate) const fn situation(&self) -> Situation {
        match self.read {
            0 => Situation::Silent,
            _ => Situation::Idle,
        }
    }
}

impl Watch {
    /// Of a connection that was parked.
    pub(crate) fn again(shared: Arc<Shared>, facts: Facts) -> Self {
        let mut watch = Self::with(shared, facts.slot, facts.peer, facts.spread, facts.born);
        watch.parked_since = Some(facts.since);
        watch.read = AtomicU64::new(facts.read);
        watch.wire_read = AtomicU64::new(facts.wire_read);
        watch.served = AtomicU32::new(facts.served);
        watch.steered = AtomicBool::new(facts.steered);
        watch.close_delimited = AtomicBool::new(facts.close_delimited);
        watch.introduced = facts.introduced.map_or_else(OnceLock::new, OnceLock::from);
        watch
    }

    /// What is remembered of a connection at rest, which has been idle since `since`.
    pub(crate) fn into_facts(self, since: Duration) -> Facts {
        Facts {
            slot: self.slot,
            peer: self.peer,
            spread: self.spread,
            born: self.born,
            since,
            read: self.read.into_inner(),
            wire_read: self.wire_read.into_inner(),
            served: self.served.into_inner(),
            steered: self.steered.into_inner(),
            close_delimited: self.close_delimited.into_inner(),
            introduced: self.introduced.into_inner(),
        }
    }

    /// hyper asks for more.
    pub(crate) fn note_reading(&self) {
        self.awaiting.store(false, Relaxed);
    }

    pub(crate) fn note_nothing_to_read(&self) {
        self.awaiting.store(true, Relaxed);
    }

    /// hyper has something to write.
    pub(crate) fn note_writing(&self) {
        self.flushed.store(false, Relaxed);
    }

    pub(crate) fn note_flushed(&self) {
        self.flushed.store(true, Relaxed);
    }

    /// Whether nothing is under way in either direction, not even in hyper's hands: only the client can go on. hyper was polled just before.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.situation(), Situation::Silent | Situation::Idle)
            && self.awaiting.load(Relaxed)
            && self.flushed.load(Relaxed)
            && !self.abandoned.load(Relaxed)
            && !self.ended_by_peer.load(Relaxed)
    }

    /// Since when the connection had been idle when it was taken up, if it was parked before.
    pub(crate) const fn parked_since(&self) -> Option<Duration> {
        self.parked_since
    }

    /// Whether anything of HTTP ever came from the client.
    pub(crate) fn has_spoken(&self) -> bool {
        self.read.load(Relaxed) > 0
    }
}
