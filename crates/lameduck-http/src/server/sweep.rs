//! Closing a TCP listener without resetting anybody who is already on the way in.
//!
//! Closing a listening socket resets what stands in its accept queue and every handshake whose last ACK is still under way. So: new SYNs are
//! dropped by a filter (the client's kernel repeats them after a second and meets a successor or a refusal), handshakes under way get a few
//! round trips to complete, what completed is accepted, and only then the socket is closed. For listeners of this process alone: the
//! filter sits on the socket, which a successor or systemd may share.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use lameduck::SynGate;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::errors::{Trouble, trouble};
use super::sock;

const LEAST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// Bound of everything that can prolong a sweep: accepting until quiet, and waiting for free descriptors.
const LONGEST_SWEEP: Duration = Duration::from_secs(1);

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
    let gate = shut_gate(listener.as_fd(), gate);
    let mut connections = 0_u32;
    let mut until = began + patience;
    while let Ok(accepted) = timeout_at(until, listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                connections += 1;
                admit(stream, peer);
                if gate != SynGate::Attached {
                    // Without the gate only quiet tells that nobody is on the way.
                    until = (Instant::now() + patience).min(began + LONGEST_SWEEP);
                }
            }
            Err(error) => recover(&error).await,
        }
    }
    connections += empty(listener, began + LONGEST_SWEEP, &mut admit).await;
    Swept { gate, connections }
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

/// Accepts until the kernel itself says that the queue is empty (the runtime answers from cached readiness), then closes.
async fn empty(
    listener: TcpListener,
    until: Instant,
    admit: &mut impl FnMut(TcpStream, SocketAddr),
) -> u32 {
    let Ok(listener) = listener.into_std() else {
        return 0;
    };
    let mut connections = 0;
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                if let Ok(stream) = adopt(stream) {
                    connections += 1;
                    admit(stream, peer);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return connections,
            Err(_) if Instant::now() >= until => return connections,
            Err(error) => recover(&error).await,
        }
    }
}

fn adopt(stream: net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
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
}
