//! `GET /sse`: an event stream without an end of its own; the server ends it between two events when its client is to go.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;

/// A stream with an event every `pause`, a millisecond at least.
pub(super) fn response(pause: Duration) -> Response {
    let events = Events {
        sent: 0,
        pause: pause.max(Duration::from_millis(1)),
        timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
    };
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (head, Body::new(events)).into_response()
}

struct Events {
    sent: u64,
    pause: Duration,
    timer: Pin<Box<Sleep>>,
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.timer.as_mut().poll(cx));
        let pause = self.pause;
        self.timer
            .as_mut()
            .reset(tokio::time::Instant::now() + pause);
        self.sent += 1;
        let event = format!("id: {}\ndata: {}\n\n", self.sent, self.sent);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))))
    }
}
