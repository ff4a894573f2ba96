//! The body of a response: the service's own, followed to its end where that is wanted, or the fallback.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::http_outcome::of_grpc;
use crate::course::Course;
use crate::verdict::Verdict;

/// How much of a response counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Until {
    /// Its head: what comes later is not looked at.
    #[default]
    HeadIsOut,
    /// All of it: a body that fails is a failure, and the time that it takes counts as the call's. A probe takes that long too. Not for event streams and
    /// their like; one whose client goes away counts as nothing.
    ///
    /// Its time is that to the head, and that for which the body had nothing to give. What a slow client takes to read what there is does not count.
    BodyEnds,
}

pin_project! {
    /// The response body of [`BreakRequests`](crate::BreakRequests).
    #[derive(Debug)]
    pub struct BreakBody<R> {
        #[pin]
        inner: Inner<R>,
        watched: Option<Watched>,
    }
}

pin_project! {
    #[project = InnerProjection]
    #[derive(Debug)]
    enum Inner<R> {
        Of { #[pin] body: R },
        Fallback { body: Option<Bytes> },
    }
}

/// A body that counts.
#[derive(Debug)]
struct Watched {
    course: Course,
    /// How much data is still to come, where that is known. Trailers may follow the last of it, or a server may stop there without asking for the end.
    left: Option<u64>,
    /// Since when nobody asks for more, where that matters: it is not the service that takes this time.
    unasked_since: Option<u64>,
}

impl<R: Body> BreakBody<R> {
    pub(super) fn fallback(body: Bytes) -> Self {
        let body = Some(body).filter(|body| !body.is_empty());
        Self {
            inner: Inner::Fallback { body },
            watched: None,
        }
    }

    pub(super) fn unwatched(body: R) -> Self {
        Self {
            inner: Inner::Of { body },
            watched: None,
        }
    }

    /// Reports a success when it has ended, or what came instead.
    pub(super) fn watched(body: R, mut course: Course) -> Self {
        if body.is_end_stream() {
            course.report(Verdict::Success);
            return Self::unwatched(body);
        }
        let watched = Watched {
            left: body.size_hint().exact(),
            unasked_since: course.time(),
            course,
        };
        Self {
            inner: Inner::Of { body },
            watched: Some(watched),
        }
    }
}

impl<R> Body for BreakBody<R>
where
    R: Body,
    R::Data: From<Bytes>,
{
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let this = self.project();
        let mut body = match this.inner.project() {
            InnerProjection::Fallback { body } => {
                let data = body.take().map(R::Data::from);
                return Poll::Ready(data.map(|data| Ok(Frame::data(data))));
            }
            InnerProjection::Of { body } => body,
        };
        let Some(watched) = this.watched else {
            return body.poll_frame(cx);
        };
        // While it has nothing to give it is the service that takes its time; between two frames it is whoever reads them.
        watched.is_asked();
        let frame = ready!(watched.course.enter(|| body.as_mut().poll_frame(cx)));
        let verdict = watched.verdict(&frame, body.is_end_stream());
        if let Some(verdict) = verdict {
            watched.course.report(verdict);
            *this.watched = None;
        } else {
            watched.unasked_since = watched.course.time();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Of { body } => body.is_end_stream(),
            Inner::Fallback { body } => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Of { body } => body.size_hint(),
            Inner::Fallback { body } => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
        }
    }
}

impl Watched {
    /// Somebody asks for more, or never will.
    fn is_asked(&mut self) {
        if let Some(since) = self.unasked_since.take() {
            self.course.leave_out(since);
        }
    }

    /// What this frame says, if it says anything.
    fn verdict<D: bytes::Buf, E>(
        &mut self,
        frame: &Option<Result<Frame<D>, E>>,
        is_last: bool,
    ) -> Option<Verdict> {
        let frame = match frame {
            None => return Some(Verdict::Success),
            Some(Err(_)) => return Some(Verdict::Failure),
            Some(Ok(frame)) => frame,
        };
        if let Some(trailers) = frame.trailers_ref() {
            return Some(of_grpc(trailers));
        }
        let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        self.left = self.left.map(|left| left.saturating_sub(length));
        is_last.then_some(Verdict::Success)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Whoever has all the data of a body may drop it without asking for trailers.
        if self.left == Some(0) && !self.course.has_panicked() {
            self.is_asked();
            self.course.report(Verdict::Success);
        }
    }
}
