//! `ExposeDrain`: the drain in the request's extensions.

use std::task::{Context, Poll};

use http::Request;
use lameduck::{Drain, Lifecycle};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a [`Drain`] into the extensions of every request, for handlers that take it from there (axum's `Extension<Drain>`).
///
/// Works under any server; under ours [`drain()`](crate::drain) does without a layer.
#[derive(Clone, Debug)]
pub struct ExposeDrain {
    drain: Drain,
}

impl ExposeDrain {
    /// A layer that exposes the drain of `life`.
    #[must_use]
    pub fn new(life: &Lifecycle) -> Self {
        Self {
            drain: life.drain(),
        }
    }
}

impl<S> Layer<S> for ExposeDrain {
    type Service = ExposeDrainService<S>;

    fn layer(&self, inner: S) -> ExposeDrainService<S> {
        ExposeDrainService {
            inner,
            drain: self.drain.clone(),
        }
    }
}

/// The service of [`ExposeDrain`].
#[derive(Clone, Debug)]
pub struct ExposeDrainService<S> {
    inner: S,
    drain: Drain,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for ExposeDrainService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.drain.clone());
        self.inner.call(request)
    }
}
