//! `SnapshotHealth`: how the process was doing when each answer began.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use lameduck::{Health, Lifecycle};
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tower_layer::Layer;
use tower_service::Service;

/// Hands an observer a [`HealthSnapshot`] of every request, taken once, when its response's head is ready to be written.
///
/// For a log line or a histogram of what the process held when it answered. It costs a few atomic loads a request; what the system tells is
/// read at most once a second ([`Lifecycle::health`]). Without the layer it costs nothing. Works under any server.
///
/// # Examples
/// ```
/// # fn app(life: &lameduck::Lifecycle) -> axum::Router {
/// use lameduck_http::SnapshotHealth;
///
/// let slow = SnapshotHealth::new(life, |seen| {
///     if seen.took.as_secs() >= 1 {
///         eprintln!("{} after {:?} with {:?}", seen.status, seen.took, seen.health);
///     }
/// });
/// axum::Router::new().layer(slow)
/// # }
/// ```
#[derive(Clone)]
pub struct SnapshotHealth {
    inner: Arc<Inner>,
}

struct Inner {
    life: Lifecycle,
    observer: Box<dyn Fn(&HealthSnapshot) + Send + Sync>,
}

/// A request that was answered, and the process at that instant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthSnapshot {
    /// The status of the response.
    pub status: StatusCode,
    /// From the call of the service to its answer.
    pub took: Duration,
    /// The process.
    pub health: Health,
}

impl SnapshotHealth {
    /// A layer that calls `observer` with each request's snapshot, on the task that answers: it must not block.
    #[must_use]
    pub fn new(
        life: &Lifecycle,
        observer: impl Fn(&HealthSnapshot) + Send + Sync + 'static,
    ) -> Self {
        let inner = Inner {
            life: life.clone(),
            observer: Box::new(observer),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn observe(&self, began: Duration, status: StatusCode) {
        let mut health = self.inner.life.health();
        health.tasks = Handle::try_current()
            .ok()
            .map(|runtime| runtime.metrics().num_alive_tasks() as u64);
        (self.inner.observer)(&HealthSnapshot {
            status,
            took: health.uptime.saturating_sub(began),
            health,
        });
    }
}

impl fmt::Debug for SnapshotHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotHealth").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for SnapshotHealth {
    type Service = SnapshotHealthService<S>;

    fn layer(&self, inner: S) -> SnapshotHealthService<S> {
        SnapshotHealthService {
            inner,
            snapshot: self.clone(),
        }
    }
}

/// The service of [`SnapshotHealth`].
#[derive(Clone, Debug)]
pub struct SnapshotHealthService<S> {
    inner: S,
    snapshot: SnapshotHealth,
}

impl<S, B, R> Service<Request<B>> for SnapshotHealthService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SnapshotHealthFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        SnapshotHealthFuture {
            began: self.snapshot.inner.life.elapsed(),
            answer: self.inner.call(request),
            snapshot: self.snapshot.clone(),
        }
    }
}

pin_project! {
    /// The future of [`SnapshotHealthService`].
    ///
    /// # Cancel safety
    /// Dropped, it drops the inner future, and no snapshot is taken.
    #[derive(Debug)]
    pub struct SnapshotHealthFuture<F> {
        #[pin]
        answer: F,
        began: Duration,
        snapshot: SnapshotHealth,
    }
}

impl<F, R, E> Future for SnapshotHealthFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = ready!(this.answer.poll(cx));
        if let Ok(response) = &answered {
            this.snapshot.observe(*this.began, response.status());
        }
        Poll::Ready(answered)
    }
}
