//! What each role answers, and what every answer bears.

use std::future::{Future, ready};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lameduck::Lifecycle;

use super::accept::{Afterwards, PER_CONNECTION};
use super::admin::Body;
use crate::probes;

/// What a side listener is for: what it answers.
pub(super) trait Role: Send + Sync {
    fn answer(&self, life: &Lifecycle, request: Request<Incoming>) -> Answering;

    /// Looks at whoever has connected to a Unix socket; what answers this one, if that is not the same for all.
    fn meet(&self, socket: BorrowedFd<'_>) -> Option<Arc<dyn Role>> {
        let _ = socket;
        None
    }
}

/// What a connection holds while its answer is a stream, which has limits of its own.
pub(super) trait Held: Send + Sync {
    /// Waits until it has gone past them.
    fn stalled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// How a request is being answered.
pub(super) struct Answering {
    /// From the end of the head to the end of the connection.
    pub(super) within: Duration,
    /// It has its own limits.
    pub(super) held: Option<Box<dyn Held>>,
    pub(super) said: Pin<Box<dyn Future<Output = Said> + Send>>,
}

/// An answer.
pub(super) struct Said {
    pub(super) response: Response<Body>,
    pub(super) afterwards: Option<Afterwards>,
}

impl Answering {
    /// An answer that needs no waiting.
    pub(super) fn now(response: Response<impl Into<Bytes>>) -> Self {
        let response = response.map(|body| Body::Whole(Some(body.into())));
        Self {
            within: PER_CONNECTION,
            held: None,
            said: Box::pin(ready(Said {
                response,
                afterwards: None,
            })),
        }
    }
}

/// The probes.
pub(super) struct Probes;

impl Role for Probes {
    fn answer(&self, life: &Lifecycle, request: Request<Incoming>) -> Answering {
        Answering::now(probe(life, &request))
    }
}

fn probe<B>(life: &Lifecycle, request: &Request<B>) -> Response<String> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_allowed("GET, HEAD");
    }
    probes::answer(life, request.uri().path())
}

/// 405, with what is allowed.
pub(super) fn not_allowed(allowed: &'static str) -> Response<String> {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("only {}\n", allowed.replace(", ", " and ")),
    );
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// A short text response that nobody may cache.
pub(crate) fn text(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
