//! How a response that would never end is ended when its connection is to go.
//!
//! | module | owns |
//! |---|---|
//! | this one | which bodies are ended by us and how; the body that does it |
//! | `follow` | where one event, message or frame ends and the next begins |
//! | `fuzzing` | the followers, for the fuzzer |
//! | `turn` | when a body's turn comes |
//!
//! What is half sent is never left half sent by a choice of ours: its rest is waited for, and if the application never gives it, the body is cut so that it
//! does not look whole.

pub(crate) mod follow;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod turn;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use lameduck::Count;

use self::follow::{Events, Follower, Messages};
use self::turn::Turn;
use super::exchange::BoxError;
use super::piece::Piece;
use super::watch::Watch;
use crate::scope;

/// How a response body ends when its connection is to go: at its share of the lame-duck window's floor, at the window's end at the
/// latest, or when it is as old as [`Limits::age`](crate::Limits::age) allows.
///
/// From then on the application has [`Limits::settle`](crate::Limits::settle) to end the body in its own words; after that the server
/// ends it at the next place that this names, as if the application had: the last chunk in HTTP/1.1, END_STREAM in HTTP/2. If the
/// application leaves something half sent, its rest is waited for; when nothing of it came for
/// [`Limits::stall_draining`](crate::Limits::stall_draining) after the window's end, the body is cut so that it does not look whole (no last
/// chunk, RST_STREAM; in HTTP/1.0 a reset).
///
/// Chosen by whoever knows best, in this order: an `Ending` in the response's extensions; the innermost [`EndStreams`](crate::EndStreams)
/// layer around the handler; [`Serve::event_streams`](crate::Serve::event_streams), for `text/event-stream` answers to GET. A body of a
/// known length is never ended early.
///
/// # Examples
/// ```
/// use axum::{Extension, response::IntoResponse};
/// use lameduck_http::Ending;
///
/// // An event stream that ends by itself, and is to be let.
/// async fn import() -> impl IntoResponse {
///     (Extension(Ending::Never), [("content-type", "text/event-stream")], "data: done\n\n")
/// }
/// # let _ = import;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Between two events of a `text/event-stream` (WHATWG HTML §9.2.5); says nothing about other types, or about a compressed one.
    AtEvent {
        /// How long the client is told to wait before it connects again (`retry:`, in milliseconds); None leaves it to the client.
        retry: Option<Duration>,
    },
    /// Between two frames of the application's body, each of which is whole by itself: newline-delimited JSON and the like. Says nothing
    /// about a compressed body.
    AtFrame,
    /// Between two messages of a gRPC call, with the trailers `grpc-status: 14` (UNAVAILABLE, which clients may retry) and
    /// `grpc-message`. Says nothing about other types. A call whose last message has been given keeps its own trailers, so that unary calls
    /// are not touched.
    AtGrpcMessage,
    /// By the application alone; at the drain deadline it is cut and named.
    Never,
}

impl Default for Ending {
    /// At an event, without `retry`.
    fn default() -> Self {
        Self::AtEvent { retry: None }
    }
}

/// Ends one body. In a box of its own: other bodies carry a null pointer for it.
#[derive(Debug)]
pub(crate) struct Ender {
    ending: Ending,
    follower: Follower,
    turn: Turn,
    /// A unit was given whole.
    has_given: bool,
    /// Said after the application's last word.
    farewell: Option<Farewell>,
}

#[derive(Debug)]
enum Farewell {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// What becomes of a response's body. For the others: one look at the extensions and, for an answer to GET, one at the content type.
pub(crate) fn ender<B: HttpBody>(
    response: &Response<B>,
    watch: &Watch,
    is_get: bool,
) -> Option<Box<Ender>> {
    let ending = match response.extensions().get::<Ending>() {
        Some(chosen) => *chosen,
        // An EventSource can only GET; the answer to a POST is a result, of which nothing may be missing.
        None if is_get => watch.shared.event_streams,
        None => return None,
    };
    let is_asked = || response.extensions().get::<Ending>().is_some();
    let fields = response.headers();
    let follower = match ending {
        Ending::Never => return None,
        Ending::AtGrpcMessage if is_of(fields, "application/grpc", "+") => {
            Follower::Messages(Messages::default())
        }
        Ending::AtEvent { .. } if is_of(fields, "text/event-stream", "") && is_plain(fields) => {
            Follower::Events(Events::default())
        }
        Ending::AtFrame if is_asked() && is_plain(fields) => Follower::Frames,
        _ => return None,
    };
    let has_length =
        fields.contains_key(CONTENT_LENGTH) || response.body().size_hint().exact().is_some();
    (!has_length).then(|| {
        Box::new(Ender {
            ending,
            follower,
            turn: Turn::new(&watch.shared.drain),
            has_given: false,
            farewell: None,
        })
    })
}

/// Whether the content is of this type, whatever parameters follow; or the type goes on with `suffix`, if that is not empty.
pub(crate) fn is_of(fields: &HeaderMap, essence: &str, suffix: &str) -> bool {
    let Some(given) = fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else {
        return false;
    };
    let Some((head, rest)) = given.split_at_checked(essence.len()) else {
        return false;
    };
    let goes_on = match rest.first() {
        None => true,
        Some(next) => b"; \t".contains(next) || suffix.as_bytes().contains(next),
    };
    goes_on && head.eq_ignore_ascii_case(essence.as_bytes())
}

/// Whether the body's bytes are what the application wrote.
pub(crate) fn is_plain(fields: &HeaderMap) -> bool {
    fields
        .get(CONTENT_ENCODING)
        .is_none_or(|encoding| encoding == "identity")
}

type Given<D> = Option<Result<Frame<Piece<D>>, BoxError>>;

impl Ender {
    /// The next frame of `body`, which is dropped when it has been ended.
    pub(crate) fn poll_frame<B>(
        &mut self,
        mut body: Pin<&mut Option<B>>,
        watch: &Watch,
        cx: &mut Context<'_>,
    ) -> Poll<Given<B::Data>>
    where
        B: HttpBody<Error: Into<BoxError>>,
    {
        if body.is_none() {
            return Poll::Ready(self.say_farewell());
        }
        let is_due = self.turn.came(watch, cx);
        let asks_first = matches!(self.follower, Follower::Messages(_));
        if is_due && !asks_first && self.follower.is_between() {
            return Poll::Ready(self.part(body, watch));
        }
        let asked = body.as_mut().as_pin_mut().expect("there is one");
        let polled = asked.poll_frame(cx);
        if is_due && polled.is_pending() {
            if self.follower.is_between() {
                return Poll::Ready(self.part(body, watch));
            }
            if self.turn.is_stalled(watch, cx) {
                watch.shared.tally(Count::StallExpired);
                scope::ending(|| body.set(None));
                return Poll::Ready(Some(Err(Box::new(HalfSent))));
            }
        }
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            // Trailers: the application ends it.
            Err(frame) => return Poll::Ready(Some(Ok(frame.map_data(Piece::Whole)))),
        };
        if is_due && self.follower.is_between() && self.has_given {
            // One more message, where its end would have been accepted.
            return Poll::Ready(self.part(body, watch));
        }
        Poll::Ready(Some(Ok(Frame::data(self.take(data, is_due, body, watch)))))
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_end<B: HttpBody>(&self, body: Option<&B>) -> bool {
        self.farewell.is_none() && body.is_none_or(HttpBody::is_end_stream)
    }

    /// Reads along in `data`. If the body is due and something ends within, the rest is left out.
    fn take<B: HttpBody>(
        &mut self,
        mut data: B::Data,
        is_due: bool,
        body: Pin<&mut Option<B>>,
        watch: &Watch,
    ) -> Piece<B::Data> {
        let length = data.remaining();
        let mut piece = if data.chunk().len() == length {
            Piece::Whole(data)
        } else {
            Piece::Part(data.copy_to_bytes(length))
        };
        let before = self.follower;
        let end = self.follower.push(piece.chunk());
        self.has_given |= end.is_some();
        if !is_due {
            return piece;
        }
        self.turn.note_moved(watch);
        match end {
            Some(end) if end < length => {
                let part = piece.copy_to_bytes(end);
                self.follower = before;
                self.follower.push(&part);
                self.end(body, watch);
                Piece::Part(part)
            }
            _ => piece,
        }
    }

    /// Ends the body here.
    fn part<B: HttpBody>(&mut self, body: Pin<&mut Option<B>>, watch: &Watch) -> Given<B::Data> {
        self.end(body, watch);
        self.say_farewell()
    }

    fn end<B: HttpBody>(&mut self, mut body: Pin<&mut Option<B>>, watch: &Watch) {
        let is_over = body
            .as_ref()
            .as_pin_ref()
            .is_none_or(|body| body.is_end_stream());
        if is_over {
            body.set(None);
            return;
        }
        scope::ending(|| body.set(None));
        watch.shared.tally(Count::StreamEnded);
        self.farewell = match (self.ending, self.follower) {
            (Ending::AtEvent { retry: Some(wait) }, _) => {
                let block = format!("retry: {}\n\n", wait.as_millis());
                Some(Farewell::Data(block.into()))
            }
            // Two, for the first may only complete the comment's own line end.
            (_, Follower::Events(events)) if events.is_after_comment() => {
                Some(Farewell::Data(Bytes::from_static(b"\n\n")))
            }
            (_, Follower::Messages(_)) => Some(Farewell::Trailers(unavailable())),
            _ => None,
        };
    }

    fn say_farewell<D>(&mut self) -> Given<D> {
        self.farewell.take().map(|farewell| {
            Ok(match farewell {
                Farewell::Data(bytes) => Frame::data(Piece::Part(bytes)),
                Farewell::Trailers(fields) => Frame::trailers(fields),
            })
        })
    }
}

/// The trailers of a call that was ended by its server's leaving (UNAVAILABLE).
fn unavailable() -> HeaderMap {
    HeaderMap::from_iter([
        (
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("14"),
        ),
        (
            HeaderName::from_static("grpc-message"),
            HeaderValue::from_static("the server is leaving"),
        ),
    ])
}

/// The rest of something that was half sent never came.
#[derive(Debug)]
struct HalfSent;

impl fmt::Display for HalfSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response was cut: the rest of what was half sent did not come")
    }
}

impl Error for HalfSent {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        let of = |given: &'static str, essence, suffix| {
            let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(given))]);
            is_of(&fields, essence, suffix)
        };
        assert!(of("text/event-stream", "text/event-stream", ""));
        assert!(of(
            "Text/Event-Stream;charset=utf-8",
            "text/event-stream",
            ""
        ));
        assert!(of("text/event-stream ; a=b", "text/event-stream", ""));
        assert!(!of("text/event-streams", "text/event-stream", ""));
        assert!(!of("text/event", "text/event-stream", ""));
        assert!(of("application/grpc+proto", "application/grpc", "+"));
        assert!(!of("application/grpc-web", "application/grpc", "+"));
        assert!(!is_of(&HeaderMap::new(), "text/event-stream", ""));
    }
}
