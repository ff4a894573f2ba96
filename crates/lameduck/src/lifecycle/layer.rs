//! A tower layer, to keep your own server: every request is counted and waited for until its body has ended, and
//! clients are told to go elsewhere.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Drain, Guard, Lifecycle};
use crate::{driver::Shared, edge::probe::is_health_check};

impl Lifecycle {
    /// A tower layer for a server that you keep.
    ///
    /// Each request is counted, holds a guard until its response body has ended, finds a [`Drain`] in its extensions,
    /// and, from its share of the window's floor on, is answered with `Connection: close` (HTTP/1 only: RFC 9113 §8.2.2
    /// forbids the header in HTTP/2).
    ///
    /// What a layer cannot do is close a connection well: see `lameduck-http` for the sweep of the accept queue, the look
    /// before an idle connection is closed, and the lingering close.
    #[must_use]
    pub fn layer(&self) -> DrainLayer {
        DrainLayer {
            shared: Arc::clone(self.shared()),
        }
    }
}

/// See [`Lifecycle::layer`].
#[derive(Clone, Debug)]
pub struct DrainLayer {
    shared: Arc<Shared>,
}

impl<S> Layer<S> for DrainLayer {
    type Service = DrainService<S>;

    fn layer(&self, inner: S) -> DrainService<S> {
        DrainService {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The service that [`DrainLayer`] makes.
#[derive(Clone)]
pub struct DrainService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> fmt::Debug for DrainService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainService")
            .field("phase", &self.shared.phase())
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for DrainService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<DrainBody<R>>;
    type Error = S::Error;
    type Future = DrainFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> DrainFuture<S::Future> {
        let inflight = self.shared.inflight();
        let agent = request.headers().get(header::USER_AGENT);
        if !is_health_check(request.uri().path(), agent.map(HeaderValue::as_bytes)) {
            inflight.requests.count_one();
        }
        // A refused guard means that the server still serves after its lifecycle has drained; the request is answered.
        let guard = inflight.guards.enter().ok().map(Guard::new);
        let version = request.version();
        request
            .extensions_mut()
            .insert(Drain::new(Arc::clone(&self.shared)));
        DrainFuture {
            inner: self.inner.call(request),
            guard,
            version,
            shared: Arc::clone(&self.shared),
        }
    }
}

pin_project! {
    /// The future of [`DrainService`].
    ///
    /// # Cancel safety
    /// Dropping it drops the request; its guard goes with it.
    #[must_use = "futures do nothing unless polled"]
    pub struct DrainFuture<F> {
        #[pin]
        inner: F,
        guard: Option<Guard>,
        version: Version,
        shared: Arc<Shared>,
    }
}

impl<F> fmt::Debug for DrainFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainFuture")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<F, R, E> Future for DrainFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<DrainBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let http1 = *this.version < Version::HTTP_2;
        if http1
            && response.status() != http::StatusCode::SWITCHING_PROTOCOLS
            && is_steered(this.shared)
        {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let guard = this.guard.take();
        Poll::Ready(Ok(response.map(|body| DrainBody { inner: body, guard })))
    }
}

/// From when on clients are sent away. A layer does not know connections, so requests stand for them: their share of
/// the floor is drawn from the clock.
fn is_steered(shared: &Arc<Shared>) -> bool {
    if !shared.phase().is_leaving() {
        return false;
    }
    if shared.closing.is_fired() {
        return true;
    }
    let now = shared.now();
    // The low bits of the clock, spread over the whole range by an odd constant (the golden ratio's fraction).
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only the low bits are wanted"
    )]
    let draw = (now.as_nanos() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Drain::new(Arc::clone(shared))
        .steer_at(draw)
        .is_some_and(|at| at <= now)
}

pin_project! {
    /// A response body that holds its request's guard until it has ended or is dropped.
    pub struct DrainBody<B> {
        #[pin]
        inner: B,
        guard: Option<Guard>,
    }
}

impl<B> fmt::Debug for DrainBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainBody")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

impl<B: Default> Default for DrainBody<B> {
    fn default() -> Self {
        Self {
            inner: B::default(),
            guard: None,
        }
    }
}

impl<B: Body> Body for DrainBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if frame.is_none() {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
