//! `EndStreams`: how the responses of a route end, said from outside their handlers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::server::ending::Ending;

/// Chooses the [`Ending`] of every response of the service within that has not chosen one itself.
///
/// Put it around one route (axum's `.layer` on a `MethodRouter`), a router, or one gRPC service (tonic's
/// `named_layer`). Read by this crate's server only.
///
/// # Examples
/// ```
/// use axum::{Router, routing::get};
/// use lameduck_http::{EndStreams, Ending};
/// # async fn rows() {}
/// # async fn import() {}
///
/// let app: Router = Router::new()
///     // Each frame is a line of JSON.
///     .route("/rows", get(rows).layer(EndStreams::new(Ending::AtFrame)))
///     // An event stream with an end of its own, which is waited for.
///     .route("/import", get(import).layer(EndStreams::new(Ending::Never)));
/// # let _ = app;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EndStreams {
    ending: Ending,
}

impl EndStreams {
    /// A layer that chooses `ending`.
    #[must_use]
    pub const fn new(ending: Ending) -> Self {
        Self { ending }
    }
}

impl<S> Layer<S> for EndStreams {
    type Service = EndStreamsService<S>;

    fn layer(&self, inner: S) -> EndStreamsService<S> {
        EndStreamsService {
            inner,
            ending: self.ending,
        }
    }
}

/// The service of [`EndStreams`].
#[derive(Clone, Copy, Debug)]
pub struct EndStreamsService<S> {
    inner: S,
    ending: Ending,
}

impl<S, Q, B> Service<Request<Q>> for EndStreamsService<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = EndStreamsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        EndStreamsFuture {
            answer: self.inner.call(request),
            ending: self.ending,
        }
    }
}

pin_project! {
    /// The response future of [`EndStreams`].
    ///
    /// # Cancel safety
    /// As cancel safe as the service within.
    #[derive(Debug)]
    pub struct EndStreamsFuture<F> {
        #[pin]
        answer: F,
        ending: Ending,
    }
}

impl<F, B, E> Future for EndStreamsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(cx))?;
        response.extensions_mut().get_or_insert(*this.ending);
        Poll::Ready(Ok(response))
    }
}
