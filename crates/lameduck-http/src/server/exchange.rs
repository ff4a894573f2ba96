//! One request and its response, in any protocol.
//!
//! Owns what happens around the application's service: counting, naming, `close`, late refusal, and the promise that a request that was
//! read gets an answer also when the application fails. Owns the response body wrapper that knows when the response was handed over.

use std::convert::Infallible;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use lameduck::{Count, Why};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::ending::{self, Ender};
use super::piece::Piece;
use super::upgrade::Pledge;
use super::watch::Watch;
use crate::body::Body;
use crate::health::is_health_check;
use crate::scope;
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
pub(crate) struct Exchange<A: App> {
    app: A,
    watch: Arc<Watch>,
    room: Room<A>,
}

impl<A: App> Exchange<A> {
    pub(crate) fn new(app: A, watch: Arc<Watch>) -> Self {
        Self {
            app,
            watch,
            room: Room::default(),
        }
    }

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
        let is_pledged = pledge.is_some();
        let work = Work::begin(watch, &mut request, pledge, watch.shared.now());
        let mut place = self.room.take();
        if is_pledged {
            // The handler sees its upgrade to be while it is polled, and only then.
            place.set(Some(Step::new(&self.app, request, watch)));
        } else {
            Step::call(place.as_mut(), &self.app, request, watch);
        }
        Responding {
            place: Some(place),
            room: self.room.clone(),
            work,
        }
    }
}

/// Where the handlers of one HTTP/1.1 connection work, one after the other. hyper stores the future of each response after several copies; what it is given is
/// a pointer to this, and a handler is written to its place once.
struct Room<A: App>(Arc<Mutex<Option<Place<A>>>>);

type Place<A> = Pin<Box<Option<Step<A, <A as App>::Answer>>>>;

impl<A: App> Room<A> {
    fn take(&self) -> Place<A> {
        self.lock().take().unwrap_or_else(|| Box::pin(None))
    }

    fn give_back(&self, place: Place<A>) {
        *self.lock() = Some(place);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Place<A>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: App> Clone for Room<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: App> Default for Room<A> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// One request that the application works on, beside the work itself.
#[derive(Debug)]
pub(crate) struct Work {
    is_get: bool,
    open: Option<Open>,
    // For a request that asks for an upgrade.
    pledge: Option<Box<Pledge>>,
}

impl Work {
    /// A request begins `now`: it is counted and named. `watch` is the request's own for as long as it lasts.
    pub(crate) fn begin(
        watch: &Arc<Watch>,
        request: &mut Request<Body>,
        pledge: Option<Box<Pledge>>,
        now: Duration,
    ) -> Self {
        if let Some(introduced) = watch.introduced() {
            introduced.to(request.extensions_mut());
        }
        let shared = &watch.shared;
        watch.begin();
        watch
            .slot
            .begin(request.method().as_str(), request.uri().path(), now);
        if !shared.drain.is_inner() && !is_health_check(request) {
            shared.life.inflight().requests.count_one();
        }
        Self {
            is_get: request.method() == Method::GET,
            open: Some(Open {
                watch: watch.clone(),
                whole: false,
                cut: false,
            }),
            pledge,
        }
    }

    /// Goes on with `step`; gives the response that it comes to, which is never none for want of a handler.
    pub(crate) fn poll<A: App>(
        &mut self,
        mut step: Pin<&mut Step<A, A::Answer>>,
        cx: &mut Context<'_>,
    ) -> Poll<Response<Outgoing<A::ResponseBody>>> {
        // A panic ends this request, not the connection's other promises: what panicked is dropped by the caller and never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| match &self.pledge {
            None => step.as_mut().advance(cx),
            Some(pledge) => ws::with(pledge.turn(), || step.as_mut().advance(cx)),
        }));
        let answered = match polled {
            Ok(step) => ready!(step),
            Err(_payload) => Err(Failed::Panicked),
        };
        let pledge = self.pledge.take();
        let mut open = self.open.take().expect("a response is given once");
        let watch = open.watch.clone();
        let mut response = match answered {
            Ok(response) => {
                let ender = ending::ender(&response, &watch, self.is_get);
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
        Poll::Ready(response)
    }
}

/// Ends the exchange in the connection's notes when it goes away, however it goes.
#[derive(Debug)]
struct Open {
    watch: Arc<Watch>,
    /// The response has ended by itself. Kept after T only, for the figures, and where a handler asked for the request's cancellation.
    whole: bool,
    /// A layer cut it, and counted that.
    cut: bool,
}

impl Open {
    /// Before T: one load, as in [`say_close`], and one to see that nobody asked.
    fn note_end(&mut self, is_end: impl FnOnce() -> bool) {
        if self.watch.shared.drain.is_steering() || self.watch.is_asked() {
            self.whole = is_end();
        }
    }
}

impl Open {
    /// Why whoever works for the request need not go on.
    fn why(&self) -> Why {
        if self.whole || self.cut {
            Why::Ended
        } else if self.watch.shared.drain.is_ending() {
            Why::DrainEnded
        } else if self.watch.is_client_gone() {
            Why::ClientGone
        } else {
            Why::Ended
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watch.finish();
        if self.watch.is_asked() {
            self.watch.end_request(self.why());
        }
        let shared = &self.watch.shared;
        if self.cut {
            // Counted where it was cut.
        } else if self.whole {
            shared.tally(Count::Served);
        } else if shared.drain.is_ending() {
            shared.tally(Count::RequestCut);
        }
    }
}

/// The future of one response in HTTP/1.1; it never fails.
pub(crate) struct Responding<A: App> {
    /// None only while it is dropped.
    place: Option<Place<A>>,
    room: Room<A>,
    work: Work,
}

impl<A: App> Future for Responding<A> {
    type Output = Result<Response<Outgoing<A::ResponseBody>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let place = this.place.as_mut().expect("taken only by drop").as_mut();
        let step = place.as_pin_mut().expect("somebody works in it");
        this.work.poll(step, cx).map(Ok)
    }
}

impl<A: App> Drop for Responding<A> {
    fn drop(&mut self) {
        if let Some(mut place) = self.place.take() {
            // If the handler's end panics, the next one gets a place of its own.
            place.set(None);
            self.room.give_back(place);
        }
    }
}

pin_project! {
    /// How far the application is.
    #[project = StepOf]
    pub(crate) enum Step<A, F> {
        Waiting { app: A, request: Option<Request<Body>> },
        Running { #[pin] answer: F },
        Failed { failed: Option<Failed> },
    }
}

/// Why an answer is not the application's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failed {
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
    /// The application is called by whoever polls this first, if the request is in time.
    #[inline]
    pub(crate) fn new(app: &A, request: Request<Body>, watch: &Watch) -> Self {
        if watch.is_late() {
            watch.shared.tally(Count::LateRefused);
            return Self::failed(Failed::Refused);
        }
        Self::Waiting {
            app: app.clone(),
            request: Some(request),
        }
    }

    /// The application is called now, if it is ready: its work is written to `place` without the request being stored first.
    fn call(mut place: Pin<&mut Option<Self>>, app: &A, request: Request<Body>, watch: &Watch) {
        // As in `Work::poll`: a panic ends this request alone.
        let called = catch_unwind(AssertUnwindSafe(|| {
            if watch.is_late() {
                return place.set(Some(Self::new(app, request, watch)));
            }
            let mut app = app.clone();
            match app.poll_ready(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(())) => {
                    let answer = app.call(request);
                    place.set(Some(Self::Running { answer }));
                }
                Poll::Ready(Err(_)) => place.set(Some(Self::failed(Failed::Error))),
                Poll::Pending => place.set(Some(Self::Waiting {
                    app,
                    request: Some(request),
                })),
            }
        }));
        if called.is_err() {
            place.set(Some(Self::failed(Failed::Panicked)));
        }
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
    let is_aged = || watch.aged_at().is_some_and(|at| shared.now() >= at);
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
        // What another server's response left behind on this thread is not about this one.
        let _ = scope::take_cut();
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
        this.open.cut |= scope::take_cut();
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
