//! An open channel for a task of a tokio runtime.

use std::future::poll_fn;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{Interest, unix::AsyncFd};
use tokio::runtime::Handle;

use super::channel::{Channel, Disturbed, RecvError};
use crate::edge::signal::{ChannelError, Received};
use crate::sys::Signo;

/// A [`Channel`] whose reader is a task. Open one with [`Opening::open_async`](super::Opening::open_async).
///
/// It lives on the runtime on which it was opened.
#[derive(Debug)]
pub struct AsyncChannel {
    /// Above the channel: it is deregistered before the last holder closes the descriptor. `None` once the channel has ended.
    ready: Option<AsyncFd<Arc<OwnedFd>>>,
    channel: Channel,
}

impl AsyncChannel {
    pub(super) fn new(channel: Channel) -> Result<Self, ChannelError> {
        Handle::try_current()
            .map_err(|error| ChannelError::runtime(std::io::Error::other(error)))?;
        let ready = channel.shared_fd().map(register).transpose();
        let ready = ready.map_err(ChannelError::runtime)?;
        Ok(Self { ready, channel })
    }

    /// The next signal. `None` when the channel has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a signal is taken only by a call that returns it.
    pub async fn recv(&mut self) -> Option<Received> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for futures and streams that are written by hand. Of several tasks the last one is woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        loop {
            match self.channel.try_recv_with(cx.waker()) {
                Ok(received) => return Poll::Ready(Some(received)),
                Err(RecvError::Closed) => {
                    self.ready = None;
                    return Poll::Ready(None);
                }
                Err(RecvError::Empty) => {}
            }
            let Some(fd) = &self.ready else {
                return Poll::Ready(None);
            };
            let Ok(mut guard) = ready!(fd.poll_read_ready(cx)) else {
                // The runtime is going down.
                self.channel.close();
                continue;
            };
            // What came between the look above and the guard would be forgotten with its readiness.
            match self.channel.try_recv_with(cx.waker()) {
                Ok(received) => return Poll::Ready(Some(received)),
                Err(_) => guard.clear_ready(),
            }
        }
    }

    /// The next signal, if one waits.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] when there is none, [`RecvError::Closed`] when the channel has ended.
    pub fn try_recv(&mut self) -> Result<Received, RecvError> {
        self.channel.try_recv()
    }

    /// Ends the channel, as [`Channel::close`].
    pub fn close(&mut self) {
        self.ready = None;
        self.channel.close();
    }

    /// Whether the channel has ended.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }

    /// Its descriptor, as [`Channel::fd`].
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.channel.fd()
    }

    /// The signals that were asked for.
    pub fn signals(&self) -> impl Iterator<Item = Signo> + use<> {
        self.channel.signals()
    }

    /// The signals that were left ignored, as [`Channel::left_ignored`].
    pub fn left_ignored(&self) -> impl Iterator<Item = Signo> + use<> {
        self.channel.left_ignored()
    }

    /// How many signals the full queue did not take, as [`Channel::dropped`].
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.channel.dropped()
    }

    /// Whether the channel still hears its signals, as [`Channel::check`].
    ///
    /// # Errors
    ///
    /// [`Disturbed`], which says by what.
    pub fn check(&self) -> Result<(), Disturbed> {
        self.channel.check()
    }
}

fn register(fd: Arc<OwnedFd>) -> std::io::Result<AsyncFd<Arc<OwnedFd>>> {
    #[allow(
        deprecated,
        reason = "its heir, tokio 1.54's `register`, is unsafe because of types whose descriptor changes; this one's never does"
    )]
    AsyncFd::with_interest(fd, Interest::READABLE)
}
