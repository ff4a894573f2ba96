//! One stream: a request is answered, and the answer is sent as fast as its client takes it.
//!
//! Owns what a response needs before HTTP/2 may carry it, and flow control from the body's side. Nothing is handed to h2 that its client has no
//! window for, so what waits for a client waits here, where it is seen.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream, SendStream};
use bytes::{Buf, Bytes};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::response::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;
use tokio::io::AsyncWriteExt;

use super::Data;
use super::tunnel::Tunnel;
use crate::body::Body;
use crate::cut::Truncated;
use crate::scope;
use crate::server::date;
use crate::server::exchange::{App, BoxError, Outgoing, Step, Work};
use crate::server::piece::Piece;
use crate::server::upgrade::{Keeper, Pledge};
use crate::server::watch::Watch;

/// What is asked of the client's window at a time: one stream must not take it all from the others.
pub(super) const RESERVED_AT_MOST: usize = 64 * 1024;

/// Fields that belong to one connection of HTTP/1.1 (RFC 9113 §8.2.2).
const CONNECTION_FIELDS: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What an answer depends on, of a request.
pub(super) struct Asked<A: App> {
    pub(super) method: Method,
    /// What a CONNECT carries.
    pub(super) incoming: Option<RecvStream>,
    pub(super) respond: SendResponse<Piece<Data<A>>>,
}

pin_project! {
    /// A request that is answered. Ends early, the handler with it, when the client does not want the answer any more.
    ///
    /// # Cancel safety
    /// Dropping it drops the handler and resets the stream: CANCEL, or NO_ERROR when only the request was still coming.
    #[project = ServingOf]
    pub(super) enum Serving<A: App> {
        // The handler at work.
        Answering { #[pin] step: Step<A, A::Answer>, work: Work, asked: Option<Asked<A>> },
        // Its answer's body on its way.
        Sending { #[pin] body: Outgoing<A::ResponseBody>, sending: Sending<Data<A>> },
        // In a box of its own: a request does not carry the room for a tunnel.
        Tunnelling { keeping: Pin<Box<dyn Future<Output = ()> + Send>> },
    }
}

impl<A: App> Serving<A> {
    /// The application is called in the stream's own task: it may take its time for that.
    pub(super) fn new(
        app: &A,
        request: Request<Body>,
        work: Work,
        asked: Asked<A>,
        watch: &Watch,
    ) -> Self {
        Self::Answering {
            step: Step::new(app, request, watch),
            work,
            asked: Some(asked),
        }
    }

    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        watch: &Arc<Watch>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            match self.as_mut().project() {
                ServingOf::Answering { step, work, asked } => {
                    let response = match scope::with(watch, || work.poll(step, cx)) {
                        Poll::Ready(response) => response,
                        Poll::Pending => {
                            let asked = asked.as_mut().expect("it is not answered");
                            // Reset by the client, or the connection is gone.
                            return asked.respond.poll_reset(cx).map(|_| watch.note_reset());
                        }
                    };
                    let asked = asked.take().expect("it is answered once");
                    match asked.answer(response, watch) {
                        Some(next) => self.set(next),
                        None => return Poll::Ready(()),
                    }
                }
                ServingOf::Sending { body, sending } => {
                    if scope::with(watch, || sending.advance(body, watch, cx)).is_ready() {
                        return Poll::Ready(());
                    }
                    return sending.stream.poll_reset(cx).map(|_| watch.note_reset());
                }
                ServingOf::Tunnelling { keeping } => return keeping.as_mut().poll(cx),
            }
        }
    }
}

impl<A: App> Asked<A> {
    /// Sends the head of the answer. What is left to do after it; None when that is nothing.
    fn answer(
        mut self,
        response: Response<Outgoing<A::ResponseBody>>,
        watch: &Arc<Watch>,
    ) -> Option<Serving<A>> {
        let (mut head, body) = response.into_parts();
        if head.status.is_informational() {
            // No final answer, so not one that a handler can give.
            head = Response::new(()).into_parts().0;
            head.status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        let tunnel = self.incoming.zip(watch.take_granted());
        let bodiless = is_bodiless(head.status, &self.method);
        prepare(&mut head, &body, bodiless || tunnel.is_some());
        let empty = tunnel.is_none() && (bodiless || body.is_end_stream());
        let response = Response::from_parts(head, ());
        // An error means that the stream or its connection is gone: nobody is left to tell.
        let stream = self.respond.send_response(response, empty).ok()?;
        watch.note_answered();
        if let Some((incoming, pledge)) = tunnel {
            drop(body);
            let tunnel = Tunnel::new(incoming, stream);
            return Some(Serving::Tunnelling {
                keeping: Box::pin(keep(tunnel, *pledge, watch.clone())),
            });
        }
        (!empty).then(|| Serving::Sending {
            body,
            sending: Sending { stream, data: None },
        })
    }
}

/// Keeps a tunnel to its end. The session measures whether it moves, and ends it at the drain's end.
async fn keep<D: Buf + Send + 'static>(tunnel: Tunnel<D>, pledge: Pledge, watch: Arc<Watch>) {
    let mut keeper = Keeper::open(pledge, Box::new(tunnel), Bytes::new(), &watch);
    let tenant = poll_fn(|cx| keeper.poll(cx)).await;
    if let Some(mut tunnel) = keeper.take() {
        // Fails only on a stream that is gone.
        let _ = tunnel.shutdown().await;
    }
    tenant.left().await;
}

/// Whether a response with this status, to a request with this method, has no content whatever its body says (RFC 9110 §6.4.1).
fn is_bodiless(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// Makes a response one of HTTP/2.
fn prepare<B: HttpBody>(head: &mut Parts, body: &B, without_length: bool) {
    let fields: &mut HeaderMap = &mut head.headers;
    if let Some(named) = fields.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            if let Ok(name) = HeaderName::try_from(name.trim()) {
                fields.remove(name);
            }
        }
    }
    for name in &CONNECTION_FIELDS {
        fields.remove(name);
    }
    if fields.get(TE).is_some_and(|value| value != "trailers") {
        fields.remove(TE);
    }
    if head.status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6; with HEAD and 304 it says what another answer would have.
        fields.remove(CONTENT_LENGTH);
    }
    if let (false, false, Some(length)) = (
        without_length,
        fields.contains_key(CONTENT_LENGTH),
        body.size_hint().exact(),
    ) {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    // Last: every look before it is into an empty map, if the handler said nothing.
    fields.entry(DATE).or_insert_with(date::now);
}

/// A body that is sent to its end.
pub(super) struct Sending<D: Buf> {
    stream: SendStream<Piece<D>>,
    /// What is left of the frame that the body gave last.
    data: Option<Piece<D>>,
}

/// The stream is gone: nothing can be said on it any more.
struct Gone;

impl<D: Buf> Sending<D> {
    /// Ready when there is nothing more to send, for whatever reason.
    fn advance<B: HttpBody<Data = D, Error: Into<BoxError>>>(
        &mut self,
        mut body: Pin<&mut Outgoing<B>>,
        watch: &Watch,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if let Some(data) = self.data.take() {
                let sent = self.send_some(data, body.is_end_stream(), watch, cx);
                match ready!(sent) {
                    Ok(Sent::Last) | Err(Gone) => return Poll::Ready(()),
                    Ok(Sent::More) => continue,
                }
            }
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match self.take(frame) {
                    Ok(Sent::More) => {}
                    Ok(Sent::Last) | Err(Gone) => return Poll::Ready(()),
                },
                Some(Err(error)) => {
                    // What was sent must not look whole.
                    let reason = Truncated::reason_of(&*error);
                    let reason = reason.unwrap_or(Reason::INTERNAL_ERROR);
                    self.stream.send_reset(reason);
                    return Poll::Ready(());
                }
                None => {
                    // Fails only on a stream that is gone.
                    let _ = self.stream.send_data(Piece::Part(Bytes::new()), true);
                    return Poll::Ready(());
                }
            }
        }
    }

    fn take(&mut self, frame: Frame<Piece<D>>) -> Result<Sent, Gone> {
        match frame.into_data() {
            Ok(data) => {
                // An empty frame says nothing; the end is asked for separately.
                self.data = data.has_remaining().then_some(data);
                Ok(Sent::More)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    self.stream.send_trailers(trailers).map_err(|_| Gone)?;
                    Ok(Sent::Last)
                }
                Err(_) => Ok(Sent::More),
            },
        }
    }

    /// Sends as much of `data` as the client has room for.
    fn send_some(
        &mut self,
        mut data: Piece<D>,
        is_last: bool,
        watch: &Watch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sent, Gone>> {
        let wanted = data.remaining().min(RESERVED_AT_MOST);
        self.stream.reserve_capacity(wanted);
        while self.stream.capacity() == 0 {
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Gone)),
                Poll::Pending => {
                    watch.note_write_blocked();
                    self.data = Some(data);
                    return Poll::Pending;
                }
            }
        }
        let room = self.stream.capacity();
        let count = room.min(data.remaining());
        let (piece, rest) = if count == data.remaining() {
            (data, None)
        } else {
            // No copy where the body's data is `Bytes`.
            let part = data.copy_to_bytes(count);
            (Piece::Part(part), Some(data))
        };
        let is_last = is_last && rest.is_none();
        self.data = rest;
        let sent = self.stream.send_data(piece, is_last).map_err(|_| Gone);
        watch.note_written(count);
        Poll::Ready(sent.map(|()| if is_last { Sent::Last } else { Sent::More }))
    }
}

enum Sent {
    More,
    Last,
}
