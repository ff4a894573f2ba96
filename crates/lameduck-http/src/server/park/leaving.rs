//! The end of connections that are idle and whose clients have everything: FIN, then a look now and then until it has arrived.
//!
//! Owns "done" (DESIGN §2) for many at a time and without a task each; what one connection's end asks for beside it is [`crate::server::linger`]'s
//! business. FIN counts: a process may be the last one of its network namespace, whose kernel repeats nothing after it.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lameduck::Count;
use socket2::SockRef;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::still::{Parked, Socket};
use crate::server::Shared;
use crate::server::linger::{FIRST_WAIT, LONGEST_WAIT};
use crate::server::sock::{self, Pending};

/// Sockets that are looked at, and closed, between two turns of the other tasks.
const AT_ONE_GO: usize = 16;

/// Reads of 4 KiB at one look, from a client that did not know of the end yet.
const READS: usize = 16;

/// Looked at in vain one after the other before the rest waits for the next look: they said FIN in this order, and most clients answer in it.
const IN_VAIN: usize = 64;

/// Connections that have said FIN.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// Each counts until its FIN has arrived, or its time is over.
    parted: VecDeque<(Parked, Instant)>,
}

impl Leaving {
    /// Says FIN, behind nothing else.
    pub(crate) fn part(&mut self, parked: Parked, shared: &Shared) {
        // Fails only on a connection that is gone.
        if SockRef::from(&parked.socket)
            .shutdown(Shutdown::Write)
            .is_ok()
        {
            let limit = shared.before_deadline(shared.limits.linger, shared.life.elapsed());
            self.parted.push_back((parked, Instant::now() + limit));
        }
    }

    /// Waits until every FIN is acknowledged, or the linger limit or the drain's end comes first. `join` adds those who have come since.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets when this is dropped.
    pub(crate) async fn settle(&mut self, shared: &Shared, mut join: impl FnMut(&mut Self)) {
        let mut wait = FIRST_WAIT;
        loop {
            let before = self.parted.len();
            join(self);
            if self.parted.is_empty() {
                return;
            }
            if self.parted.len() > before {
                wait = FIRST_WAIT;
            }
            // Who answers out of turn is found by the last of the growing pauses.
            let is_thorough = wait == LONGEST_WAIT;
            self.let_go(shared, is_thorough).await;
            if self.parted.is_empty() {
                continue;
            }
            // Acknowledgements wake nobody.
            tokio::select! {
                () = shared.drain.ending() => {
                    shared.tally_many(Count::Ended, self.parted.len());
                    self.parted.clear();
                }
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Lets go of those who know that it is over, and of those whose time is over.
    async fn let_go(&mut self, shared: &Shared, is_thorough: bool) {
        let (mut kept, mut in_vain) = (Vec::new(), 0);
        for looks in 1.. {
            let Some((parked, until)) = self.parted.pop_front() else {
                break;
            };
            if is_done(&parked.socket) {
                in_vain = 0;
            } else if Instant::now() >= until {
                shared.tally(Count::LingerExpired);
            } else {
                kept.push((parked, until));
                in_vain += 1;
                if in_vain == IN_VAIN && !is_thorough {
                    break;
                }
            }
            if looks % AT_ONE_GO == 0 {
                yield_now().await;
            }
        }
        for one in kept.into_iter().rev() {
            self.parted.push_front(one);
        }
    }
}

/// Those whose tasks have ended, and who have said FIN: one task waits for all of them.
#[derive(Debug, Default)]
pub(crate) struct Parting {
    inner: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    leaving: Leaving,
    /// Somebody waits for them.
    is_settling: bool,
}

impl Parting {
    /// Says FIN. True if nobody waits for it to arrive yet: then [`settle`](Self::settle) is to be called.
    #[must_use]
    pub(crate) fn part(&self, parked: Parked, shared: &Shared) -> bool {
        let mut waiting = self.lock();
        waiting.leaving.part(parked, shared);
        !std::mem::replace(&mut waiting.is_settling, true)
    }

    /// Waits until nobody is left; whoever comes after that is told to call this again.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets of those for whom it waits; who comes later stays until this is dropped too.
    pub(crate) async fn settle(&self, shared: &Shared) {
        let mut leaving = Leaving::default();
        let join = |leaving: &mut Leaving| {
            let mut waiting = self.lock();
            leaving.parted.append(&mut waiting.leaving.parted);
            waiting.is_settling = !leaving.parted.is_empty();
        };
        leaving.settle(shared, join).await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether its FIN has arrived, and nothing is unread that would make the close a reset.
fn is_done(socket: &Socket) -> bool {
    if sock::unacknowledged(socket.as_fd()).is_some_and(|left| left > 0) {
        return false;
    }
    for _ in 0..READS {
        // A request that crossed the FIN, say: it is lost as it is to any server, but its client reads FIN.
        if sock::look(socket.as_fd()) != Pending::Data || socket.discard().is_err() {
            return true;
        }
    }
    false
}
