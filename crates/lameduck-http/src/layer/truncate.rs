//! `Truncate`: responses that are cut on purpose, so that their clients can tell.
//!
//! | module | owns |
//! |---|---|
//! | this one | the layer, its choices, its service |
//! | `answer` | what is answered when nothing has been sent yet |
//! | `body` | the body that is cut, and how that looks |
//! | `course` | one response under way: who cuts it, and who is told |
//! | `future` | the handler's turn, up to the head of the response |
//! | `terms` | when a response is cut that nobody cuts |

mod answer;
mod body;
mod course;
mod future;
mod terms;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use lameduck::Lifecycle;
use tower_layer::Layer;
use tower_service::Service;

pub use self::body::TruncatedBody;
pub use self::course::Truncation;
pub use self::future::TruncateFuture;

use self::course::Course;
use self::terms::Round;
use crate::cut::Cut;
use crate::server::exchange::BoxError;

/// How long before the drain's end responses are cut: a last answer has to travel, too.
const LEAD: Duration = Duration::from_millis(250);

/// Cuts responses that must not go on, so that their clients can tell, whatever they have of them already.
///
/// A response is cut shortly before the drain would end it ([`lead`](Self::lead)), when it takes longer than allowed
/// ([`after`](Self::after)), when its own handler says so ([`Truncation::cut`]), or together with all others
/// ([`cut_all`](Self::cut_all): by a circuit breaker, or an operator). What its client gets then:
///
/// | under way | its client gets |
/// |---|---|
/// | nothing yet | the [`fallback`](Self::fallback): 503 with `Retry-After`, if nothing else was chosen; for gRPC, a status in a head without a body |
/// | an event stream, between two events | an event `truncated`, whose data says why, and the end of the body |
/// | a gRPC call, between two messages | trailers with a status: 14 (UNAVAILABLE), or 4 (DEADLINE_EXCEEDED) when it took too long |
/// | anything else | a body that does not look whole: HTTP/1.1 without its last chunk or short of its length, HTTP/1.0 a reset, HTTP/2 RST_STREAM with CANCEL, or INTERNAL_ERROR when its own application cut it (RFC 9113 §7); never REFUSED_STREAM, which would promise that nothing was done |
///
/// The handler, or the body, is dropped there; who works for it elsewhere is told by the [`Truncation`] in the request's extensions, and what it
/// still writes goes nowhere. Every cut is counted in the report, as `truncated`, or `fallbacks` where the client got a whole answer instead.
///
/// A response whose end the server is given when its cut is due is whole, and is let; so is a call with its own trailers. A client that reads nothing
/// keeps its server from asking for more of the body: who works for it is told in time, and its connection is left to the server's limits on transfers that
/// stand still.
///
/// Works under any server on tokio; what HTTP/1.0 and HTTP/2 clients see depends on the server, and is as above under this crate's and, for HTTP/2,
/// hyper's.
///
/// # Phases
/// At the drain's end this crate's server ends what is left without a word: the layer's cut comes before. What it ended so was ended by a limit
/// of its own, and does not make the outcome a forced one. Of a drain shorter than four times the lead, the last quarter is taken.
///
/// # Panics
/// Its futures panic outside a tokio runtime with its timer enabled. They go by the lifecycle's clock, which tokio's paused time does not move.
///
/// # Examples
/// ```
/// # fn app(life: &lameduck::Lifecycle) -> axum::Router {
/// use std::time::Duration;
/// use axum::{Extension, Router, routing::get};
/// use lameduck_http::{Truncate, Truncation};
///
/// async fn export(Extension(truncation): Extension<Truncation>) -> &'static str {
///     // Work that goes on elsewhere hears of it.
///     tokio::spawn(async move {
///         if let Some(cut) = truncation.told().await {
///             println!("no longer wanted: {cut}");
///         }
///     });
///     "rows"
/// }
///
/// let truncate = Truncate::new(life).after(Duration::from_secs(30));
/// Router::new().route("/export", get(export)).layer(truncate)
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct Truncate {
    life: Lifecycle,
    after: Option<Duration>,
    lead: Duration,
    fallback: Option<Arc<Fallback>>,
    round: Arc<RwLock<Arc<Round>>>,
}

type Fallback = dyn Fn(&Cut) -> Response<Bytes> + Send + Sync;

impl fmt::Debug for Truncate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Truncate")
            .field("after", &self.after)
            .field("lead", &self.lead)
            .finish_non_exhaustive()
    }
}

impl Truncate {
    /// A layer that cuts 250 ms before the drain's end, and has no other limit.
    pub fn new(life: &Lifecycle) -> Self {
        Self {
            life: life.clone(),
            after: None,
            lead: LEAD,
            fallback: None,
            round: Arc::new(RwLock::new(Arc::new(Round::new()))),
        }
    }

    /// Cuts a response that has not ended this long after its request began, in any phase.
    pub const fn after(mut self, limit: Duration) -> Self {
        self.after = Some(limit);
        self
    }

    /// Cuts this long before the drain's end, or in its last quarter if that is later; zero leaves it to the drain.
    pub const fn lead(mut self, lead: Duration) -> Self {
        self.lead = lead;
        self
    }

    /// Answers with this when nothing has been sent yet, gRPC's calls excepted. It must not block; if it panics, that is the request's panic.
    pub fn fallback(
        mut self,
        fallback: impl Fn(&Cut) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.fallback = Some(Arc::new(fallback));
        self
    }

    /// Cuts everything that is under way now; what begins later is not touched. Copies of the layer are one layer.
    ///
    /// ```
    /// # fn example(life: &lameduck::Lifecycle) {
    /// use lameduck_http::Truncate;
    ///
    /// let truncate = Truncate::new(life);
    /// // Given to whoever watches the database, say:
    /// let switch = truncate.clone();
    /// switch.cut_all("the database is gone");
    /// # }
    /// ```
    pub fn cut_all(&self, why: impl Into<Cow<'static, str>>) {
        let next = Arc::new(Round::new());
        let over = {
            let mut round = self.round.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *round, next)
        };
        over.end(why.into());
    }

    fn round(&self) -> Arc<Round> {
        let round = self.round.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&round)
    }
}

impl<S> Layer<S> for Truncate {
    type Service = TruncateService<S>;

    fn layer(&self, inner: S) -> TruncateService<S> {
        TruncateService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service of [`Truncate`].
#[derive(Clone, Debug)]
pub struct TruncateService<S> {
    inner: S,
    layer: Truncate,
}

impl<S, B, R> Service<Request<B>> for TruncateService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Error: Into<BoxError>>,
{
    type Response = Response<TruncatedBody<R>>;
    type Error = S::Error;
    type Future = TruncateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let course = Course::begin(&self.layer, &mut request);
        TruncateFuture::new(self.inner.call(request), course)
    }
}
