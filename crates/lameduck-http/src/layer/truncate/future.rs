//! The handler's turn: its response, or the fallback when it is cut before.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::TruncatedBody;
use super::course::Course;
use crate::scope;
use crate::server::exchange::BoxError;

pin_project! {
    /// The response future of [`TruncateService`](super::TruncateService).
    ///
    /// # Cancel safety
    /// As cancel safe as the service within; who holds the [`Truncation`](super::Truncation) is told that the response is over.
    pub struct TruncateFuture<F> {
        // None: it was cut.
        #[pin]
        answer: Option<F>,
        course: Option<Course>,
    }
}

impl<F> TruncateFuture<F> {
    pub(super) const fn new(answer: F, course: Course) -> Self {
        Self {
            answer: Some(answer),
            course: Some(course),
        }
    }
}

impl<F> fmt::Debug for TruncateFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TruncateFuture")
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}

impl<F, R, E> Future for TruncateFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<TruncatedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let answer = this.answer.as_mut().as_pin_mut();
        let answered = answer.expect("a response is given once").poll(cx);
        let course = this.course.as_mut().expect("a response is given once");
        let cut = match answered {
            // An answer that is there is given, however late it is; unless its own application does not want it.
            Poll::Ready(answered) => match (course.is_asked(), answered) {
                (Some(cut), Ok(_)) => cut,
                (_, answered) => {
                    let course = this.course.take().expect("a response is given once");
                    return Poll::Ready(answered.map(|response| {
                        let (head, body) = response.into_parts();
                        let body = TruncatedBody::new(body, &head, course);
                        Response::from_parts(head, body)
                    }));
                }
            },
            Poll::Pending => ready!(course.poll_cut(cx)),
        };
        course.tell(&cut);
        scope::ending(|| this.answer.set(None));
        let fallback = course.fallback(&cut).map(TruncatedBody::fallback);
        *this.course = None;
        Poll::Ready(Ok(fallback))
    }
}
