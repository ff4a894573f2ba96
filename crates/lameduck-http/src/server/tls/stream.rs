//! The stream above TLS.
//!
//! Owns how it ends: close_notify before FIN, and what still comes from the peer after that is not TLS's business any more.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server;

use super::raw::Raw;
use crate::server::io::Stream;
use crate::server::park::{Aside, Held, Socket};
use crate::server::watch::Watch;

/// What passes above TLS.
#[derive(Debug)]
pub(crate) struct TlsStream<S> {
    tls: server::TlsStream<Raw<S>>,
    /// close_notify was queued. What the peer sends from now on is only read, so that it finds room and no RST answers it.
    closing: bool,
}

impl<S: Stream> TlsStream<S> {
    pub(super) const fn new(tls: server::TlsStream<Raw<S>>) -> Self {
        Self {
            tls,
            closing: false,
        }
    }

    /// What the handshake agreed on.
    pub(crate) fn session(&self) -> &ServerConnection {
        self.tls.get_ref().1
    }
}

impl<S: Aside> TlsStream<S> {
    /// Goes on with a session that was put aside, over the same socket.
    pub(super) fn again(held: Held, stream: S, watch: Arc<Watch>) -> Option<Self> {
        let mut tls = *held.downcast::<Self>().ok()?;
        tls.tls.get_mut().0.put_back(stream, watch);
        Some(tls)
    }
}

impl<S: Aside> Aside for TlsStream<S> {
    const WATCHES: usize = S::WATCHES + 1;

    /// Everything that was read has been given on, for whoever does this has been told to wait.
    fn put_aside(mut self) -> io::Result<(Socket, Option<Held>)> {
        let stream = self.tls.get_mut().0.take_stream();
        let (socket, below) = stream.expect("it was in use").put_aside()?;
        debug_assert!(below.is_none(), "there is one TLS on a connection");
        Ok((socket, Some(Box::new(self))))
    }
}

impl<S: Stream> AsFd for TlsStream<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tls.get_ref().0.as_fd()
    }
}

impl<S: Stream> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing {
            return Pin::new(this.tls.get_mut().0).poll_read(cx, into);
        }
        match ready!(Pin::new(&mut this.tls).poll_read(cx, into)) {
            // FIN without close_notify. Requests say themselves where they end, so nothing can be cut off unseen (RFC 9112 §9.8).
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl<S: Stream> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    /// Writes what TLS still holds, close_notify after it, then FIN.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.closing = true;
        Pin::new(&mut this.tls).poll_shutdown(cx)
    }
}
