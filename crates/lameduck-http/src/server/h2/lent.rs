//! The stream under h2, which never gives back what it was given.
//!
//! Owns the way back: when h2 drops its IO, the stream stands here again, to be ended with care by [`crate::server::linger`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inflow::Inflow;
use crate::server::io::Stream;
use crate::server::turn::Turn;
use crate::server::watch::Watch;

/// Where a stream stands again after its loan.
#[derive(Debug)]
pub(super) struct Back<S>(Arc<Mutex<Option<S>>>);

impl<S> Back<S> {
    /// The stream, if its borrower let go of it.
    pub(super) fn take(self) -> Option<S> {
        lock(&self.0).take()
    }
}

/// A stream on loan, with its notes.
#[derive(Debug)]
pub(super) struct Lent<S> {
    /// None only while it is dropped.
    stream: Option<S>,
    /// What was read before the loan; given first.
    said: Bytes,
    watch: Arc<Watch>,
    inflow: Inflow,
    inward: Turn,
    outward: Turn,
    back: Arc<Mutex<Option<S>>>,
}

/// Lends `stream`, of which `said` was read already.
pub(super) fn lend<S: Stream>(stream: S, said: Bytes, watch: &Arc<Watch>) -> (Lent<S>, Back<S>) {
    let back = Arc::new(Mutex::new(None));
    let mut lent = Lent {
        stream: Some(stream),
        said,
        watch: watch.clone(),
        inflow: Inflow::new(watch.shared.limits.empty_frames),
        inward: Turn::default(),
        outward: Turn::default(),
        back: back.clone(),
    };
    let said = lent.said.clone();
    lent.follow(&said);
    (lent, Back(back))
}

fn lock<S>(back: &Mutex<Option<S>>) -> MutexGuard<'_, Option<S>> {
    back.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        *lock(&self.back) = self.stream.take();
    }
}

impl<S: Stream> Lent<S> {
    fn stream(&mut self) -> Pin<&mut S> {
        Pin::new(self.stream.as_mut().expect("given back only by drop"))
    }

    /// Looks at what the client sends; the session ends whom it finds out.
    fn follow(&mut self, bytes: &[u8]) {
        let watch = &self.watch;
        let facts = || (watch.shared.now(), watch.moved());
        if !self.inflow.feed(bytes, facts) {
            watch.note_flooded();
        }
        watch.note_arriving(self.inflow.arriving());
    }

    fn note(&mut self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(count)) => {
                self.outward.note(*count);
                self.watch.note_written(*count);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.outward.waited();
                self.watch.note_write_blocked();
            }
        }
        wrote
    }
}

impl<S: Stream> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.said.is_empty() {
            let count = this.said.len().min(into.remaining());
            into.put_slice(&this.said[..count]);
            this.said.advance(count);
            return Poll::Ready(Ok(()));
        }
        // Whoever floods is not read on: the session looks at it before this task sleeps, so nobody needs to wake it.
        if this.watch.is_flooded() || this.inward.is_over(cx) {
            return Poll::Pending;
        }
        let before = into.filled().len();
        let read = this.stream().poll_read(cx, into);
        if read.is_pending() {
            this.inward.waited();
        }
        ready!(read)?;
        let count = into.filled().len() - before;
        this.inward.note(count);
        this.watch.note_read(count);
        this.follow(&into.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Lent<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outward.is_over(cx) {
            return Poll::Pending;
        }
        let wrote = this.stream().poll_write(cx, bytes);
        this.note(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outward.is_over(cx) {
            return Poll::Pending;
        }
        let wrote = this.stream().poll_write_vectored(cx, slices);
        this.note(wrote)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_flush(cx)
    }

    /// Nothing: the end of the socket is not h2's business.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
