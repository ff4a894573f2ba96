//! `RequestHooks`: what is to happen when a request is really over, however it ended.

mod own;
mod work;

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf as _;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use lameduck::{Enrol, EnrolError, Lifecycle, Phase};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use self::own::{HookRefused, OnEnd};
use self::work::{Held, Work};
use super::extent::{declared, has_no_body};
use crate::scope;

/// Runs hooks when a request is over: its response has been handed to the server to the last byte, its client has gone, its handler
/// panicked, or the drain cut it. Every hook runs exactly once for each request, also when the request's future is dropped.
///
/// Put it around a route, a router, or everything. A handler adds hooks of its own request through [`OnEnd`], which it finds in the
/// request's extensions. Hooks run on the task that serves the request and must not block; [`on_end_async`](Self::on_end_async) is for those
/// that have to wait for something. One that panics is noted in the report and disturbs neither the others nor the request.
///
/// A request that is answered with an upgrade (101, or 2xx to an extended CONNECT) is over with that answer: what is spoken after it is no
/// request.
///
/// Works under any server; which requests the drain ended is known under this crate's.
///
/// # Examples
/// ```
/// # fn app(life: &lameduck::Lifecycle) -> axum::Router {
/// use axum::{Extension, Router, routing::get};
/// use lameduck_http::{OnEnd, RequestHooks};
///
/// async fn export(Extension(end): Extension<OnEnd>) -> &'static str {
///     // Only this request's.
///     let _ = end.run(|end| println!("{:?} after {} bytes", end.how, end.bytes));
///     "rows"
/// }
///
/// let hooks = RequestHooks::new(life).on_end(|end| {
///     println!("{} {} {:?} {:?}", end.method, end.uri, end.status, end.how);
/// });
/// Router::new().route("/export", get(export)).layer(hooks)
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequestHooks {
    life: Lifecycle,
    hooks: Vec<Arc<Hook>>,
    work: Option<Arc<Work>>,
}

type Hook = dyn Fn(&RequestEnd) + Send + Sync;

impl fmt::Debug for RequestHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHooks")
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndedBy {
    /// Its response was handed to the server to the last byte. Whether it arrived is more than a layer can know.
    Completed,
    /// The service gave an error instead of a response, or the response's body did.
    Failed,
    /// Its client went away, or a limit of the server ended it, before that.
    ClientGone,
    /// Its handler, or its response's body, panicked.
    Panicked,
    /// The server ended it: at the drain's end, or in its turn, a stream that would never have ended; or a [`Truncate`](crate::Truncate) within
    /// cut it when its client had part of it.
    Cut,
}

/// A request that is over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestEnd {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// How it ended.
    pub how: EndedBy,
    /// The status of its response; `None` if there was none yet.
    pub status: Option<StatusCode>,
    /// How many bytes of its response's body were handed to the server.
    pub bytes: u64,
    /// From the call of the service to the end.
    pub took: Duration,
    /// The phase in which it began.
    pub began_in: Phase,
    /// The phase in which it ended.
    pub ended_in: Phase,
}

impl RequestHooks {
    /// A layer without hooks; those of handlers run.
    pub fn new(life: &Lifecycle) -> Self {
        Self {
            life: life.clone(),
            hooks: Vec::new(),
            work: None,
        }
    }

    /// Runs this hook for every request of the service within.
    pub fn on_end(mut self, hook: impl Fn(&RequestEnd) + Send + Sync + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Spawns this hook for every request of the service within. The shutdown waits for what it spawned with the stop hook of the participant
    /// that is enrolled here: after the last request, inside the reserve, and no longer. It may depend on others, which are stopped after it.
    ///
    /// At most 4,096 are at work at a time, so that a database that hangs does not fill the memory: a request that ends while there are as
    /// many goes without, and that is counted. The stop hook fails with the count, and so says the report.
    ///
    /// ```
    /// # async fn app(life: &lameduck::Lifecycle, db: &lameduck::Worker) -> Result<(), lameduck::EnrolError> {
    /// use lameduck_http::RequestHooks;
    ///
    /// let receipts = life.participate("receipts").after(db);
    /// let hooks = RequestHooks::new(life).on_end_async(receipts, |end| async move {
    ///     println!("{} {:?}", end.uri, end.how); // into the database, say
    /// })?;
    /// # let _ = hooks; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`EnrolError`] of the participant.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn on_end_async<Fut>(
        mut self,
        participant: Enrol,
        hook: impl Fn(RequestEnd) -> Fut + Send + Sync + 'static,
    ) -> Result<Self, EnrolError>
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let work = Work::enrol(participant, self.work.take())?;
        let (spawning, runtime) = (Arc::clone(&work), tokio::runtime::Handle::current());
        let life = self.life.clone();
        self.work = Some(work);
        Ok(self.on_end(move |end| {
            let Some(held) = spawning.begin() else { return };
            let (life, what) = (life.clone(), format!("{} {}", end.method, end.uri.path()));
            let mut work = Box::pin(hook(end.clone()));
            runtime.spawn(async move {
                let _held = held;
                let caught =
                    poll_fn(
                        |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                            Ok(polled) => polled.map(Ok),
                            Err(panic) => Poll::Ready(Err(panic)),
                        },
                    );
                if let Err(panic) = caught.await {
                    note(&life, &what, panic);
                }
            });
        }))
    }
}

/// A request that is under way; its end is told when this is dropped, at the latest.
struct Course {
    layer: RequestHooks,
    on_end: OnEnd,
    /// What the shutdown waits for, if there are hooks that it waits for.
    _held: Option<Held>,
    method: Method,
    uri: Uri,
    began: Duration,
    began_in: Phase,
    status: Option<StatusCode>,
    bytes: u64,
    /// Code that is not ours runs: if that never returns, it panicked.
    inside: bool,
    how: Option<EndedBy>,
    over: bool,
}

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Course {
    fn begin<B>(layer: &RequestHooks, request: &mut Request<B>) -> Self {
        let on_end = OnEnd::within(request.extensions_mut().remove());
        request.extensions_mut().insert(on_end.clone());
        Self {
            on_end,
            _held: layer.work.as_ref().map(Work::hold),
            method: request.method().clone(),
            uri: request.uri().clone(),
            began: layer.life.elapsed(),
            began_in: layer.life.phase(),
            layer: layer.clone(),
            status: None,
            bytes: 0,
            inside: false,
            how: None,
            over: false,
        }
    }

    /// Runs code that is not ours.
    fn enter<R>(&mut self, code: impl FnOnce() -> R) -> R {
        self.inside = true;
        let result = code();
        self.inside = false;
        result
    }

    fn end(&mut self, how: EndedBy) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let end = RequestEnd {
            method: self.method.clone(),
            uri: self.uri.clone(),
            how: match how {
                EndedBy::Panicked => how,
                _ if self.on_end.was_cut() => EndedBy::Cut,
                _ => how,
            },
            status: self.status,
            bytes: self.bytes,
            took: self.layer.life.elapsed().saturating_sub(self.began),
            began_in: self.began_in,
            ended_in: self.layer.life.phase(),
        };
        let own = self.on_end.close();
        for hook in &self.layer.hooks {
            self.run(|| hook(&end));
        }
        for hook in own {
            self.run(|| hook(&end));
        }
    }

    /// This may run while the thread unwinds, where another panic would be the process' last.
    fn run(&self, hook: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(hook)) {
            let what = format!("{} {}", self.method, self.uri.path());
            note(&self.layer.life, &what, panic);
        }
    }
}

/// A hook's panic, as a line for the report.
fn note(life: &Lifecycle, what: &str, panic: Box<dyn Any + Send>) {
    life.note(format!("a hook at the end of {what} panicked"));
    forget(panic);
}

/// What it carries may panic when it is dropped.
fn forget(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        let how = match self.how {
            _ if self.inside || std::thread::panicking() => EndedBy::Panicked,
            Some(how) => how,
            None if scope::is_ending() || self.layer.life.drain().is_ending() => EndedBy::Cut,
            None => EndedBy::ClientGone,
        };
        self.end(how);
    }
}

impl<S> Layer<S> for RequestHooks {
    type Service = RequestHooksService<S>;

    fn layer(&self, inner: S) -> RequestHooksService<S> {
        RequestHooksService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service of [`RequestHooks`].
#[derive(Clone, Debug)]
pub struct RequestHooksService<S> {
    inner: S,
    layer: RequestHooks,
}

impl<S, B, R> Service<Request<B>> for RequestHooksService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<HookedBody<R>>;
    type Error = S::Error;
    type Future = RequestHooksFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut course = Course::begin(&self.layer, &mut request);
        RequestHooksFuture {
            answer: course.enter(|| self.inner.call(request)),
            course: Some(course),
        }
    }
}

pin_project! {
    /// The future of [`RequestHooksService`].
    ///
    /// # Cancel safety
    /// Dropped, it drops the inner future, and the hooks run.
    #[derive(Debug)]
    pub struct RequestHooksFuture<F> {
        #[pin]
        answer: F,
        course: Option<Course>,
    }
}

impl<F, R, E> Future for RequestHooksFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<HookedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(course) = this.course else {
            return this
                .answer
                .poll(cx)
                .map_ok(|response| response.map(|body| HookedBody { body, course: None }));
        };
        let answered = ready!(course.enter(|| this.answer.poll(cx)));
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                course.end(EndedBy::Failed);
                return Poll::Ready(Err(error));
            }
        };
        course.status = Some(response.status());
        let declared = declared(response.headers()).or_else(|| response.body().size_hint().exact());
        let bodiless = has_no_body(&course.method, response.status());
        if bodiless || declared == Some(0) || response.body().is_end_stream() {
            // It is whole once the server has let go of it.
            course.how = Some(EndedBy::Completed);
        }
        let course = this
            .course
            .take()
            .map(|course| Sending { course, declared });
        Poll::Ready(Ok(response.map(|body| HookedBody { body, course })))
    }
}

/// A response under way.
#[derive(Debug)]
struct Sending {
    course: Course,
    /// How long it is, where that is known: a server may stop there without asking for the end.
    declared: Option<u64>,
}

pin_project! {
    /// The response body of [`RequestHooksService`].
    #[derive(Debug)]
    pub struct HookedBody<R> {
        #[pin]
        body: R,
        course: Option<Sending>,
    }
}

impl<R: Body> Body for HookedBody<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let mut this = self.project();
        let Some(sending) = this.course else {
            return this.body.poll_frame(cx);
        };
        let course = &mut sending.course;
        let frame = ready!(course.enter(|| this.body.as_mut().poll_frame(cx)));
        match &frame {
            None => course.end(EndedBy::Completed),
            Some(Err(_)) => course.end(EndedBy::Failed),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                course.bytes += length;
                let is_whole = sending
                    .declared
                    .is_some_and(|declared| course.bytes >= declared);
                if is_whole || frame.is_trailers() || this.body.is_end_stream() {
                    course.how = Some(EndedBy::Completed);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
