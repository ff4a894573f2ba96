//! A response under way: its body holds the connection until it is read, or dropped.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::error::BodyError;
use super::pool::counts::ClosedBy;
use super::pool::lease::Lease;
use super::retry::RetryReason;

/// How often a request was tried until it had its response; in the response's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tries {
    /// The last one included.
    pub count: u32,
    /// Why it was tried again, each time.
    pub reasons: Vec<RetryReason>,
}

impl Tries {
    pub(super) const fn none() -> Self {
        Self {
            count: 0,
            reasons: Vec::new(),
        }
    }
}

/// The body of a response.
///
/// Its connection is free for others when it is read to its end. Dropped before, it ends its stream, or the connection under it on HTTP/1.1.
/// Read it as fast as you like: what is not read is not asked for.
pub struct ResponseBody {
    incoming: Option<Incoming>,
    lease: Option<Lease>,
    stall: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, lease: Lease, stall: Duration) -> Self {
        let mut body = Self {
            incoming: Some(incoming),
            lease: Some(lease),
            stall,
            timer: None,
            waits: false,
        };
        body.look();
        body
    }

    /// Gives the connection back if nothing more can come.
    fn look(&mut self) {
        if self.is_end_stream() {
            self.end(ClosedBy::Peer);
        }
    }

    fn end(&mut self, otherwise: ClosedBy) {
        if let Some(lease) = &self.lease {
            lease.may_end(otherwise);
        }
        self.incoming = None;
        self.timer = None;
        if let Some(lease) = self.lease.take() {
            lease.give_back(otherwise);
        }
    }

    fn fail(&mut self) {
        self.incoming = None;
        self.timer = None;
        if let Some(lease) = self.lease.take() {
            lease.fail(ClosedBy::Failed);
        }
    }

    /// Nothing came.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stall = self.stall;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(stall)));
        if !std::mem::replace(&mut self.waits, true) {
            timer.as_mut().reset(Instant::now() + stall);
        }
        timer.as_mut().poll(cx)
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waits = false;
                this.look();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.fail();
                Poll::Ready(Some(Err(BodyError::failed(error))))
            }
            Poll::Ready(None) => {
                this.end(ClosedBy::Peer);
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_stalled(cx).map(|()| {
                this.fail();
                Some(Err(BodyError::expired()))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // hyper sees first that nobody reads: if the rest is there already the connection survives, otherwise it ends.
        self.end(ClosedBy::Abandoned);
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("is_over", &self.is_end_stream())
            .finish_non_exhaustive()
    }
}
