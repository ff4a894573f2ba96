//! The body of a request, as handlers get it.
//!
//! Owns the newtype around the bodies of hyper and h2, so that their versions are not part of this crate's API, and the notes that tell a
//! stalled upload from a handler that is busy.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::h2::RecvStream;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::server::exchange::BoxError;
use crate::server::watch::Watch;

/// The body of a request that is being read from a connection.
///
/// Read it with `http_body_util::BodyExt` or an axum extractor. Dropping it before its end is fine: the response is still delivered, and the connection ends with it.
pub struct Body {
    source: Source,
    /// None for a request without a body.
    watch: Option<Arc<Watch>>,
}

#[derive(Debug)]
enum Source {
    Http1(Incoming),
    Http2(Upload),
    /// A tunnel has no body.
    Empty,
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self {
            source: Source::Empty,
            watch: None,
        }
    }

    pub(crate) fn http1(incoming: Incoming, watch: &Arc<Watch>) -> Self {
        Self::watched(Source::Http1(incoming), watch)
    }

    /// `length` is what the request's head promised.
    pub(crate) fn http2(stream: RecvStream, length: Option<u64>, watch: &Arc<Watch>) -> Self {
        Self::watched(
            Source::Http2(Upload {
                stream,
                left: length,
                trailers: false,
            }),
            watch,
        )
    }

    fn watched(source: Source, watch: &Arc<Watch>) -> Self {
        let watch = (!source.is_end_stream()).then(|| watch.clone());
        if let Some(watch) = &watch {
            watch.upload_open();
        }
        Self { source, watch }
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
        let polled = this.source.poll_frame(cx);
        if let Some(watch) = &this.watch {
            if let (Source::Http2(_), Poll::Ready(Some(Ok(frame)))) = (&this.source, &polled) {
                watch.note_uploaded(frame.data_ref().map_or(0, Bytes::len));
            }
            match &polled {
                Poll::Pending => watch.upload_waiting(),
                Poll::Ready(Some(Ok(_))) if !this.source.is_end_stream() => watch.upload_open(),
                Poll::Ready(_) => {
                    watch.upload_done();
                    this.watch = None;
                }
            }
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(BodyError)))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1(incoming) => incoming.size_hint(),
            Source::Http2(upload) => upload.size_hint(),
            Source::Empty => SizeHint::with_exact(0),
        }
    }
}

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(upload) => upload.stream.is_end_stream(),
            Self::Empty => true,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Http1(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Self::Http2(upload) => upload
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Self::Empty => Poll::Ready(None),
        }
    }
}

/// The body of an HTTP/2 request. What is given out is given back to the client's window at once: whoever asks for a frame has
/// room for it.
#[derive(Debug)]
struct Upload {
    stream: RecvStream,
    /// Of the promised length, what is still to come.
    left: Option<u64>,
    /// The data is over.
    trailers: bool,
}

impl Upload {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ::h2::Error>>> {
        if !self.trailers {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    // Fails only on a stream that is gone, whose end the next poll tells.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.trailers = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
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
pub struct BodyError(BoxError);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body ended early")
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
