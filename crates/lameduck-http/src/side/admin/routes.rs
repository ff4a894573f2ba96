//! The routing table of the admin listener: every path, by what it is asked, what it needs, and how long it may take.
//!
//! A new route goes here, or, from outside, into [`Admin::route`](super::Admin::route).

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use lameduck::Lifecycle;

use super::actions::Action;
use super::breakers::Force;
use crate::side::accept::PER_CONNECTION;

/// Paths below it are off unless they were switched on.
const DEBUG: &str = "/debug/";

/// What a request must have beside an allowed host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// That debug endpoints are switched on.
    Debug,
    /// POST, the token, and that no other site sent it.
    Token,
}

/// What answers.
#[derive(Clone)]
pub(in crate::side) enum Answers {
    Page,
    Status,
    Events,
    Probe,
    Does(Action),
    Given(Handler),
}

pub(in crate::side) type Answer = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;
pub(in crate::side) type Handler = Arc<dyn Fn(AdminRequest) -> Answer + Send + Sync>;

/// The routes that every admin listener has.
pub(in crate::side) fn built_in() -> Vec<AdminRoute> {
    let get = |path, answers| AdminRoute::of(Method::GET, path, Needs::Nothing, answers);
    let post = |path, action| {
        let answers = Answers::Does(action);
        AdminRoute::of(Method::POST, path, Needs::Token, answers)
    };
    let mut routes = vec![
        get("/", Answers::Page),
        get("/status", Answers::Status),
        get("/events", Answers::Events),
        post("/drain", Action::Drain),
        post("/cancel", Action::Cancel),
        post("/cut", Action::Cut),
        post("/reload", Action::Reload),
        post("/breakers/open", Action::Breaker(Force::Open)),
        post("/breakers/close", Action::Breaker(Force::Closed)),
        post("/breakers/release", Action::Breaker(Force::Released)),
    ];
    routes.extend(lameduck::PROBE_PATHS.map(|path| get(path, Answers::Probe)));
    routes
}

/// A route of the admin listener beside its own, for [`Admin::route`](super::Admin::route): metrics, a dump.
///
/// Asked by GET (and HEAD), never by another site's page. A path that begins with `/debug/` is answered only where
/// [`Admin::with_debug`](super::Admin::with_debug) was said.
///
/// # Examples
/// ```no_run
/// # async fn run(life: lameduck::Lifecycle) -> Result<(), lameduck_http::ServeError> {
/// use lameduck_http::AdminRoute;
///
/// let version = AdminRoute::get("/version", async |_request| {
///     http::Response::new(bytes::Bytes::from_static(b"1.2.3\n"))
/// });
/// lameduck_http::admin(&life, "127.0.0.1:9000").route(version).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AdminRoute {
    pub(super) method: Method,
    pub(super) path: Cow<'static, str>,
    pub(super) needs: Needs,
    pub(super) within: Duration,
    pub(super) answers: Answers,
}

impl AdminRoute {
    /// Answers GET on `path` by calling `answer`, which has two seconds unless [`within`](Self::within) says more.
    ///
    /// What takes long without waiting (a dump, a profile) belongs on a thread that may block.
    pub fn get<F, Fut>(path: impl Into<Cow<'static, str>>, answer: F) -> Self
    where
        F: Fn(AdminRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<Bytes>> + Send + 'static,
    {
        let path = path.into();
        let needs = if path.starts_with(DEBUG) || path == "/debug" {
            Needs::Debug
        } else {
            Needs::Nothing
        };
        let handler: Handler = Arc::new(move |request| Box::pin(answer(request)));
        Self::of(Method::GET, path, needs, Answers::Given(handler))
    }

    /// How long it may take from the end of the request's head to the end of its answer.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    fn of(
        method: Method,
        path: impl Into<Cow<'static, str>>,
        needs: Needs,
        answers: Answers,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            needs,
            within: PER_CONNECTION,
            answers,
        }
    }

    /// Whether this is how it is asked. HEAD is answered where GET is.
    pub(super) fn takes(&self, method: &Method) -> bool {
        *method == self.method || (*method == Method::HEAD && self.method == Method::GET)
    }
}

impl fmt::Debug for AdminRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminRoute")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("needs", &self.needs)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// What a route is asked.
#[derive(Clone, Debug)]
pub struct AdminRequest {
    pub(super) life: Lifecycle,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
}

impl AdminRequest {
    /// The lifecycle that it is about.
    #[must_use]
    pub const fn life(&self) -> &Lifecycle {
        &self.life
    }

    /// The query, as it came: a peer's bytes, never to be written into an answer unescaped.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The header fields, as they came: at most 16 KiB of a peer's bytes.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a query's parameter, as it came.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(self.query()?, name)
    }
}

/// The value of a query's parameter, as it came.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
