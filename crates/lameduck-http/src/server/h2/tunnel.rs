//! One stream as a stream of bytes: what a CONNECT is answered with (RFC 9113 §8.5, RFC 8441).
//!
//! Owns flow control on both sides: a client gets room for what the application has read, and nothing is handed to h2 that the client has no room for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::h2::{RecvStream, SendStream};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::RESERVED_AT_MOST;
use crate::server::piece::Piece;
use crate::server::upgrade::Duplex;

/// Both directions of a stream.
pub(super) struct Tunnel<D: Buf> {
    incoming: RecvStream,
    outgoing: SendStream<Piece<D>>,
    /// What was taken from h2 and not read yet: one frame at most.
    said: Bytes,
    /// END_STREAM was sent.
    is_shut: bool,
}

impl<D: Buf> Tunnel<D> {
    pub(super) fn new(incoming: RecvStream, outgoing: SendStream<Piece<D>>) -> Self {
        Self {
            incoming,
            outgoing,
            said: Bytes::new(),
            is_shut: false,
        }
    }
}

fn broken(error: ::h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().expect("it is one");
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl<D: Buf> AsyncRead for Tunnel<D> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.said.is_empty() {
            match ready!(this.incoming.poll_data(cx)) {
                Some(Ok(data)) => this.said = data,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = this.said.len().min(into.remaining());
        into.put_slice(&this.said[..count]);
        this.said.advance(count);
        // Fails only on a stream that is gone, whose end the next poll tells.
        let _ = this.incoming.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl<D: Buf> AsyncWrite for Tunnel<D> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.outgoing
            .reserve_capacity(bytes.len().min(RESERVED_AT_MOST));
        while this.outgoing.capacity() == 0 {
            match ready!(this.outgoing.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = this.outgoing.capacity().min(bytes.len());
        let piece = Piece::Part(Bytes::copy_from_slice(&bytes[..count]));
        this.outgoing.send_data(piece, false).map_err(broken)?;
        Poll::Ready(Ok(count))
    }

    /// Nothing: what h2 has taken it sends without being asked.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            this.is_shut = true;
            let end = Piece::Part(Bytes::new());
            this.outgoing.send_data(end, true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<D: Buf + Send + 'static> Duplex for Tunnel<D> {
    /// What was written had room at the client's end. Something waits only as long as there is none.
    fn unread(&self) -> usize {
        usize::from(self.outgoing.capacity() == 0)
    }
}
