//! The accept loop of one listener, from Running to its close.
//!
//! Owns when connections are accepted, how many, and which errors are survived how. What a connection does is [`super::conn`]'s business,
//! how a listener closes [`super::sweep`]'s.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lameduck::{Count, ListenerKind, ListenerReport, Participant};
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::errors::{Trouble, trouble};
use super::exchange::App;
use super::host::{Host, Stay};
use super::listen::{LocalAddr, SocketFile};
use super::park::Aside;
use super::secure::Plain;
use super::sweep::{self, Gate, Swept};
use super::watch::Watch;
use super::{Shared, conn, sock};

/// Whose the listening socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// This process alone: it is swept.
    Exclusive(Gate),
    /// Others hold it too: it is only let go.
    Shared,
}

/// One listener and what it serves.
pub(crate) struct Acceptor<A> {
    pub(crate) shared: Arc<Shared>,
    /// Where its connections live.
    pub(crate) host: Arc<Host<A>>,
    pub(crate) participant: Participant,
    pub(crate) local: LocalAddr,
    pub(crate) file: Option<SocketFile>,
    pub(crate) ownership: Ownership,
    /// Brings the socket once it listens; its sender is dropped if that never happens.
    pub(crate) opened: oneshot::Receiver<Socket>,
}

impl<A: App> Acceptor<A> {
    /// Accepts from Running to the end of the window, then closes, then waits for its connections.
    pub(crate) async fn run(self) {
        let shared = self.shared.clone();
        let mut conduct = pin!(
            shared
                .drain
                .conduct(self.participant.closing(), &shared.life)
        );
        let mut run = pin!(self.accept_and_wait());
        tokio::select! {
            () = &mut run => return,
            () = &mut conduct => {}
        }
        run.await;
    }

    async fn accept_and_wait(mut self) {
        let Some(socket) = self.opened().await else {
            self.unlink();
            let closed = self.report(Swept::NOTHING, Duration::ZERO);
            self.participant.admission_closed(closed);
            return self.wait().await;
        };
        match self.listener(socket) {
            Ok(listener) => {
                let recent = self.accept_until_closing(&listener).await;
                let left = sweep::apart(move || self.leave(listener, recent.largest()));
                // None if it panicked, which its participant has said.
                if let Some(acceptor) = left.await {
                    acceptor.wait().await;
                }
            }
            Err(error) => {
                self.unlink();
                self.participant.failed(format!("{}: {error}", self.local));
            }
        }
    }

    /// Waits for the connections.
    async fn wait(self) {
        self.shared.crowd.fewer_than(1).await;
        self.participant.done();
    }

    async fn opened(&mut self) -> Option<Socket> {
        let closing = self.shared.drain.closing().first();
        tokio::select! {
            biased;
            opened = &mut self.opened => opened.ok(),
            () = closing => {
                self.opened.close();
                self.opened.try_recv().ok()
            }
        }
    }

    fn listener(&self, socket: Socket) -> io::Result<Listener> {
        match self.local {
            LocalAddr::Tcp(_) => {
                // Fails only where the kernel has no such limit: then its own holds.
                let _ = sock::limit_unsent(socket.as_fd(), self.shared.limits.unsent_bytes);
                TcpListener::from_std(socket.into()).map(Listener::Tcp)
            }
            LocalAddr::Unix(_) => UnixListener::from_std(socket.into()).map(Listener::Unix),
        }
    }

    /// Takes the way to a Unix socket away, unless others listen on it too.
    fn unlink(&mut self) {
        if let (Some(file), Ownership::Exclusive(_)) = (self.file.take(), self.ownership) {
            file.remove();
        }
    }

    /// Closes the listener, and says so. Blocks the thread for as long as that takes.
    fn leave(mut self, listener: Listener, round_trip: Duration) -> Self {
        let window_end = self.shared.life.elapsed();
        let swept = match (listener, self.ownership) {
            (Listener::Tcp(listener), Ownership::Exclusive(gate)) => {
                listener.into_std().map(|listener| {
                    let patience = sweep::patience(round_trip);
                    sweep::sweep(&listener, gate, patience, |stream, peer| {
                        self.admit_tcp(stream, peer, &mut RoundTrips::default());
                    })
                })
            }
            (Listener::Unix(listener), Ownership::Exclusive(_)) => {
                // Before the queue is emptied: who connects between the last look and the close would be reset.
                self.unlink();
                listener.into_std().map(|listener| {
                    sweep::sweep_unix(&listener, |stream| self.admit(stream, None))
                })
            }
            (_, Ownership::Shared) => Ok(Swept::NOTHING),
        };
        // The kernel forgets what the runtime registered, or there was nothing to forget: the socket is closed all the same.
        let swept = swept.unwrap_or(Swept::FAILED);
        let tally = &self.shared.life.inflight().tally;
        tally.add(Count::Swept, u64::from(swept.connections));
        tally.add(Count::AcceptError, u64::from(swept.errors));
        self.unlink();
        let took = self.shared.life.elapsed().saturating_sub(window_end);
        self.participant.admission_closed(self.report(swept, took));
        self
    }

    async fn accept_until_closing(&mut self, listener: &Listener) -> RoundTrips {
        let mut recent = RoundTrips::default();
        // Not behind the connections that hear of it too.
        let mut closing = pin!(self.shared.drain.closing().first());
        let mut backoff = Backoff::default();
        // None at all would be a service that never answers and never says why.
        let limit = self.shared.limits.connections.max(1);
        loop {
            if !self.shared.crowd.is_below(limit) {
                self.shared.tally(Count::OverLimit);
                tokio::select! {
                    biased;
                    () = closing.as_mut() => return recent,
                    () = self.shared.crowd.fewer_than(limit) => {}
                }
            }
            let accepted = tokio::select! {
                biased;
                () = closing.as_mut() => return recent,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(Accepted::Tcp(stream, peer)) => self.admit_tcp(stream, peer, &mut recent),
                Ok(Accepted::Unix(stream)) => self.admit(stream, None),
                Err(error) => {
                    self.shared.tally(Count::AcceptError);
                    let pause = backoff.after(&error);
                    tokio::select! {
                        biased;
                        () = closing.as_mut() => return recent,
                        () = sleep(pause) => {}
                    }
                    continue;
                }
            }
            backoff = Backoff::default();
        }
    }

    fn admit_tcp(&mut self, stream: TcpStream, peer: SocketAddr, recent: &mut RoundTrips) {
        if let Some(took) = sock::round_trip(stream.as_fd()) {
            recent.note(took);
        }
        // Fails only on a connection that is gone already, which its driver finds out.
        let _ = stream.set_nodelay(true);
        if let Some(keep_alive) = self.shared.limits.tcp_keep_alive {
            let _ = sock::keep_alive(&stream, keep_alive);
        }
        self.admit(stream, Some(peer));
    }

    fn admit<S: Aside + Into<Plain>>(&mut self, stream: S, peer: Option<SocketAddr>) {
        let inflight = self.shared.life.inflight();
        self.shared.tally(Count::Accepted);
        let pass = if self.shared.drain.is_inner() {
            // Its participant stands for it: the gate closes while it is still open.
            None
        } else if let Ok(pass) = inflight.connections.enter() {
            Some(pass)
        } else {
            // The deadline passed before the sweep was over.
            self.shared.tally(Count::Ended);
            return;
        };
        let place = conn::place_in_floor(&self.shared.drain);
        let watch = Watch::new(self.shared.clone(), peer, place);
        let stay = Stay::new(&self.shared, pass);
        self.host.serve(stream, watch, stay);
    }

    fn report(&self, swept: Swept, took: Duration) -> ListenerReport {
        let kind = match (&self.local, self.ownership) {
            (_, Ownership::Shared) => ListenerKind::Shared,
            (LocalAddr::Tcp(_), Ownership::Exclusive(_)) => ListenerKind::Exclusive,
            (LocalAddr::Unix(_), Ownership::Exclusive(_)) => ListenerKind::Unix,
        };
        let address = self.local.to_string();
        ListenerReport {
            address,
            kind,
            gate: swept.gate,
            swept: swept.connections,
            took,
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Self::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

/// Pauses after errors: none for one broken connection, up to a second for scarcity.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn after(&mut self, error: &io::Error) -> Duration {
        self.failures = self.failures.saturating_add(1);
        match trouble(error) {
            // A storm of them still leaves the other tasks their turn.
            Trouble::Connection if self.failures < 64 => Duration::ZERO,
            _ => Duration::from_millis(5 << self.failures.min(8)).min(Duration::from_secs(1)),
        }
    }
}

/// The largest of the last 64 round-trip times.
#[derive(Debug)]
struct RoundTrips {
    last: [Duration; 64],
    next: usize,
}

impl Default for RoundTrips {
    fn default() -> Self {
        Self {
            last: [Duration::ZERO; 64],
            next: 0,
        }
    }
}

impl RoundTrips {
    fn note(&mut self, took: Duration) {
        self.last[self.next] = took;
        self.next = (self.next + 1) % self.last.len();
    }

    fn largest(&self) -> Duration {
        self.last.iter().copied().max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_to_a_second_and_spares_broken_connections() {
        let scarce = io::Error::from_raw_os_error(libc::EMFILE);
        let aborted = io::Error::from_raw_os_error(libc::ECONNABORTED);
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(&aborted), Duration::ZERO);
        let first = backoff.after(&scarce);
        assert!(first > Duration::ZERO);
        assert!(backoff.after(&scarce) > first);
        for _ in 0..100 {
            assert!(backoff.after(&scarce) <= Duration::from_secs(1));
        }
        assert!(
            backoff.after(&aborted) > Duration::ZERO,
            "a storm must not spin"
        );
    }

    #[test]
    fn the_largest_round_trip_is_forgotten_in_time() {
        let mut recent = RoundTrips::default();
        recent.note(Duration::from_millis(80));
        assert_eq!(recent.largest(), Duration::from_millis(80));
        for _ in 0..64 {
            recent.note(Duration::from_millis(1));
        }
        assert_eq!(recent.largest(), Duration::from_millis(1));
    }
}
