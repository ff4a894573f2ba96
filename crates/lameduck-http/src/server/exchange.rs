//! One request and its response, in any protocol.
//!
//! Owns what happens around the application's service: counting, naming, `close`, late refusal, and the promise that a request that was
//! read gets an answer also when the application fails. Owns the response body wrapper that knows when the response was handed over.

use std::convert::Infallible;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use lameduck::Count;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::ending::{self, Ender};
use super::piece::Piece;
use super::upgrade::Pledge;
use super::watch::Watch;
use crate::body::Body;
use crate::health::is_health_check;
use crate::ws;

/// Any error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What can be served: a tower service from [`Body`] requests to responses, cloned for every request.
///
/// Implemented for every such service (`axum::Router`, [`service_fn`](crate::service_fn), a stack of tower layers); never by hand.
pub trait App:
    Service<
        Request<Body>,
        Response = Response<Self::ResponseBody>,
        Error = Self::Failure,
        Future = Self::Answer,
    > + Clone
    + Send
    + 'static
{
    /// The body that it answers with.
    type ResponseBody: HttpBody<Data: Send, Error: Into<BoxError>> + Send + 'static;
    /// How it fails; a failure is answered with 500.
    type Failure: Into<BoxError>;
    /// The future of its response.
    type Answer: Future<Output = Result<Response<Self::ResponseBody>, Self::Failure>>
        + Send
        + 'static;
}

impl<S, B> App for S
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type ResponseBody = B;
    type Failure = S::Error;
    type Answer = S::Future;
}

/// The service that hyper sees: the application of one HTTP/1.1 connection.
#[derive(Debug)]
pub(crate) struct Exchange<A> {
    app: A,
    watch: Arc<Watch>,
}

impl<A> Exchange<A> {
    pub(crate) fn new(app: A, watch: Arc<Watch>) -> Self {
        Self { app, watch }
    }
}

impl<A> Exchange<A> {
    pub(crate) fn into_app(self) -> A {
        self.app
    }
}

impl<A: App> hyper::service::Service<Request<Incoming>> for Exchange<A> {
    type Response = Response<Outgoing<A::ResponseBody>>;
    type Error = Infallible;
    type Future = Responding<A>;

    fn call(&self, request: Request<Incoming>) -> Responding<A> {
        let watch = &self.watch;
        if request.version() == Version::HTTP_10 {
            watch.note_close_delimited();
        }
        let mut request = request.map(|incoming| Body::http1(incoming, watch));
        let pledge = Pledge::of(&mut request, watch);
        // The handler sees its upgrade to be while it is polled, and only then.
        let call = match &pledge {
            None => Call::AtOnce,
            Some(_) => Call::WhenPolled,
        };
        respond(&self.app, watch, request, pledge, call)
    }
}

/// When the application's service is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// By the caller, if it is ready: the request is not stored first.
    AtOnce,
    /// By whoever polls the response first.
    WhenPolled,
}

/// Hands a request to the application, counted and named. `watch` is the request's own for as long as it lasts.
pub(crate) fn respond<A: App>(
    app: &A,
    watch: &Arc<Watch>,
    mut request: Request<Body>,
    pledge: Option<Box<Pledge>>,
    call: Call,
) -> Responding<A> {
    if let Some(introduced) = watch.introduced() {
        introduced.to(request.extensions_mut());
    }
    let shared = &watch.shared;
    let is_get = request.method() == Method::GET;
    watch.begin();
    watch.slot.begin(
        request.method().as_str(),
        request.uri().path(),
        shared.life.elapsed(),
    );
    if !shared.drain.is_inner() && !is_health_check(&request) {
        shared.life.inflight().requests.count_one();
    }
    let step = if watch.is_late() {
        shared.tally(Count::LateRefused);
        Step::failed(Failed::Refused)
    } else {
        match call {
            Call::AtOnce => Step::call(app.clone(), request),
            Call::WhenPolled => Step::waiting(app.clone(), request),
        }
    };
    Responding {
        step,
        is_get,
        open: Some(Open {
            watch: watch.clone(),
            whole: false,
        }),
        pledge,
    }
}

/// Ends the exchange in the connection's notes when it goes away, however it goes.
#[derive(Debug)]
struct Open {
    watch: Arc<Watch>,
    /// The response has ended by itself. Kept after T only, for the figures.
    whole: bool,
}

impl Open {
    /// Before T: one load, as in [`say_close`].
    fn note_end(&mut self, is_end: impl FnOnce() -> bool) {
        if self.watch.shared.drain.is_steering() {
            self.whole = is_end();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watch.finish();
        let shared = &self.watch.shared;
        if self.whole {
            shared.tally(Count::Served);
        } else if shared.drain.is_ending() {
            shared.tally(Count::RequestCut);
        }
    }
}

pin_project! {
    /// The future of one response; it never fails.
    pub(crate) struct Responding<A: App> {
        #[pin]
        step: Step<A, A::Answer>,
        is_get: bool,
        open: Option<Open>,
        // For a request that asks for an upgrade.
        pledge: Option<Box<Pledge>>,
    }
}

pin_project! {
    #[project = StepOf]
    enum Step<A, F> {
        Waiting { app: A, request: Option<Request<Body>> },
        Running { #[pin] answer: F },
        Failed { failed: Option<Failed> },
    }
}

impl<A: App> Future for Responding<A> {
    type Output = Result<Response<Outgoing<A::ResponseBody>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A panic ends this request, not the connection's other promises: what panicked is dropped below and never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let this = self.as_mut().project();
            match this.pledge {
                None => this.step.advance(cx),
                Some(pledge) => ws::with(pledge.turn(), || this.step.advance(cx)),
            }
        }));
        let answered = match polled {
            Ok(step) => ready!(step),
            Err(_payload) => Err(Failed::Panicked),
        };
        let this = self.project();
        let pledge = this.pledge.take();
        let mut open = this.open.take().expect("a response is given once");
        let watch = open.watch.clone();
        let mut response = match answered {
            Ok(response) => {
                let ender = ending::ender(&response, &watch, *this.is_get);
                open.note_end(|| response.body().is_end_stream());
                response.map(|body| Outgoing {
                    body: Some(body),
                    ender,
                    open,
                })
            }
            Err(failed) => {
                open.note_end(|| !matches!(failed, Failed::Refused));
                failed.response(&watch).map(|()| Outgoing {
                    body: None,
                    ender: None,
                    open,
                })
            }
        };
        match pledge.and_then(|pledge| pledge.granted_by(&response)) {
            Some(pledge) => watch.grant(pledge),
            None => say_close(&mut response, &watch),
        }
        Poll::Ready(Ok(response))
    }
}

enum Failed {
    Refused,
    Error,
    Panicked,
}

impl Failed {
    /// The answer in the application's stead. Its connection ends: what the application read of the body is unknown.
    fn response(self, watch: &Watch) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = match self {
            Self::Refused => StatusCode::SERVICE_UNAVAILABLE,
            Self::Error => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Panicked => {
                watch.shared.tally(Count::Panicked);
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        if !watch.is_http2() {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl<A: App> Step<A, A::Answer> {
    const fn waiting(app: A, request: Request<Body>) -> Self {
        Self::Waiting {
            app,
            request: Some(request),
        }
    }

    /// Calls the application, if it is ready for that; otherwise it is asked again by whoever polls.
    fn call(mut app: A, request: Request<Body>) -> Self {
        // As in `poll`: a panic ends this request alone.
        let called = catch_unwind(AssertUnwindSafe(|| {
            match app.poll_ready(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(())) => Self::Running {
                    answer: app.call(request),
                },
                Poll::Ready(Err(_)) => Self::failed(Failed::Error),
                Poll::Pending => Self::waiting(app, request),
            }
        }));
        called.unwrap_or_else(|_payload| Self::failed(Failed::Panicked))
    }

    const fn failed(failed: Failed) -> Self {
        Self::Failed {
            failed: Some(failed),
        }
    }

    fn advance(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<A::ResponseBody>, Failed>> {
        loop {
            match self.as_mut().project() {
                StepOf::Waiting { app, request } => {
                    if ready!(app.poll_ready(cx)).is_err() {
                        return Poll::Ready(Err(Failed::Error));
                    }
                    let request = request.take().expect("a service is called once");
                    let answer = app.call(request);
                    self.set(Self::Running { answer });
                }
                StepOf::Running { answer } => {
                    return answer
                        .poll(cx)
                        .map(|answered| answered.map_err(|_| Failed::Error));
                }
                StepOf::Failed { failed } => {
                    let failed = failed.take().expect("a service fails once");
                    return Poll::Ready(Err(failed));
                }
            }
        }
    }
}

/// Adds `Connection: close` when it is this HTTP/1.1 connection's time to go. Before T and without an age limit: one atomic load.
fn say_close<B>(response: &mut Response<B>, watch: &Watch) {
    let shared = &watch.shared;
    let is_asked = shared.drain.is_steering();
    if watch.is_http2()
        || response.status() == StatusCode::SWITCHING_PROTOCOLS
        || !(is_asked || shared.limits.age.is_some())
    {
        return;
    }
    let is_steered = is_asked && (shared.drain.is_closing() || shared.is_steered(watch.spread));
    let is_aged = || {
        watch
            .aged_at()
            .is_some_and(|at| shared.life.elapsed() >= at)
    };
    if is_steered || is_aged() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        if is_steered && watch.note_steered() {
            shared.tally(Count::Steered);
        }
    }
}

pin_project! {
    /// The response's body, which notes its own end, and is ended when it would have none.
    #[derive(Debug)]
    pub(crate) struct Outgoing<B> {
        // None: an empty answer in the application's stead, or a body that was ended.
        #[pin]
        body: Option<B>,
        // None for all but streams that are ended by us.
        ender: Option<Box<Ender>>,
        open: Open,
    }
}

impl<B: HttpBody<Error: Into<BoxError>>> HttpBody for Outgoing<B> {
    type Data = Piece<B::Data>;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>> {
        let mut this = self.as_mut().project();
        // A panic ends this response, so that it does not look whole; what panicked is dropped and never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if let Some(ender) = this.ender {
                return ender.poll_frame(this.body.as_mut(), &this.open.watch, cx);
            }
            match this.body.as_mut().as_pin_mut() {
                Some(body) => body.poll_frame(cx).map(|given| {
                    given.map(|frame| {
                        frame
                            .map(|frame| frame.map_data(Piece::Whole))
                            .map_err(Into::into)
                    })
                }),
                None => Poll::Ready(None),
            }
        }));
        let polled = polled.unwrap_or_else(|_payload| {
            this.open.watch.shared.tally(Count::Panicked);
            this.body.set(None);
            Poll::Ready(Some(Err("the response's body panicked".into())))
        });
        let this = self.project();
        match &polled {
            Poll::Ready(None) => this.open.note_end(|| true),
            Poll::Ready(Some(Ok(_))) => this.open.note_end(|| match this.ender {
                Some(ender) => ender.is_end(this.body.as_ref().get_ref().as_ref()),
                None => (this.body.as_ref().get_ref().as_ref()).is_none_or(HttpBody::is_end_stream),
            }),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.ender {
            Some(ender) => ender.is_end(self.body.as_ref()),
            None => self.body.as_ref().is_none_or(HttpBody::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
