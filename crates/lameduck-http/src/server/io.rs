//! The IO under hyper: a plain stream that notes what passes.
//!
//! Owns the bridge from tokio's traits to hyper's and the bytes put back after a last look. Ending the connection is not its business:
//! hyper's shutdown does nothing here, [`super::linger`] closes.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::detect::{self, Verdict};
use super::turn::Turn;
use super::watch::Watch;

/// A byte stream over a socket: TCP, Unix, TLS over them.
pub(crate) trait Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static> Stream for S {}

/// The stream with its notes.
#[derive(Debug)]
pub(crate) struct Io<S> {
    stream: S,
    /// Bytes of a head that hyper had read before the connection was looked at.
    kept: Bytes,
    /// What may become the preface of HTTP/2; hyper has not seen it. None when that is settled.
    undecided: Option<BytesMut>,
    inward: Turn,
    outward: Turn,
    watch: Arc<Watch>,
}

impl<S: Stream> Io<S> {
    pub(crate) fn new(stream: S, watch: Arc<Watch>) -> Self {
        Self {
            stream,
            kept: Bytes::new(),
            undecided: None,
            inward: Turn::default(),
            outward: Turn::default(),
            watch,
        }
    }

    /// Looks out for HTTP/2 in the first bytes. An HTTP/1.1 request costs it one comparison.
    pub(crate) fn detecting(self) -> Self {
        Self {
            undecided: Some(BytesMut::new()),
            ..self
        }
    }

    /// Hands bytes back: the next read gives them first.
    pub(crate) fn keep(&mut self, bytes: Bytes) {
        debug_assert!(
            self.kept.is_empty(),
            "hyper took what was kept before it read on"
        );
        self.kept = bytes;
    }

    /// The stream, and what was read from it and not given on.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        // Never both: what is kept was given back by hyper, which gets nothing while it is undecided.
        let said = self.undecided.map_or(self.kept, BytesMut::freeze);
        (self.stream, said)
    }

    /// Judges what was just read; nothing of it means the stream's end.
    fn detect(&mut self, new: &[u8]) -> Detected {
        let Some(held) = &mut self.undecided else {
            return Detected::Pass;
        };
        if held.is_empty() && !new.is_empty() && detect::judge(new) == Verdict::Http1 {
            self.undecided = None;
            self.watch.note_http1();
            return Detected::Pass;
        }
        held.extend_from_slice(new);
        match detect::judge(held) {
            Verdict::Undecided => Detected::Hold,
            Verdict::Http2 => {
                self.watch.note_http2();
                Detected::Stop
            }
            Verdict::Http1 => {
                self.watch.note_http1();
                self.kept = self.undecided.take().expect("held until now").freeze();
                Detected::Hold
            }
        }
    }
}

impl<S: Stream> hyper::rt::Read for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.watch.note_reading();
        if this.inward.is_over(cx) {
            return Poll::Pending;
        }
        loop {
            if !this.kept.is_empty() {
                let count = this.kept.len().min(into.remaining());
                into.put_slice(&this.kept[..count]);
                this.kept.advance(count);
                return Poll::Ready(Ok(()));
            }
            // SAFETY: `ReadBuf::uninit` never de-initialises a byte of the cursor's spare room.
            let mut buffer = ReadBuf::uninit(unsafe { into.as_mut() });
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut buffer);
            if read.is_pending() {
                this.inward.waited();
                this.watch.note_nothing_to_read();
            }
            ready!(read)?;
            let count = buffer.filled().len();
            this.inward.note(count);
            this.watch.note_read(count);
            match this.detect(buffer.filled()) {
                Detected::Hold if count > 0 => {}
                // The driver looks before this task sleeps, so nobody needs to wake it.
                Detected::Stop => return Poll::Pending,
                // At the end of the stream hyper gets what there is: it knows how to answer.
                Detected::Hold => {
                    let held = this.undecided.take().expect("it held until now");
                    if held.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    this.kept = held.freeze();
                }
                Detected::Pass => {
                    // SAFETY: `count` bytes from the cursor's start on were just filled, so they are initialised.
                    unsafe { into.advance(count) };
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// What becomes of bytes that were just read.
enum Detected {
    /// hyper gets them.
    Pass,
    /// They are kept back: read on.
    Hold,
    /// They are HTTP/2: hyper never sees them.
    Stop,
}

/// Reads into hyper's cursor; gives the count.
fn read<S: Stream>(
    stream: &mut S,
    cx: &mut Context<'_>,
    mut into: ReadBufCursor<'_>,
) -> Poll<io::Result<usize>> {
    // SAFETY: `ReadBuf::uninit` never de-initialises a byte of the cursor's spare room.
    let mut buffer = ReadBuf::uninit(unsafe { into.as_mut() });
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    let count = buffer.filled().len();
    // SAFETY: `count` bytes from the cursor's start on were just filled, so they are initialised.
    unsafe { into.advance(count) };
    Poll::Ready(Ok(count))
}

impl<S: Stream> Io<S> {
    fn note_write(&mut self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
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

impl<S: Stream> hyper::rt::Write for Io<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.watch.note_writing();
        if this.outward.is_over(cx) {
            return Poll::Pending;
        }
        let wrote = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.note_write(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.watch.note_writing();
        if this.outward.is_over(cx) {
            return Poll::Pending;
        }
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.note_write(wrote)
    }

    /// hyper asks for this when it has handed over all that it had to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.watch.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A stream without notes, for the listeners beside the service.
#[derive(Debug)]
pub(crate) struct Unnoted<S>(pub(crate) S);

impl<S: Stream> hyper::rt::Read for Unnoted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        read(&mut self.get_mut().0, cx, into).map_ok(|_| ())
    }
}

impl<S: Stream> hyper::rt::Write for Unnoted<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
