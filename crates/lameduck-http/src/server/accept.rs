//! The accept loop of one listener, from Running to its close.
//!
//! Owns when connections are accepted, how many, and which errors are survived how. What a connection does is [`super::conn`]'s business,
//! how a listener closes [`super::sweep`]'s.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use lameduck::{Count, ListenerKind, ListenerReport, Participant};
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::errors::{Trouble, trouble};
use super::exchange::App;
use super::host::{Host, Stay};
use super::listen::{LocalAddr, SocketFile};
use super::park::Aside;
use super::secure::Plain;
use super::sweep::{self, Alarm, Gate, Swept};
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
    pub(crate) door: Door<A>,
    /// Brings the socket once it listens; its sender is dropped if that never happens.
    pub(crate) opened: oneshot::Receiver<Socket>,
}

/// The way in: what becomes of an accepted connection, and what is said when no more come.
pub(crate) struct Door<A> {
    pub(crate) shared: Arc<Shared>,
    /// Where its connections live.
    pub(crate) host: Arc<Host<A>>,
    pub(crate) participant: Participant,
    pub(crate) local: LocalAddr,
    pub(crate) file: Mutex<Option<SocketFile>>,
    pub(crate) ownership: Ownership,
    pub(crate) turn: Mutex<Turn>,
}

/// Who may accept.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    recent: RoundTrips,
    /// From now on the one who closes the listener.
    is_swept: bool,
}

impl<A: App> Acceptor<A> {
    /// Accepts from Running to the end of the window, then closes, then waits for its connections.
    pub(crate) async fn run(self) {
        let shared = self.door.shared.clone();
        let mut conduct = pin!(
            shared
                .drain
                .conduct(self.door.participant.closing(), &shared.life)
        );
        let mut run = pin!(self.accept_and_wait());
        tokio::select! {
            () = &mut run => return,
            () = &mut conduct => {}
        }
        run.await;
    }

    async fn accept_and_wait(mut self) {
        let opened = self.opened().await;
        let door = self.door;
        match opened.map(|socket| door.listener(socket)) {
            Some(Ok(listener)) => {
                // None if what closed it panicked: its participant has said so.
                if let Some(door) = door.serve(listener).await {
                    door.wait().await;
                }
            }
            Some(Err(error)) => {
                door.unlink();
                let why = format!("{}: {error}", door.local);
                door.participant.failed(why);
            }
            None => {
                door.closed(Swept::NOTHING, Duration::ZERO);
                door.wait().await;
            }
        }
    }

    async fn opened(&mut self) -> Option<Socket> {
        let closing = self.door.shared.drain.closing().first();
        tokio::select! {
            biased;
            opened = &mut self.opened => opened.ok(),
            () = closing => {
                self.opened.close();
                self.opened.try_recv().ok()
            }
        }
    }
}

impl<A: App> Door<A> {
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
    fn unlink(&self) {
        let file = self
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(file), Ownership::Exclusive(_)) = (file, self.ownership) {
            file.remove();
        }
    }

    /// Accepts until the window's end, then closes.
    async fn serve(self, listener: Listener) -> Option<Self> {
        let (door, listener) = (Arc::new(self), Arc::new(listener));
        if door.ownership == Ownership::Shared {
            door.accept_until_closing(&listener).await;
            drop(listener);
            door.closed(Swept::NOTHING, Duration::ZERO);
            return Arc::into_inner(door);
        }
        let (done, left) = oneshot::channel();
        let alarm = Alarm::new({
            let (door, listener) = (door.clone(), listener.clone());
            move || {
                door.leave(&listener);
                drop((door, listener));
                // Nobody waits for it where the runtime has gone.
                let _ = done.send(());
            }
        });
        // Heard by the one who fires it: a task would stand behind those of thousands of connections.
        let heard = alarm.goes_off_at(door.shared.drain.closing().first());
        door.accept_until_closing(&listener).await;
        drop(listener);
        left.await.ok()?;
        drop(heard);
        Arc::into_inner(door)
    }

    /// Closes the listener, and says so. Blocks the thread for as long as that takes.
    fn leave(&self, listener: &Listener) {
        let window_end = self.shared.life.elapsed();
        let round_trip = {
            let mut turn = self.turn();
            turn.is_swept = true;
            turn.recent.largest()
        };
        let swept = match (listener, self.ownership) {
            (Listener::Tcp(listener), Ownership::Exclusive(gate)) => {
                let patience = sweep::patience(round_trip);
                sweep::sweep(listener, gate, patience, |stream, peer| {
                    self.admit_tcp(stream, peer, &mut RoundTrips::default());
                })
            }
            (Listener::Unix(listener), _) => {
                // Before the queue is emptied: who connects between the last look and the close would be reset.
                self.unlink();
                sweep::sweep_unix(listener, |stream| self.admit(stream, None))
            }
            (_, Ownership::Shared) => Swept::NOTHING,
        };
        // Who accepts may not have heard yet, and has the socket too: from here on nobody finds it.
        sweep::shut(listener.as_fd());
        self.closed(swept, self.shared.life.elapsed().saturating_sub(window_end));
    }

    /// Says how the listener was closed.
    fn closed(&self, swept: Swept, took: Duration) {
        self.unlink();
        let tally = &self.shared.life.inflight().tally;
        tally.add(Count::Swept, u64::from(swept.connections));
        tally.add(Count::AcceptError, u64::from(swept.errors));
        self.participant.admission_closed(self.report(swept, took));
    }

    /// Waits for the connections.
    async fn wait(self) {
        self.shared.crowd.fewer_than(1).await;
        self.participant.done();
    }

    async fn accept_until_closing(&self, listener: &Listener) {
        let mut closing = pin!(self.shared.drain.closing().first());
        let mut backoff = Backoff::default();
        // None at all would be a service that never answers and never says why.
        let limit = self.shared.limits.connections.max(1);
        loop {
            if !self.shared.crowd.is_below(limit) {
                self.shared.tally(Count::OverLimit);
                tokio::select! {
                    biased;
                    () = closing.as_mut() => return,
                    () = self.shared.crowd.fewer_than(limit) => {}
                }
            }
            let accepted = tokio::select! {
                biased;
                () = closing.as_mut() => return,
                accepted = self.accept(listener) => accepted,
            };
            match accepted {
                Some(Ok(())) => {}
                None => return,
                Some(Err(error)) => {
                    self.shared.tally(Count::AcceptError);
                    let pause = backoff.after(&error);
                    tokio::select! {
                        biased;
                        () = closing.as_mut() => return,
                        () = sleep(pause) => {}
                    }
                    continue;
                }
            }
            backoff = Backoff::default();
        }
    }

    /// Accepts a connection and lets it in; None when that is another's business now.
    async fn accept(&self, listener: &Listener) -> Option<io::Result<()>> {
        poll_fn(|cx| {
            // Held until the connection counts: whoever closes the listener says only then that no more come.
            let mut turn = self.turn();
            if turn.is_swept {
                return Poll::Ready(None);
            }
            let accepted = match listener {
                Listener::Tcp(listener) => ready!(listener.poll_accept(cx))
                    .map(|(stream, peer)| self.admit_tcp(stream, peer, &mut turn.recent)),
                Listener::Unix(listener) => {
                    ready!(listener.poll_accept(cx)).map(|(stream, _)| self.admit(stream, None))
                }
            };
            Poll::Ready(Some(accepted))
        })
        .await
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit_tcp(&self, stream: TcpStream, peer: SocketAddr, recent: &mut RoundTrips) {
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

    fn admit<S: Aside + Into<Plain>>(&self, stream: S, peer: Option<SocketAddr>) {
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

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
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
