//! An open channel, for one reader.

use std::error::Error;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::opening::Opening;
use super::scope::{Bell, Scope};
use super::waiting::{Next, Waiting};
use crate::edge::signal::{Handlers, More, Received, SignalFd};
use crate::inflight::Fired;
use crate::sys::{self, Signo, Signos};

/// Signals of a set, one record after the other, for one reader.
///
/// Open one with [`Channel::of`]. Reading takes `&mut self` and the type is not `Clone`: two readers would each get half. Give
/// each reader a channel of its own; every one of them gets every signal.
///
/// The channel ends with its scope ([`Opening::until`]), with [`close`](Self::close) or when it is dropped. Then its handlers are taken
/// back and its descriptors closed; no other channel, and not the lifecycle, notices.
#[derive(Debug)]
pub struct Channel {
    signals: Signos,
    bound: u32,
    /// `None` once the channel has ended.
    source: Option<Source>,
    waiting: Waiting,
    scope: Option<Scope>,
    bell: Option<Bell>,
    dropped_ever: u64,
}

/// Where the signals come from.
#[derive(Debug)]
pub(super) enum Source {
    Handlers {
        handlers: Handlers,
        /// Takes the handlers back when the scope's token fires.
        #[expect(dead_code, reason = "held for its waker")]
        token: Option<Fired>,
    },
    SignalFd(SignalFd),
}

impl Source {
    pub(super) const fn fd(&self) -> &Arc<OwnedFd> {
        match self {
            Self::Handlers { handlers, .. } => handlers.fd(),
            Self::SignalFd(fd) => fd.fd(),
        }
    }
}

impl Channel {
    /// A channel for these signals, to be opened.
    pub fn of(signals: impl IntoIterator<Item = impl Into<Signo>>) -> Opening {
        Opening::new(signals.into_iter().collect())
    }

    pub(super) const fn new(
        signals: Signos,
        bound: u32,
        source: Source,
        waiting: Waiting,
        scope: Option<Scope>,
        bell: Option<Bell>,
    ) -> Self {
        Self {
            signals,
            bound,
            source: Some(source),
            waiting,
            scope,
            bell,
            dropped_ever: 0,
        }
    }

    /// The next signal; waits for it. `None` when the channel has ended.
    pub fn recv(&mut self) -> Option<Received> {
        self.wait_until(None).ok()
    }

    /// The next signal; waits for it, but not longer.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] when the time is over, [`RecvError::Closed`] when the channel has ended.
    pub fn recv_timeout(&mut self, at_most: Duration) -> Result<Received, RecvError> {
        // A time that is too far away to be written is never.
        self.wait_until(Instant::now().checked_add(at_most))
    }

    /// The next signal, if one waits: for programs with a loop of their own, around [`fd`](Self::fd).
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] when there is none, [`RecvError::Closed`] when the channel has ended.
    pub fn try_recv(&mut self) -> Result<Received, RecvError> {
        let waker = self.bell.as_ref().map(|bell| bell.waker.clone());
        self.try_recv_with(waker.as_ref().unwrap_or(Waker::noop()))
    }

    /// As [`try_recv`](Self::try_recv); the waker hears of the scope's end.
    pub(super) fn try_recv_with(&mut self, waker: &Waker) -> Result<Received, RecvError> {
        let is_over = self
            .scope
            .as_mut()
            .is_some_and(|scope| scope.is_over(waker));
        // Before each one: what came meanwhile may be more urgent than what waits.
        if self.refill() == More::Ended || is_over {
            self.close();
        }
        match self.waiting.next() {
            Some(Next::Queued(received)) => {
                if let Some(Source::Handlers { handlers, .. }) = &self.source {
                    handlers.handed_over();
                }
                Ok(received)
            }
            Some(Next::Dropped(received)) => Ok(received),
            None if self.source.is_none() => Err(RecvError::Closed),
            None => Err(RecvError::Empty),
        }
    }

    fn refill(&mut self) -> More {
        let waiting = &mut self.waiting;
        let room = usize::try_from(self.bound)
            .unwrap_or(usize::MAX)
            .saturating_sub(waiting.len());
        let read = match &self.source {
            None => Ok(More::Ended),
            Some(Source::Handlers { handlers, .. }) => {
                handlers.read(&mut |received| waiting.put(received))
            }
            Some(Source::SignalFd(fd)) => fd.read(room, &mut |received| waiting.put(received)),
        };
        // read(2) of a descriptor of ours fails for no reason that would go away.
        read.unwrap_or(More::Ended)
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<Received, RecvError> {
        loop {
            match self.try_recv() {
                Err(RecvError::Empty) => {}
                done => return done,
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(RecvError::Empty);
            }
            let Some(source) = &self.source else {
                return Err(RecvError::Closed);
            };
            let fd = source.fd().as_fd();
            let polled = match &self.bell {
                None => sys::poll_once(&[fd], left),
                Some(bell) => sys::poll_once(&[fd, bell.fd()], left),
            };
            match polled {
                Ok([_, rang]) if rang => self.bell.iter().for_each(Bell::hush),
                Ok(_) => {}
                // poll(2) fails for want of kernel memory only; a short sleep keeps the time without spinning.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Ends the channel: handlers are taken back, descriptors closed. What had arrived can still be read.
    pub fn close(&mut self) {
        // First the handlers: what one of them still wrote is read, and none writes afterwards.
        if let Some(Source::Handlers { handlers, .. }) = &self.source {
            handlers.registration().end();
        }
        self.refill();
        self.dropped_ever = self.dropped();
        self.source = None;
        self.scope = None;
        self.bell = None;
    }

    /// Whether the channel has ended. What had arrived can still be read.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.source.is_none()
    }

    /// What becomes readable when a signal waits, for poll(2), epoll(7) and the like; `None` once the channel has ended.
    ///
    /// Then call [`try_recv`](Self::try_recv) until it has nothing: signals are taken from the descriptor together. Read nothing
    /// from it yourself. With handlers it also hangs up when the token of [`Opening::until`] fires; a signalfd does not, watch
    /// the token there.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().map(|source| source.fd().as_fd())
    }

    #[cfg(feature = "tokio")]
    pub(super) fn shared_fd(&self) -> Option<Arc<OwnedFd>> {
        self.source.as_ref().map(|source| Arc::clone(source.fd()))
    }

    /// The signals that were asked for.
    pub fn signals(&self) -> impl Iterator<Item = Signo> + use<> {
        self.signals.iter()
    }

    /// The signals that were asked for, but left ignored as the process inherited them.
    pub fn left_ignored(&self) -> impl Iterator<Item = Signo> + use<> {
        match &self.source {
            Some(Source::Handlers { handlers, .. }) => handlers.left_ignored(),
            Some(Source::SignalFd(_)) | None => Signos::default(),
        }
        .iter()
    }

    /// How many signals the full queue did not take, since the channel was opened. (Each is told of once, by a record that says how
    /// many: [`Received::dropped`].)
    ///
    /// Not among them are signals that the kernel made one of, because they waited together: it does not count them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.source {
            Some(Source::Handlers { handlers, .. }) => handlers.dropped_ever(),
            Some(Source::SignalFd(_)) | None => self.dropped_ever,
        }
    }

    /// Looks whether the channel still hears its signals: another library may have replaced a handler, or, with a signalfd, started
    /// a thread that does not block them. A lifecycle with signals looks every 10 s while it runs, and says so in its log, its
    /// report and its status.
    ///
    /// # Errors
    ///
    /// [`Disturbed`], which says by what.
    pub fn check(&self) -> Result<(), Disturbed> {
        match &self.source {
            None => Ok(()),
            Some(Source::Handlers { handlers, .. }) => match handlers.replaced().iter().next() {
                None => Ok(()),
                Some(signo) => Err(Disturbed { signo, by: None }),
            },
            Some(Source::SignalFd(fd)) => match fd.unblocked(usize::MAX) {
                None => Ok(()),
                Some((signo, thread, name)) => Err(Disturbed {
                    signo,
                    by: Some((thread, name)),
                }),
            },
        }
    }
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecvError {
    /// No signal waits.
    Empty,
    /// The channel has ended.
    Closed,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no signal waits",
            Self::Closed => "the channel has ended",
        })
    }
}

impl Error for RecvError {}

/// A channel that no longer hears one of its signals for sure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disturbed {
    signo: Signo,
    /// The thread that takes it away; `None` for a handler.
    by: Option<(u32, String)>,
}

impl Disturbed {
    /// The signal.
    #[must_use]
    pub const fn signal(&self) -> Signo {
        self.signo
    }
}

impl fmt::Display for Disturbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signo, by } = self;
        match by {
            None => write!(
                f,
                "the handler of {signo} was replaced by another library; open the channel after that library has started"
            ),
            Some((thread, name)) => write!(
                f,
                "thread {thread} ({name}) does not block {signo}; block it before that thread is started"
            ),
        }
    }
}

impl Error for Disturbed {}
