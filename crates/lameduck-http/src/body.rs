//! The body of a request, as handlers get it.
//!
//! Owns the newtype around hyper's body, so that hyper's version is not part of this crate's API, and the notes that tell a stalled
//! upload from a handler that is busy.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::server::watch::Watch;

/// The body of a request that is being read from a connection.
///
/// Read it with `http_body_util::BodyExt` or an axum extractor. Dropping it before its end is fine: the response is still delivered, and the connection ends with it.
pub struct Body {
    incoming: Incoming,
    /// None for a request without a body.
    watch: Option<Arc<Watch>>,
}

impl Body {
    pub(crate) fn watched(incoming: Incoming, watch: &Arc<Watch>) -> Self {
        let watch = (!incoming.is_end_stream()).then(|| watch.clone());
        if let Some(watch) = &watch {
            watch.upload_open();
        }
        Self { incoming, watch }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        if let Some(watch) = &this.watch {
            match &polled {
                Poll::Pending => watch.upload_waiting(),
                Poll::Ready(Some(Ok(_))) if !this.incoming.is_end_stream() => watch.upload_open(),
                Poll::Ready(_) => {
                    watch.upload_done();
                    this.watch = None;
                }
            }
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(BodyError)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.upload_abandoned();
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("ended", &self.watch.is_none())
            .finish_non_exhaustive()
    }
}

/// Why the rest of a request's body will not come: the client went away, or what it sent is no HTTP.
#[derive(Debug)]
pub struct BodyError(hyper::Error);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body ended early")
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
