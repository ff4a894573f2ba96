//! `BreakCalls`: a breaker before a client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::choose::{By, Choose};
use super::classify::{Classify, ErrorsFail};
use super::gate::Gate;
use crate::attempt::CallError;
use crate::breaker::Breaker;
use crate::course::Course;
use crate::transition::Rejected;
use crate::verdict::Verdict;

/// A layer for clients: a call that the breaker refuses fails with [`CallError::Rejected`].
///
/// Nothing of the breaker is reserved in `poll_ready`: a probe is taken by the call itself, and given back when its future is dropped. While the circuit
/// of a layer with one breaker is open `poll_ready` does not wait for the service within; with [`by`](Self::by) it does, for nobody knows the request yet.
/// A service within that reserves something in its own `poll_ready`, such as one place of a limit, keeps it where the circuit opens before the call: until the
/// next call, or until this service is dropped. A service that panics has failed.
///
/// A call that was [turned away](Verdict::TurnedAway) has failed here, also while this process leaves: it was not this process that turned it away.
///
/// # Examples
/// ```
/// use lameduck_breaker::{BreakCalls, Breaker, Breakers, Settings, Verdict};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = Breaker::new("lookup", Settings::new())?;
/// let client = service_fn(async |name: &'static str| Ok::<_, std::io::Error>(name.len()));
/// let client = BreakCalls::new(&breaker).layer(client);
/// assert_eq!(client.oneshot("duck").await?, 4);
/// assert_eq!(breaker.figures().calls, 1);
///
/// // By a key of the request, and with an eye on the answer.
/// let hosts = Breakers::<String>::new("hosts", Settings::new())?;
/// let layer = BreakCalls::by(move |request: &(String, u16)| hosts.of(&request.0))
///     .classify(|answer: Result<&usize, &std::io::Error>| match answer {
///         Ok(0) | Err(_) => Verdict::Failure,
///         Ok(_) => Verdict::Success,
///     });
/// # let _ = layer; Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct BreakCalls<C = Breaker, V = ErrorsFail> {
    choose: C,
    classify: V,
}

impl BreakCalls {
    /// One breaker for all calls; an error is a failure.
    pub fn new(breaker: &Breaker) -> Self {
        Self {
            choose: breaker.clone(),
            classify: ErrorsFail,
        }
    }
}

impl<F> BreakCalls<By<F>> {
    /// The breaker that this function names for a request; `None`: the call is made, and nobody watches it.
    pub const fn by<Request>(choose: F) -> Self
    where
        F: Fn(&Request) -> Option<Breaker>,
    {
        Self {
            choose: By(choose),
            classify: ErrorsFail,
        }
    }
}

impl<C, V> BreakCalls<C, V> {
    /// Says what came of a call otherwise.
    pub fn classify<W>(self, classify: W) -> BreakCalls<C, W> {
        BreakCalls {
            choose: self.choose,
            classify,
        }
    }
}

impl<S, C: Clone, V: Clone> Layer<S> for BreakCalls<C, V> {
    type Service = BreakCallsService<S, C, V>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakCallsService {
            inner,
            gate: Gate::new(self.choose.clone()),
            classify: self.classify.clone(),
        }
    }
}

/// The service of [`BreakCalls`].
#[derive(Clone, Debug)]
pub struct BreakCallsService<S, C = Breaker, V = ErrorsFail> {
    inner: S,
    gate: Gate<C>,
    classify: V,
}

/// What turned a client away is who was called, and never the service that leaves.
const fn of_another(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::TurnedAway => Verdict::Failure,
        other => other,
    }
}

impl<S, C, V, Request> Service<Request> for BreakCallsService<S, C, V>
where
    S: Service<Request>,
    C: Choose<Request>,
    V: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = BreakCallsFuture<S::Future, V>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let (inner, classify) = (&mut self.inner, &self.classify);
        let ready = self.gate.poll_ready::<Request, _>(
            cx,
            |cx| inner.poll_ready(cx),
            |error| of_another(classify.classify(Err(error))),
        );
        ready.map_err(CallError::Failed)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (answer, course) = match self.gate.admit(&request) {
            Ok(attempt) => {
                let mut course = Course::begin(attempt);
                let answer = course.enter(|| self.inner.call(request));
                (Answer::Of { answer }, course)
            }
            Err(rejected) => {
                let rejected = Some(rejected);
                (Answer::Refused { rejected }, Course::begin(None))
            }
        };
        BreakCallsFuture {
            answer,
            course,
            classify: self.classify.clone(),
        }
    }
}

pin_project! {
    /// The future of [`BreakCallsService`].
    ///
    /// # Cancel safety
    /// Dropped, it drops the call, which counts as nothing; a probe may be made by another.
    #[derive(Debug)]
    pub struct BreakCallsFuture<F, V> {
        #[pin]
        answer: Answer<F>,
        course: Course,
        classify: V,
    }
}

pin_project! {
    #[project = AnswerProjection]
    #[derive(Debug)]
    enum Answer<F> {
        Of { #[pin] answer: F },
        Refused { rejected: Option<Rejected> },
    }
}

impl<F, V, T, E> Future for BreakCallsFuture<F, V>
where
    F: Future<Output = Result<T, E>>,
    V: Classify<T, E>,
{
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.answer.project() {
            AnswerProjection::Refused { rejected } => {
                let rejected = rejected.take().expect("a future is polled to its end once");
                Poll::Ready(Err(CallError::Rejected(rejected)))
            }
            AnswerProjection::Of { answer } => {
                let (course, classify) = (this.course, this.classify);
                let (answer, verdict) = ready!(course.enter(|| {
                    answer.poll(cx).map(|answer| {
                        let verdict = of_another(classify.classify(answer.as_ref()));
                        (answer, verdict)
                    })
                }));
                course.report(verdict);
                Poll::Ready(answer.map_err(CallError::Failed))
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settings::Settings;
    use crate::transition::State;
    use crate::verdict::Fault;

    #[test]
    fn an_upstream_that_turns_a_client_away_is_not_excused_by_our_leaving() {
        let settings = Settings::new()
            .failures_in_a_row(1)
            .excuse(Arc::new(|fault| fault == Fault::TurnedAway));
        let breaker = Breaker::new("upstream", settings).expect("settings that fit");
        let upstream = tower::service_fn(async |()| Ok::<_, ()>(503));
        let layer = BreakCalls::new(&breaker).classify(|_: Result<&u16, &()>| Verdict::TurnedAway);
        let mut call = std::pin::pin!(layer.layer(upstream).call(()));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(503)));
        assert_eq!(breaker.state(), State::Open);
    }
}
