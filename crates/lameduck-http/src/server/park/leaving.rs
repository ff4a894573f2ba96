//! The end of connections that are idle and whose clients have everything: FIN, then a look now and then until it has arrived.
//!
//! Owns "done" (DESIGN §2) for many at a time and without a task each; what one connection's end asks for beside it is [`crate::server::linger`]'s
//! business. FIN counts: a process may be the last one of its network namespace, whose kernel repeats nothing after it. A client on this host
//! has FIN as soon as it is said, and keeps the namespace itself.

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
        if let Some(parked) = say_fin(parked, shared) {
            self.wait_for(parked, shared);
        }
    }

    fn wait_for(&mut self, parked: Parked, shared: &Shared) {
        let limit = shared.before_deadline(shared.limits.linger, shared.life.elapsed());
        self.parted.push_back((parked, Instant::now() + limit));
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
            match look(&parked.socket) {
                Look::Done { late } => {
                    note_late(&parked, late, shared);
                    in_vain = 0;
                }
                Look::Again if Instant::now() >= until => shared.tally(Count::LingerExpired),
                Look::Again => {
                    kept.push((parked, until));
                    in_vain += 1;
                    if in_vain == IN_VAIN && !is_thorough {
                        break;
                    }
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
        let Some(parked) = say_fin(parked, shared) else {
            return false;
        };
        let mut waiting = self.lock();
        waiting.leaving.wait_for(parked, shared);
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

/// Says FIN; gives the connection back if that has to arrive yet.
fn say_fin(parked: Parked, shared: &Shared) -> Option<Parked> {
    let is_last = sock::unacknowledged(parked.socket.as_fd()) == Some(0);
    // Fails only on a connection that is gone.
    SockRef::from(&parked.socket)
        .shutdown(Shutdown::Write)
        .ok()?;
    if !is_last || !parked.socket.is_local() {
        return Some(parked);
    }
    match read_rest(&parked.socket) {
        Look::Again => Some(parked),
        Look::Done { late } => {
            note_late(&parked, late, shared);
            None
        }
    }
}

fn note_late(parked: &Parked, late: bool, shared: &Shared) {
    // Under TLS a client that understood answers with bytes, too.
    if late && parked.held.is_none() {
        shared.tally(Count::LateBytes);
    }
}

/// What a look at a socket said.
enum Look {
    Again,
    /// Its FIN has arrived, and nothing is unread that would make the close a reset. `late`: the client had said something.
    Done {
        late: bool,
    },
}

fn look(socket: &Socket) -> Look {
    if sock::unacknowledged(socket.as_fd()).is_some_and(|left| left > 0) {
        return Look::Again;
    }
    read_rest(socket)
}

fn read_rest(socket: &Socket) -> Look {
    for read in 0..READS {
        // A request that crossed the FIN, say: it is lost as it is to any server, but its client reads FIN.
        if sock::look(socket.as_fd()) != Pending::Data || socket.discard().is_err() {
            return Look::Done { late: read > 0 };
        }
    }
    Look::Again
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_request_that_crosses_our_end_is_seen_before_the_socket_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let local = listener.local_addr().expect("bound");
        for crosses in [false, true] {
            let mut client = TcpStream::connect(local).expect("connected");
            let (ours, _) = listener.accept().expect("accepted");
            ours.shutdown(Shutdown::Write).expect("FIN");
            if crosses {
                client.write_all(b"GET / HTTP/1.1\r\n").expect("room");
                // It is here when this is.
                ours.peek(&mut [0]).expect("a byte");
            }
            ours.set_nonblocking(true).expect("a socket");
            let ours = Socket::Tcp(ours);
            assert!(ours.is_local());
            let found = loop {
                // Again: the FIN is not acknowledged yet.
                if let Look::Done { late } = look(&ours) {
                    break late;
                }
                std::thread::yield_now();
            };
            assert_eq!(found, crosses);
        }
    }
}
