//! A response's body that can be cut, and how that looks.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::response::Parts;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::answer;
use super::course::Course;
use crate::cut::{Cut, Truncated};
use crate::layer::extent::{declared, has_no_body};
use crate::scope;
use crate::server::ending::follow::{Events, Follower, Messages};
use crate::server::ending::{is_of, is_plain};
use crate::server::exchange::BoxError;

pin_project! {
    /// The response body of [`TruncateService`](super::TruncateService): the handler's, until it is cut, or the fallback.
    pub struct TruncatedBody<R> {
        // None: it was cut, or there never was one.
        #[pin]
        body: Option<R>,
        course: Option<Course>,
        follower: Option<Follower>,
        // How many bytes are left, where that is known: a server may stop there without asking for the end.
        left: Option<u64>,
        last: Option<Frame<Bytes>>,
    }
}

impl<R> fmt::Debug for TruncatedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TruncatedBody")
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}

impl<R: Body> TruncatedBody<R> {
    pub(super) fn new(body: R, head: &Parts, course: Course) -> Self {
        let fields = &head.headers;
        let bodiless = has_no_body(course.method(), head.status);
        let left = declared(fields).or_else(|| body.size_hint().exact());
        let is_over = bodiless || left == Some(0) || body.is_end_stream();
        let follower = if left.is_some() {
            None
        } else if is_of(fields, "text/event-stream", "") && is_plain(fields) {
            Some(Follower::Events(Events::default()))
        } else if is_of(fields, "application/grpc", "+") {
            Some(Follower::Messages(Messages::default()))
        } else {
            None
        };
        Self {
            body: Some(body),
            course: (!is_over).then_some(course),
            follower,
            left,
            last: None,
        }
    }
}

impl<R> TruncatedBody<R> {
    pub(super) fn fallback(body: Bytes) -> Self {
        Self {
            body: None,
            course: None,
            follower: None,
            left: None,
            last: (!body.is_empty()).then(|| Frame::data(body)),
        }
    }
}

/// What the client is told where it can be told between two units; nothing where only an end that does not look whole says it.
fn farewell(follower: Option<&Follower>, cut: &Cut) -> Option<Frame<Bytes>> {
    let follower = follower.filter(|follower| follower.is_between())?;
    match follower {
        Follower::Events(events) => {
            // The first may only complete the comment's own line end.
            let before = if events.is_after_comment() {
                "\n\n"
            } else {
                ""
            };
            Some(Frame::data(
                format!("{before}{}", answer::event(cut)).into(),
            ))
        }
        Follower::Messages(_) => Some(Frame::trailers(answer::status(cut))),
        Follower::Frames => None,
    }
}

impl<R: Body<Error: Into<BoxError>>> Body for TruncatedBody<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(mut body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(this.last.take().map(Ok));
        };
        let Some(course) = this.course.as_mut() else {
            return body.poll_frame(cx).map(|given| given.map(whole));
        };
        // First: what ends the body now is let, however late it is.
        let cut = match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                let before = *this.follower;
                let is_last = note(&frame, this.follower.as_mut(), this.left);
                if is_last || body.is_end_stream() {
                    *this.course = None;
                    return Poll::Ready(Some(Ok(frame)));
                }
                let Some(cut) = course.is_due() else {
                    return Poll::Ready(Some(Ok(frame)));
                };
                // Is it the last, and its body does not say so?
                match body.poll_frame(cx) {
                    Poll::Ready(None) => {
                        *this.course = None;
                        this.body.set(None);
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    Poll::Ready(Some(Ok(next))) if next.is_trailers() => {
                        *this.course = None;
                        *this.last = next.into_trailers().ok().map(Frame::trailers);
                        this.body.set(None);
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    _ => {
                        // It ends where it stood without this frame.
                        *this.follower = before;
                        cut
                    }
                }
            }
            Poll::Ready(ended) => {
                *this.course = None;
                return Poll::Ready(ended.map(whole));
            }
            Poll::Pending => ready!(course.poll_cut(cx)),
        };
        let mut course = this.course.take().expect("it was there");
        course.tell(&cut);
        course.note_truncated();
        scope::ending(|| this.body.set(None));
        Poll::Ready(Some(
            farewell(this.follower.as_ref(), &cut).ok_or_else(|| Truncated::new(cut).into()),
        ))
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Some(body) => body.is_end_stream(),
            None => self.last.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.last) {
            (Some(body), _) => body.size_hint(),
            (None, Some(last)) => {
                SizeHint::with_exact(last.data_ref().map_or(0, |data| data.len() as u64))
            }
            (None, None) => SizeHint::with_exact(0),
        }
    }
}

/// A frame as it is handed on.
fn whole<D: Buf, E: Into<BoxError>>(given: Given<D, E>) -> Given<Bytes, BoxError> {
    let frame = given.map_err(Into::into)?;
    Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
}

type Given<D, E> = Result<Frame<D>, E>;

/// Takes note of a frame that is handed on. Whether it is the last one.
fn note(frame: &Frame<Bytes>, follower: Option<&mut Follower>, left: &mut Option<u64>) -> bool {
    let Some(data) = frame.data_ref() else {
        return true;
    };
    if let Some(follower) = follower {
        follower.push(data);
    }
    match left {
        Some(left) => {
            *left = left.saturating_sub(data.len() as u64);
            *left == 0
        }
        None => false,
    }
}
