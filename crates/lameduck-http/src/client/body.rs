//! The body of a request: one that can be sent again, or one that passes by.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::exchange::BoxError;

/// The body of a request to be sent.
///
/// Empty, or in memory, it can be sent again with its request, if that may be sent again at all; bodies that are longer than
/// [`ClientLimits::replay`](super::ClientLimits::replay) are sent once. One that [streams](Self::streaming) passes by, and is gone when it was begun.
///
/// # Examples
/// ```
/// use lameduck_http::client::Body;
///
/// let empty = Body::from(());
/// let text = Body::from("ten of the blue ones");
/// assert!(empty.is_replayable() && text.is_replayable());
/// # let file = text;
/// assert!(!Body::streaming(file).is_replayable());
/// ```
pub struct Body {
    source: Source,
}

type BoxBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>;

enum Source {
    Whole(Bytes),
    Streaming(BoxBody),
}

impl Body {
    /// A body that is read while it is sent, as fast as the server takes it.
    pub fn streaming<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = Box::pin(Boxed {
            body: Box::pin(body),
        });
        Self {
            source: Source::Streaming(body),
        }
    }

    /// Reads a body into memory so that it can be sent again, if it has no more than `most` bytes and no trailers. A longer one streams, with
    /// what was read of it in front.
    ///
    /// # Errors
    /// That of the body.
    ///
    /// # Cancel safety
    /// Dropped, the body is lost with what was read of it.
    pub async fn buffered<B>(body: B, most: usize) -> Result<Self, BoxError>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = Box::pin(body);
        let mut read = BytesMut::new();
        let next = loop {
            let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
            match frame {
                None => return Ok(Self::from(read.freeze())),
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if read.len() + data.len() <= most => read.extend_from_slice(&data),
                    Ok(data) => break Frame::data(data),
                    Err(trailers) => break trailers,
                },
            }
        };
        let read = Frame::data(read.freeze());
        Ok(Self::streaming(Begun {
            first: vec![next, read],
            rest: body,
        }))
    }

    /// Whether it can be sent more than once.
    #[must_use]
    pub const fn is_replayable(&self) -> bool {
        matches!(self.source, Source::Whole(_))
    }

    /// A copy to be sent, of one that can be sent again and has no more than `most` bytes.
    pub(super) fn copy(&self, most: usize) -> Option<Self> {
        match &self.source {
            Source::Whole(bytes) if bytes.len() <= most => Some(Self::from(bytes.clone())),
            _ => None,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Whole(bytes) => f.debug_tuple("Whole").field(&bytes.len()).finish(),
            Source::Streaming(_) => f.write_str("Streaming"),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::from(())
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self {
            source: Source::Whole(bytes),
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().source {
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Streaming(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Streaming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Streaming(body) => body.size_hint(),
        }
    }
}

/// Any body, with its errors boxed.
struct Boxed<B> {
    body: Pin<Box<B>>,
}

impl<B> HttpBody for Boxed<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.get_mut().body.as_mut().poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body of which something was read already.
struct Begun<B> {
    /// From the last to the first.
    first: Vec<Frame<Bytes>>,
    rest: Pin<Box<B>>,
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Begun<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        match this.first.pop() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => this.rest.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.rest.size_hint();
        let mut read = 0;
        for frame in &self.first {
            match frame.data_ref() {
                Some(data) => read += data.len() as u64,
                // Trailers need a body in chunks.
                None => return SizeHint::default(),
            }
        }
        // The most first: it may not be less than the least.
        if let Some(most) = hint.upper().and_then(|most| most.checked_add(read)) {
            hint.set_upper(most);
            hint.set_lower(hint.lower().saturating_add(read).min(most));
            hint
        } else {
            SizeHint::default()
        }
    }
}

/// When a request's body moved last, since the client began.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// Milliseconds. Relaxed: whoever reads it too early looks again later.
    last: AtomicU64,
    failed: AtomicBool,
    /// Told to fail: the response is there, and nobody waits for the rest to be sent. Pairs with the look after the waker is kept.
    given_up: AtomicBool,
    /// hyper has let go of it. Pairs with the look after whoever waits has enrolled.
    over: AtomicBool,
    ended: Notify,
    waker: Mutex<Option<Waker>>,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            failed: false.into(),
            given_up: false.into(),
            over: false.into(),
            ended: Notify::new(),
            waker: Mutex::default(),
        })
    }

    fn touch(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Whether the body itself gave an error.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether nobody sends it any more.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Resolves when nobody sends it any more.
    pub(super) async fn ended(&self) {
        let mut told = pin!(self.ended.notified());
        told.as_mut().enable();
        if !self.is_over() {
            told.await;
        }
    }

    /// Lets it fail at the next look, so that hyper resets its stream.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        if let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }

    /// Whether it was told to fail; otherwise it is woken when it is.
    fn is_given_up(&self, cx: &Context<'_>) -> bool {
        match &mut *self.waker() {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        self.given_up.load(Ordering::SeqCst)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) body: Body,
    progress: Arc<Progress>,
}

impl Sent {
    pub(super) const fn new(body: Body, progress: Arc<Progress>) -> Self {
        Self { body, progress }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// The body, of a request that came back.
    pub(super) fn into_inner(mut self) -> Body {
        std::mem::take(&mut self.body)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.progress.over.store(true, Ordering::SeqCst);
        self.progress.ended.notify_waiters();
    }
}

/// What hyper is told of a body that nobody waits for.
#[derive(Debug)]
struct Outlived;

impl fmt::Display for Outlived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is over, and its body is not")
    }
}

impl std::error::Error for Outlived {}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.progress.is_given_up(cx) {
            return Poll::Ready(Some(Err(Outlived.into())));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.progress.touch();
        if matches!(frame, Some(Err(_))) {
            this.progress.failed.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
