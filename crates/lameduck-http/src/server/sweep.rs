//! Closing a listener without resetting anybody who is already on the way in.
//!
//! Owns how a queue of connections is emptied and when it counts as empty; what becomes of a connection is its caller's business.
//!
//! Closing a listening socket resets what stands in its accept queue and every handshake whose last ACK is still under way. So: new SYNs are
//! dropped by a filter (the client's kernel repeats them after a second and meets a successor or a refusal), handshakes under way get a few
//! round trips to complete, what completed is accepted, and only then the socket is closed. For listeners of this process alone: the
//! filter sits on the socket, which a successor or systemd may share. A Unix socket has no handshake: without its file nobody new finds it.

use std::future::pending;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net as unix;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use lameduck::SynGate;
use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use super::errors::{Trouble, trouble};
use super::listen::BACKLOG;
use super::sock;

const LEAST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// Bound of everything that can prolong a sweep: accepting until quiet, and waiting for free descriptors.
const LONGEST_SWEEP: Duration = Duration::from_secs(1);
/// Connections taken between two turns of the other tasks.
const AT_ONE_GO: u32 = 64;

/// Whether the SYN gate is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Try,
    Off,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) gate: SynGate,
    pub(crate) connections: u32,
    /// Errors of accept(2), and connections that could not be handed to the runtime.
    pub(crate) errors: u32,
}

impl Swept {
    /// Nothing, without a gate.
    pub(crate) const NOTHING: Self = Self::through(SynGate::Off);

    const fn through(gate: SynGate) -> Self {
        Self {
            gate,
            connections: 0,
            errors: 0,
        }
    }
}

/// How long handshakes under way are waited for: four of the largest recent round trips, between 2 ms and 200 ms.
pub(crate) fn patience(largest_round_trip: Duration) -> Duration {
    (largest_round_trip * 4).clamp(LEAST_WAIT, LONGEST_WAIT)
}

/// Accepts what is on the way in, then closes the listener.
pub(crate) async fn sweep(
    listener: TcpListener,
    gate: Gate,
    patience: Duration,
    mut admit: impl FnMut(TcpStream, SocketAddr),
) -> Swept {
    let began = Instant::now();
    let mut swept = Swept::through(shut_gate(listener.as_fd(), gate));
    let mut until = began + patience;
    // The runtime's timers round up to the next millisecond and one more: half of what is waited here.
    let mut exact = pin!(exactly(patience));
    let mut is_over = false;
    // The time is looked at here too: a listener that always has an answer never lets the timeout have its say.
    while Instant::now() < until {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = exact.as_mut(), if !is_over => {
                is_over = true;
                continue;
            }
            () = sleep_until(until) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                swept.connections += 1;
                admit(stream, peer);
                if swept.gate != SynGate::Attached {
                    // Without the gate only quiet tells that nobody is on the way.
                    until = (Instant::now() + patience).min(began + LONGEST_SWEEP);
                }
            }
            Err(error) => {
                swept.errors += 1;
                recover(&error).await;
            }
        }
    }
    let accept = || {
        let (socket, addr) = SockRef::from(&listener).accept()?;
        let peer = addr.as_socket().ok_or(io::ErrorKind::NotConnected)?;
        Ok((socket, peer))
    };
    let adopt = |(socket, peer): (Socket, SocketAddr)| {
        socket.set_nonblocking(true)?;
        admit(TcpStream::from_std(net::TcpStream::from(socket))?, peer);
        Ok(())
    };
    empty(&mut swept, began + LONGEST_SWEEP, accept, adopt).await;
    swept
}

/// Accepts what found a Unix socket before its file was removed, then closes the listener.
pub(crate) async fn sweep_unix(listener: UnixListener, mut admit: impl FnMut(UnixStream)) -> Swept {
    let mut swept = Swept::NOTHING;
    let until = Instant::now() + LONGEST_SWEEP;
    let accept = || SockRef::from(&listener).accept();
    let mut adopt = |(socket, _): (Socket, _)| {
        socket.set_nonblocking(true)?;
        admit(UnixStream::from_std(unix::UnixStream::from(socket))?);
        Ok(())
    };
    empty(&mut swept, until, accept, &mut adopt).await;
    // connect(2) looks the path up first and queues after: who was between the two needs a moment.
    sleep(LEAST_WAIT).await;
    empty(&mut swept, until, accept, &mut adopt).await;
    swept
}

/// Waits as exactly as the kernel can; for ever where no thread is to be had for that.
async fn exactly(pause: Duration) {
    if spawn_blocking(move || thread::sleep(pause)).await.is_err() {
        pending::<()>().await;
    }
}

fn shut_gate(listener: BorrowedFd<'_>, gate: Gate) -> SynGate {
    match gate {
        Gate::Off => SynGate::Off,
        Gate::Try => match sock::attach_syn_gate(listener) {
            Ok(()) => SynGate::Attached,
            Err(error) => SynGate::Refused {
                errno: error.raw_os_error().unwrap_or(0),
            },
        },
    }
}

/// Accepts until the kernel itself says that the queue is empty (the runtime answers from cached readiness).
///
/// Errors are waited out until `until`. Past it at most one more queue of connections is taken: a process that slept
/// through its time still serves who waited, and clients that connect without end keep nobody.
async fn empty<T>(
    swept: &mut Swept,
    until: Instant,
    mut accept: impl FnMut() -> io::Result<T>,
    mut adopt: impl FnMut(T) -> io::Result<()>,
) {
    let (mut taken, mut late) = (0_u32, 0_u32);
    // The kernel lets one more in than the backlog says.
    while late <= BACKLOG.unsigned_abs() {
        let overdue = Instant::now() >= until;
        late += u32::from(overdue);
        match accept() {
            Ok(connection) => match adopt(connection) {
                Ok(()) => swept.connections += 1,
                Err(_) => swept.errors += 1,
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                swept.errors += 1;
                if overdue {
                    return;
                }
                recover(&error).await;
            }
        }
        taken += 1;
        if taken.is_multiple_of(AT_ONE_GO) {
            tokio::task::yield_now().await;
        }
    }
}

async fn recover(error: &io::Error) {
    if trouble(error) == Trouble::Resources {
        sleep(Duration::from_millis(5)).await;
    } else {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_the_round_trip() {
        assert_eq!(patience(Duration::ZERO), Duration::from_millis(2));
        assert_eq!(
            patience(Duration::from_millis(30)),
            Duration::from_millis(120)
        );
        assert_eq!(patience(Duration::from_secs(3)), Duration::from_millis(200));
    }

    fn failure<T>(number: i32) -> io::Result<T> {
        Err(io::Error::from_raw_os_error(number))
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_empty_queue_ends_the_emptying() {
        let mut answers = [
            Ok(1),
            failure(libc::EMFILE),
            failure(libc::ECONNABORTED),
            Ok(2),
            failure(libc::EAGAIN),
            Ok(3),
        ]
        .into_iter();
        let mut swept = Swept::NOTHING;
        let mut taken = Vec::new();
        let until = Instant::now() + LONGEST_SWEEP;
        let accept = || answers.next().expect("not asked beyond the end");
        let adopt = |one| {
            taken.push(one);
            Ok(())
        };
        empty(&mut swept, until, accept, adopt).await;
        assert_eq!(taken, [1, 2]);
        assert_eq!((swept.connections, swept.errors), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn lasting_scarcity_ends_with_the_time() {
        let mut swept = Swept::NOTHING;
        let until = Instant::now() + LONGEST_SWEEP;
        empty(&mut swept, until, || failure(libc::EMFILE), |()| Ok(())).await;
        assert!(Instant::now() >= until);
        assert_eq!(swept.connections, 0);
        assert!((2..=201).contains(&swept.errors), "{swept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_never_empties_is_left_after_the_time_and_one_backlog() {
        let mut swept = Swept::NOTHING;
        let until = Instant::now();
        empty(&mut swept, until, || Ok(()), Ok).await;
        assert_eq!(swept.connections, BACKLOG.unsigned_abs() + 1);
    }

    #[tokio::test]
    async fn the_others_have_their_turn_while_a_queue_is_emptied() {
        let (sender, mut heard) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { sender.send(()) });
        let mut turn = false;
        let mut left = 4 * AT_ONE_GO;
        let accept = || {
            turn |= heard.try_recv().is_ok();
            left -= 1;
            if left == 0 {
                failure(libc::EAGAIN)
            } else {
                Ok(())
            }
        };
        let until = Instant::now() + LONGEST_SWEEP;
        empty(&mut { Swept::NOTHING }, until, accept, Ok).await;
        assert!(turn, "the other task ran before the queue was empty");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_cannot_be_adopted_is_counted() {
        let mut answers = [Ok(()), failure(libc::EAGAIN)].into_iter();
        let mut swept = Swept::NOTHING;
        let accept = || answers.next().expect("not asked beyond the end");
        empty(&mut swept, Instant::now(), accept, |()| {
            failure(libc::ENOMEM)
        })
        .await;
        assert_eq!((swept.connections, swept.errors), (0, 1));
    }
}
