//! The stream below TLS.
//!
//! Owns the notes that only somebody below TLS can take: that bytes move although no record is whole, that a record has begun, and that
//! what TLS holds back cannot be written.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::records::Records;
use crate::server::io::Stream;
use crate::server::watch::Watch;

/// A stream whose bytes are TLS.
#[derive(Debug)]
pub(crate) struct Raw<S> {
    /// None while its connection is parked: then nobody reads or writes.
    live: Option<Live<S>>,
    records: Records,
}

#[derive(Debug)]
struct Live<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S: Stream> Raw<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>) -> Self {
        Self {
            live: Some(Live { stream, watch }),
            records: Records::default(),
        }
    }

    /// The socket, without which this is only kept.
    pub(super) fn take_stream(&mut self) -> Option<S> {
        self.live.take().map(|live| live.stream)
    }

    /// Goes on with the socket that was taken.
    pub(super) fn put_back(&mut self, stream: S, watch: Arc<Watch>) {
        self.live = Some(Live { stream, watch });
    }

    const fn live(&mut self) -> &mut Live<S> {
        self.live.as_mut().expect("a parked connection is not used")
    }
}

impl<S> Live<S> {
    fn note(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(count)) => self.watch.note_written(*count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.watch.note_write_blocked(),
        }
        wrote
    }
}

impl<S: Stream> AsFd for Raw<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let live = self.live.as_ref();
        live.expect("a parked connection is not used")
            .stream
            .as_fd()
    }
}

impl<S: Stream> AsyncRead for Raw<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.live().stream).poll_read(cx, into))?;
        let new = &into.filled()[before..];
        if !new.is_empty() {
            this.records.follow(new);
            let is_open = this.records.is_open();
            this.live().watch.note_wire_read(new.len(), is_open);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Raw<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut().live();
        let wrote = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.note(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| live.stream.is_write_vectored())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut().live();
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.note(wrote)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().live().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().live().stream).poll_shutdown(cx)
    }
}
