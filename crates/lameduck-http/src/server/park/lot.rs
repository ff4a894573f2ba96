//! The lot of one listener: its parked connections, and the bell that rings when a client has said something.
//!
//! Owns the table and its lock, the watch over all sockets at once (epoll or kqueue, by mio), and who still may come. The bell is made with the first
//! connection that parks, so a listener without any costs no descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lameduck::eintr;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::heap;
use super::still::{Parked, Socket};
use super::table::Table;

/// Sockets that are looked at between two turns of the other tasks.
const AT_ONE_GO: usize = 128;

/// Parts of the limit of idleness that the order tells apart: more than a second of the default 75 s, by which one may stay longer.
const GRAINS: u128 = 64;

/// Where the idle connections of one listener wait.
#[derive(Debug)]
pub(crate) struct Lot {
    inner: Mutex<Inner>,
    /// Somebody has come who is due before all others.
    changed: Notify,
    /// Nobody may come any more. Written under the lock.
    closed: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    table: Table<Parked>,
    /// By how many there are more than at the least since memory was last given back to the system.
    grown: usize,
    /// Somebody waits for the time to do that.
    tidying: bool,
    /// None before the first came.
    registry: Option<Registry>,
}

/// Rings when a client of the lot has said something or is gone.
#[derive(Debug)]
pub(crate) struct Bell {
    poll: AsyncFd<Poll>,
    events: Events,
}

impl Default for Lot {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                table: Table::new(),
                grown: 0,
                tidying: false,
                registry: None,
            }),
            changed: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }
}

impl Lot {
    /// Lets a connection wait here. The first one brings the bell, which from then on somebody must hear.
    ///
    /// They wait in the order in which they will have been idle for `limit`, to a grain of it: whose idleness differs by less count as equal,
    /// so that thousands that come at once, and nearly in order, do not have to be sorted.
    ///
    /// # Errors
    /// The connection comes back when nobody may come any more, when the kernel has no room, or when it has been idle for much longer than
    /// those that are here.
    pub(crate) fn park(
        &self,
        parked: Parked,
        limit: Duration,
    ) -> Result<Option<Bell>, Box<Parked>> {
        let mut inner = self.lock();
        if !self.is_open() {
            return Err(Box::new(parked));
        }
        let mut bell = None;
        if inner.registry.is_none() {
            match Bell::new() {
                Ok((new, registry)) => (bell, inner.registry) = (Some(new), Some(registry)),
                Err(_) => return Err(Box::new(parked)),
            }
        }
        let socket = parked.socket.as_fd().as_raw_fd();
        let grain = (limit.as_nanos() / GRAINS).max(1);
        let grains = |one: &Parked| one.since().as_nanos() / grain;
        let inserted = inner
            .table
            .insert(parked, |new, old| grains(new) < grains(old));
        let number = inserted.map_err(Box::new)?;
        let registry = inner
            .registry
            .as_ref()
            .expect("made just now, if not before");
        // What came before this is told too: a socket that has something to read when it is registered is ready at once.
        let registered =
            registry.register(&mut SourceFd(&socket), Token(number), Interest::READABLE);
        if registered.is_err() {
            if bell.is_some() {
                // Nobody will hear it.
                inner.registry = None;
            }
            let parked = inner.table.remove(number).expect("put there just now");
            return Err(Box::new(parked));
        }
        inner.grown += 1;
        let is_first = inner
            .table
            .oldest()
            .is_some_and(|(oldest, _)| oldest == number);
        drop(inner);
        if is_first {
            self.changed.notify_one();
        }
        Ok(bell)
    }

    /// Whether it is worth coming: a look without the lock, which [`park`](Self::park) repeats under it.
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// Whether so many have come, and stayed, that giving memory back to the system is worth while. Who is told so does that.
    pub(crate) fn wants_tidying(&self) -> bool {
        let mut inner = self.lock();
        let wants = inner.grown >= heap::WORTH && !inner.tidying;
        inner.tidying |= wants;
        wants
    }

    /// By how many there are more than when memory was last given back, or since.
    pub(crate) fn grown(&self) -> usize {
        self.lock().grown
    }

    /// Memory is being given back to the system.
    pub(crate) fn note_tidied(&self) {
        let mut inner = self.lock();
        (inner.grown, inner.tidying) = (0, false);
    }

    /// Since when the one that is due first has been idle.
    pub(crate) fn oldest_since(&self) -> Option<Duration> {
        let inner = self.lock();
        let (_, oldest) = inner.table.oldest()?;
        Some(oldest.since())
    }

    /// Takes the one that is due first, if it has been idle since `before` or longer.
    pub(crate) fn take_oldest(&self, before: Duration) -> Option<Parked> {
        let mut inner = self.lock();
        let (number, oldest) = inner.table.oldest()?;
        if oldest.since() > before {
            return None;
        }
        inner.take(number)
    }

    /// The bell does not ring for this socket any more. One that is closed needs no such word.
    pub(crate) fn dismiss(&self, socket: &Socket) {
        let inner = self.lock();
        if let Some(registry) = &inner.registry {
            // Fails only for a socket that is not registered: one for which there was no room.
            let _ = registry.deregister(&mut SourceFd(&socket.as_fd().as_raw_fd()));
        }
    }

    /// From now on nobody may come.
    pub(crate) fn close(&self) {
        let _inner = self.lock();
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Waits until somebody else is due first, as when the lot is not empty any more. For the one who hears the bell.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not heard is heard next time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn take(&self, number: usize) -> Option<Parked> {
        self.lock().take(number)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self, number: usize) -> Option<Parked> {
        let parked = self.table.remove(number)?;
        self.grown = self.grown.saturating_sub(1);
        self.table.shrink();
        Some(parked)
    }
}

impl Bell {
    fn new() -> io::Result<(Self, Registry)> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        #[allow(
            deprecated,
            reason = "sound with a Poll, which owns its descriptor; what replaces it is unsafe, and older tokios have it not"
        )]
        let poll = AsyncFd::with_interest(poll, tokio::io::Interest::READABLE)?;
        let bell = Self {
            poll,
            events: Events::with_capacity(AT_ONE_GO),
        };
        Ok((bell, registry))
    }

    /// Waits until it rings, then takes those out of the lot whose clients are the reason.
    ///
    /// # Errors
    /// The kernel does not answer.
    ///
    /// # Cancel safety
    /// Cancel safe: nobody is taken out before it returns.
    pub(crate) async fn rings(
        &mut self,
        lot: &Lot,
        mut taken: impl FnMut(Parked),
    ) -> io::Result<()> {
        let mut ready = self.poll.readable_mut().await?;
        match ready
            .get_inner_mut()
            .poll(&mut self.events, Some(Duration::ZERO))
        {
            Ok(()) if self.events.is_empty() => ready.clear_ready(),
            Ok(()) => {}
            Err(error) if eintr::note_interrupted(&error) => {}
            Err(error) => return Err(error),
        }
        for event in &self.events {
            if let Some(parked) = lot.take(event.token().0) {
                taken(parked);
            }
        }
        Ok(())
    }
}
