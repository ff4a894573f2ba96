//! `BreakRequests`: a breaker before an HTTP service, which answers 503 itself.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{BreakBody, Until};
use super::choose::{By, Choose};
use super::classify::Classify;
use super::gate::Gate;
use super::http_outcome::HttpOutcome;
use crate::breaker::Breaker;
use crate::course::Course;
use crate::transition::Rejected;
use crate::verdict::Verdict;

/// A layer for HTTP services: a request that the breaker refuses is answered 503 with `Retry-After` and a JSON body, and goes no further.
///
/// Put it around what may break: a route that needs a database, a proxy's upstream. What counts as a failure says [`HttpOutcome`], unless something
/// else [does](Self::classify). A handler that panics has failed; one whose client went away counts as nothing.
///
/// # Examples
/// ```
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use lameduck_breaker::{BreakRequests, Breaker, Settings};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = Breaker::new("stock", Settings::new())?;
/// let handler = service_fn(async |_: Request<()>| {
///     Ok::<_, std::io::Error>(Response::new(Full::new(bytes::Bytes::from("7"))))
/// });
/// let service = BreakRequests::new(&breaker).json(r#"{"stock":null}"#).layer(handler);
/// breaker.force_open("the example");
/// let answer = service.oneshot(Request::new(())).await?;
/// assert_eq!(answer.status(), 503);
/// assert_eq!(answer.headers()["retry-after"], "5");
/// assert_eq!(answer.into_body().collect().await?.to_bytes(), r#"{"stock":null}"#);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct BreakRequests<C = Breaker, V = HttpOutcome> {
    choose: C,
    classify: V,
    until: Until,
    fallback: Arc<Fallback>,
}

type Fallback = dyn Fn(&Rejected) -> Response<Bytes> + Send + Sync;

impl BreakRequests {
    /// One breaker for all requests.
    pub fn new(breaker: &Breaker) -> Self {
        Self::of(breaker.clone())
    }
}

impl<F> BreakRequests<By<F>> {
    /// The breaker that this function names for a request; `None`: it is served, and nobody watches it.
    pub fn by<B>(choose: F) -> Self
    where
        F: Fn(&Request<B>) -> Option<Breaker>,
    {
        Self::of(By(choose))
    }
}

impl<C> BreakRequests<C> {
    fn of(choose: C) -> Self {
        Self {
            choose,
            classify: HttpOutcome,
            until: Until::default(),
            fallback: Arc::new(unavailable),
        }
    }
}

impl<C, V> BreakRequests<C, V> {
    /// Says what came of a request otherwise.
    pub fn classify<W>(self, classify: W) -> BreakRequests<C, W> {
        BreakRequests {
            choose: self.choose,
            classify,
            until: self.until,
            fallback: self.fallback,
        }
    }

    /// How much of a response counts: its head.
    pub const fn until(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// The body of a refusal: JSON, as it is.
    pub fn json(self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.fallback(move |_| json(body.clone()))
    }

    /// The whole answer of a refusal. It gets a `Retry-After` if it has none.
    pub fn fallback(
        mut self,
        answer: impl Fn(&Rejected) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.fallback = Arc::new(answer);
        self
    }
}

/// The answer that is given when nobody has a better one.
fn unavailable(rejected: &Rejected) -> Response<Bytes> {
    let seconds = seconds(rejected);
    json(format!(r#"{{"error":"unavailable","retry_after":{seconds}}}"#).into())
}

fn json(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whole seconds, as `Retry-After` has them (RFC 9110 §10.2.3): rounded up, so that nobody comes too early.
fn seconds(rejected: &Rejected) -> u64 {
    rejected.retry_after.as_millis().div_ceil(1_000).max(1) as u64
}

/// RFC 9110 §6.4.1; after 101 it is no longer HTTP.
fn has_no_body(status: StatusCode) -> bool {
    let ones = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    status.is_informational() || ones.contains(&status)
}

impl<C: fmt::Debug, V: fmt::Debug> fmt::Debug for BreakRequests<C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakRequests")
            .field("choose", &self.choose)
            .field("classify", &self.classify)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl<S, C: Clone, V: Clone> Layer<S> for BreakRequests<C, V> {
    type Service = BreakRequestsService<S, C, V>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakRequestsService {
            inner,
            gate: Gate::new(self.choose.clone()),
            classify: self.classify.clone(),
            until: self.until,
            fallback: Arc::clone(&self.fallback),
        }
    }
}

/// The service of [`BreakRequests`].
#[derive(Clone)]
pub struct BreakRequestsService<S, C = Breaker, V = HttpOutcome> {
    inner: S,
    gate: Gate<C>,
    classify: V,
    until: Until,
    fallback: Arc<Fallback>,
}

impl<S: fmt::Debug, C, V> fmt::Debug for BreakRequestsService<S, C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakRequestsService")
            .field("inner", &self.inner)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl<S, C, V, B, R> Service<Request<B>> for BreakRequestsService<S, C, V>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
    C: Choose<Request<B>>,
    V: Classify<Response<R>, S::Error> + Clone,
{
    type Response = Response<BreakBody<R>>;
    type Error = S::Error;
    type Future = BreakRequestsFuture<S::Future, V>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let (inner, classify) = (&mut self.inner, &self.classify);
        self.gate.poll_ready::<Request<B>, _>(
            cx,
            |cx| inner.poll_ready(cx),
            |error| classify.classify(Err(error)),
        )
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = match self.gate.admit(&request) {
            Ok(attempt) => {
                let mut course = Course::begin(attempt);
                // What answers HEAD has no body, whatever it looks like (RFC 9110 §9.3.2): nobody will ask for its end.
                let until = match *request.method() {
                    Method::HEAD | Method::CONNECT => Until::HeadIsOut,
                    _ => self.until,
                };
                let answer = course.enter(|| self.inner.call(request));
                Answer::Of {
                    answer,
                    course: Some(course),
                    classify: self.classify.clone(),
                    until,
                }
            }
            Err(rejected) => Answer::Refused {
                response: Some(self.refuse(&rejected)),
            },
        };
        BreakRequestsFuture { answer }
    }
}

impl<S, C, V> BreakRequestsService<S, C, V> {
    fn refuse(&self, rejected: &Rejected) -> Response<Bytes> {
        let mut response = (self.fallback)(rejected);
        let seconds = HeaderValue::from(seconds(rejected));
        let headers = response.headers_mut();
        headers.entry(RETRY_AFTER).or_insert(seconds);
        response
    }
}

pin_project! {
    /// The future of [`BreakRequestsService`].
    ///
    /// # Cancel safety
    /// Dropped, it drops the request's future, which counts as nothing; a probe may be made by another.
    #[derive(Debug)]
    pub struct BreakRequestsFuture<F, V> {
        #[pin]
        answer: Answer<F, V>,
    }
}

pin_project! {
    #[project = AnswerProjection]
    #[derive(Debug)]
    enum Answer<F, V> {
        Of { #[pin] answer: F, course: Option<Course>, classify: V, until: Until },
        Refused { response: Option<Response<Bytes>> },
    }
}

impl<F, V, R, E> Future for BreakRequestsFuture<F, V>
where
    F: Future<Output = Result<Response<R>, E>>,
    V: Classify<Response<R>, E>,
    R: Body,
{
    type Output = Result<Response<BreakBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, course, classify, until) = match self.project().answer.project() {
            AnswerProjection::Refused { response } => {
                let response = response.take().expect("a future is polled to its end once");
                return Poll::Ready(Ok(response.map(BreakBody::fallback)));
            }
            AnswerProjection::Of {
                answer,
                course,
                classify,
                until,
            } => (answer, course, classify, *until),
        };
        let under_way = course.as_mut().expect("a future is polled to its end once");
        let (answer, verdict) = ready!(under_way.enter(|| {
            answer.poll(cx).map(|answer| {
                let verdict = classify.classify(answer.as_ref());
                (answer, verdict)
            })
        }));
        let mut course = course.take().expect("it was there a moment ago");
        let is_bodiless = |response: &Response<R>| has_no_body(response.status());
        let is_over = until == Until::HeadIsOut
            || verdict != Verdict::Success
            || answer.as_ref().map_or(true, is_bodiless);
        if is_over {
            course.report(verdict);
            return Poll::Ready(answer.map(|response| response.map(BreakBody::unwatched)));
        }
        let watched = |body| BreakBody::watched(body, course);
        Poll::Ready(answer.map(|response| response.map(watched)))
    }
}
