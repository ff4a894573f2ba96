//! A transfer that stands still ends: the wrapper that stands between a socket and hyper for this, with one timer each way.
//!
//! Owns: the timers, armed when a direction waits. Not here: hyper's own limit for a head.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// As `lameduck_http::Limits` has them: idleness between requests, and a response that is not taken.
const IDLE: Duration = Duration::from_secs(75);
const STALL: Duration = Duration::from_secs(30);

pub(crate) struct Stall<S> {
    stream: S,
    reading: Wait,
    writing: Wait,
}

struct Wait {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    waits: bool,
}

impl Wait {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: Box::pin(sleep(limit)),
            waits: false,
        }
    }

    /// Passes an answer on; one that is not ready in time becomes an error.
    fn watch<T>(
        &mut self,
        answer: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            self.waits = false;
            return answer;
        }
        if !self.waits {
            self.waits = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S> Stall<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            reading: Wait::new(IDLE),
            writing: Wait::new(STALL),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.reading.watch(answer, cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.writing.watch(answer, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.stream).poll_flush(cx);
        self.writing.watch(answer, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.writing.watch(answer, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.writing.watch(answer, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
