//! The end of parked connections whose clients have everything: FIN, then a look now and then until it has arrived.
//!
//! Owns "done" (DESIGN §2) for many at a time and without a task each; what one connection's end asks for beside it is [`crate::server::linger`]'s
//! business. FIN counts: a process may be the last one of its network namespace, whose kernel repeats nothing after it.

use std::net::Shutdown;
use std::os::fd::AsFd;

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

/// Connections that have said FIN.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// Each counts until its FIN has arrived.
    parted: Vec<Parked>,
}

impl Leaving {
    /// Says FIN, behind nothing else.
    pub(crate) fn part(&mut self, parked: Parked) {
        // Fails only on a connection that is gone.
        if SockRef::from(&parked.socket)
            .shutdown(Shutdown::Write)
            .is_ok()
        {
            self.parted.push(parked);
        }
    }

    /// Waits until every FIN is acknowledged, or the linger limit or the drain's end comes first.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets at once.
    pub(crate) async fn settle(mut self, shared: &Shared) {
        let limit = shared.before_deadline(shared.limits.linger, shared.life.elapsed());
        let until = Instant::now() + limit;
        let mut wait = FIRST_WAIT;
        loop {
            self.let_go(shared).await;
            let left = self.parted.len();
            if left == 0 {
                return;
            }
            let now = Instant::now();
            if now >= until {
                return shared.tally_many(Count::LingerExpired, left);
            }
            // Acknowledgements wake nobody.
            tokio::select! {
                () = shared.drain.ending() => return shared.tally_many(Count::Ended, left),
                () = sleep(wait.min(until - now)) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Lets go of those who know that it is over.
    async fn let_go(&mut self, shared: &Shared) {
        let mut at = 0;
        for looks in 1.. {
            let Some(parked) = self.parted.get(at) else {
                return;
            };
            match look(&parked.socket) {
                Look::Again => at += 1,
                Look::Done { late } => {
                    // Under TLS a client that understood answers with bytes, too.
                    if late && parked.held.is_none() {
                        shared.tally(Count::LateBytes);
                    }
                    self.parted.swap_remove(at);
                }
            }
            if looks % AT_ONE_GO == 0 {
                yield_now().await;
            }
        }
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
