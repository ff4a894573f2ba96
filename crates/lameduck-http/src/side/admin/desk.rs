//! From a request to its answer, by the routing table and the rules for visitors.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use lameduck::Lifecycle;

use super::actions::{Action, Asker};
use super::breakers::with_breakers;
use super::events::{Events, Feed, WATCHERS};
use super::routes::{AdminRequest, AdminRoute, Answers, Handler, Needs};
use super::token::Token;
use super::visitor::{self, Hosts, Refusal};
use super::{Debugging, page};
use crate::probes;
use crate::side::role::{Answering, Role, Said, not_allowed, text};

/// What an admin listener answers by.
pub(in crate::side) struct Desk {
    pub(super) hosts: Hosts,
    pub(super) token: Option<Token>,
    pub(super) debug: Debugging,
    pub(super) routes: Vec<AdminRoute>,
    /// What is said of a path that there is not.
    pub(super) no_path: Refusal,
    pub(super) feed: Arc<Feed>,
}

impl Role for Desk {
    fn answer(&self, life: &Lifecycle, request: Request<Incoming>) -> Answering {
        let answering = match self.admit(&request) {
            Ok(route) => self.give(route, life, Asker::with_token(), request),
            Err(denied) => Answering::now(denied.response()),
        };
        let said = answering.said;
        Answering {
            said: Box::pin(async move {
                let mut said = said.await;
                page::protect(said.response.headers_mut());
                said
            }),
            ..answering
        }
    }
}

impl Desk {
    /// The same for somebody whom the kernel has named: no host, no site and no token is asked for.
    #[cfg(feature = "control")]
    pub(in crate::side) fn answer_known(
        &self,
        life: &Lifecycle,
        asker: Asker,
        request: Request<Incoming>,
    ) -> Answering {
        match self.find(&request) {
            Ok(route) => self.give(route, life, asker, request),
            Err(denied) => Answering::now(denied.response()),
        }
    }

    /// What there is to ask for, as "GET /status".
    #[cfg(feature = "control")]
    pub(in crate::side) fn paths(&self) -> impl Iterator<Item = String> {
        let routes = self.routes.iter();
        routes.map(|route| format!("{} {}", route.method, route.path))
    }

    /// The route that it may have.
    fn admit<B>(&self, request: &Request<B>) -> Result<&AdminRoute, Denied> {
        // Before anything else: to a host that is not ours not even a path is given away.
        self.hosts.check(request)?;
        let route = self.find(request)?;
        let headers = request.headers();
        if route.needs == Needs::Token {
            visitor::may_act(headers, self.token.as_ref())?;
        } else {
            visitor::may_see(headers, matches!(route.answers, Answers::Page))?;
        }
        Ok(route)
    }

    /// The route that it asks for.
    fn find<B>(&self, request: &Request<B>) -> Result<&AdminRoute, Denied> {
        let path = request.uri().path();
        let route = self.routes.iter().find(|route| route.path == path);
        let route = route.ok_or(self.no_path)?;
        if route.needs == Needs::Debug && self.debug == Debugging::Off {
            return Err(DEBUG_OFF.into());
        }
        if !route.takes(request.method()) {
            let is_post = route.method == Method::POST;
            return Err(Denied::Method(if is_post { "POST" } else { "GET, HEAD" }));
        }
        Ok(route)
    }

    fn give(
        &self,
        route: &AdminRoute,
        life: &Lifecycle,
        asker: Asker,
        request: Request<Incoming>,
    ) -> Answering {
        match &route.answers {
            Answers::Page => {
                Answering::now(page::page(self.token.is_some()).unwrap_or_else(|error| {
                    let why = format!("no random bytes for the page: {error}\n");
                    text(StatusCode::INTERNAL_SERVER_ERROR, why).map(Bytes::from)
                }))
            }
            Answers::Status => Answering::now(status(life)),
            Answers::Probe => Answering::now(probes::answer(life, request.uri().path())),
            Answers::Events => self.events(request.method()),
            Answers::Does(action) => act(*action, life.clone(), asker, request),
            Answers::Given(handler) => ask(route, handler, life, &request),
        }
    }

    fn events(&self, method: &Method) -> Answering {
        if method == Method::HEAD {
            return Answering::now(stream(Bytes::new()));
        }
        let Some((watching, events)) = self.feed.watch() else {
            let mut full = text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{WATCHERS} are watching already\n"),
            );
            let headers = full.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return Answering::now(full);
        };
        let said = Said {
            response: stream(Body::Stream(Box::pin(Next::of(events)))),
            afterwards: None,
        };
        Answering {
            held: Some(Box::new(watching)),
            said: Box::pin(std::future::ready(said)),
            ..Answering::now(Response::new(Bytes::new()))
        }
    }
}

pub(super) const NO_PATH: Refusal = Refusal {
    status: StatusCode::NOT_FOUND,
    why: "no such path: / is the page, /status its data",
};
#[cfg(feature = "control")]
pub(super) const NO_PATH_HERE: Refusal = Refusal {
    status: StatusCode::NOT_FOUND,
    why: "no such path: GET / lists those that there are",
};
const DEBUG_OFF: Refusal = Refusal {
    status: StatusCode::NOT_FOUND,
    why: "debug endpoints are switched off",
};

/// Why a request gets no route.
enum Denied {
    Refused(Refusal),
    /// It is asked otherwise: the methods that are allowed.
    Method(&'static str),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Denied {
    fn response(&self) -> Response<String> {
        let refusal = match self {
            Self::Refused(refusal) => refusal,
            Self::Method(allowed) => return not_allowed(allowed),
        };
        let mut response = text(refusal.status, format!("{}\n", refusal.why));
        if refusal.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

fn status(life: &Lifecycle) -> Response<String> {
    let json = with_breakers(life, &life.status());
    let mut response = text(StatusCode::OK, json);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn stream<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // For a proxy before it: events are no use in a buffer.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn act(action: Action, life: Lifecycle, asker: Asker, request: Request<Incoming>) -> Answering {
    Answering {
        said: Box::pin(async move {
            let (response, afterwards) = action.run(life, asker, request).await;
            Said {
                response: response.map(|body| Body::Whole(Some(body.into()))),
                afterwards,
            }
        }),
        ..Answering::now(Response::new(Bytes::new()))
    }
}

fn ask<B>(
    route: &AdminRoute,
    handler: &Handler,
    life: &Lifecycle,
    request: &Request<B>,
) -> Answering {
    let answer = handler(AdminRequest {
        life: life.clone(),
        query: request.uri().query().map(str::to_owned),
        headers: request.headers().clone(),
    });
    Answering {
        within: route.within,
        held: None,
        said: Box::pin(async move {
            Said {
                response: answer.await.map(|body| Body::Whole(Some(body))),
                afterwards: None,
            }
        }),
    }
}

type Taking = Pin<Box<dyn Future<Output = (Events, Option<Bytes>)> + Send>>;

/// The next event of a stream, being waited for.
struct Next(Option<Taking>);

impl Next {
    fn of(mut events: Events) -> Self {
        Self(Some(Box::pin(async move {
            let next = events.next().await;
            (events, next)
        })))
    }
}

impl http_body::Body for Next {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(taking) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let Poll::Ready((events, event)) = taking.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        *self = if event.is_some() {
            Self::of(events)
        } else {
            Self(None)
        };
        Poll::Ready(event.map(|event| Ok(Frame::data(event))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// What is told piece by piece.
pub(in crate::side) type Stream =
    Pin<Box<dyn http_body::Body<Data = Bytes, Error = Infallible> + Send>>;

/// The body of an answer.
pub(in crate::side) enum Body {
    Whole(Option<Bytes>),
    Stream(Stream),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => {
                let body = body.take().filter(|body| !body.is_empty());
                Poll::Ready(body.map(|body| Ok(Frame::data(body))))
            }
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}
