//! What the demo answers. Every parameter has a cap; every body a bound.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    extract::{Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use tokio::time::Sleep;

use super::{config::Config, echo as websocket, events};

type Shared = State<Arc<ArcSwap<Config>>>;

/// The demo's routes.
pub(super) fn router(config: Arc<ArcSwap<Config>>) -> Router {
    Router::new()
        .route("/", get(greet))
        .route("/slow", get(slow).post(slow))
        .route("/stream", get(stream))
        .route("/large", get(large))
        .route("/sse", get(sse))
        .route("/ws", any(websocket::upgrade))
        .route("/echo", post(echo))
        .route("/upload", post(upload))
        .with_state(config)
}

async fn greet(State(config): Shared) -> String {
    config.load().greeting.clone()
}

#[derive(Deserialize)]
struct Slow {
    #[serde(default = "default_ms")]
    ms: u64,
}

const fn default_ms() -> u64 {
    1_000
}

async fn slow(
    State(config): Shared,
    Query(Slow { ms }): Query<Slow>,
) -> Result<&'static str, Refused> {
    let ms = capped("ms", ms, config.load().max_ms)?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok("done\n")
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default = "default_chunks")]
    chunks: u32,
    #[serde(default = "default_pause")]
    ms: u64,
}

const fn default_chunks() -> u32 {
    10
}

const fn default_pause() -> u64 {
    100
}

async fn stream(
    State(config): Shared,
    Query(Stream { chunks, ms }): Query<Stream>,
) -> Result<Response, Refused> {
    let config = config.load();
    let chunks = capped("chunks", u64::from(chunks), u64::from(config.max_chunks))?;
    let pause = Duration::from_millis(capped("ms", ms, config.max_ms)?);
    let body = Chunks {
        sent: 0,
        total: chunks,
        pause,
        timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain")], Body::new(body)).into_response())
}

/// `total` lines, `pause` apart.
struct Chunks {
    sent: u64,
    total: u64,
    pause: Duration,
    timer: Pin<Box<Sleep>>,
}

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent == self.total {
            return Poll::Ready(None);
        }
        ready!(self.timer.as_mut().poll(cx));
        let pause = self.pause;
        self.timer
            .as_mut()
            .reset(tokio::time::Instant::now() + pause);
        self.sent += 1;
        let line = format!("chunk {} of {}\n", self.sent, self.total);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(line)))))
    }
}

#[derive(Deserialize)]
struct Sse {
    #[serde(default = "default_pause")]
    ms: u64,
}

async fn sse(State(config): Shared, Query(Sse { ms }): Query<Sse>) -> Result<Response, Refused> {
    let ms = capped("ms", ms, config.load().max_ms)?;
    Ok(events::response(Duration::from_millis(ms)))
}

#[derive(Deserialize)]
struct Large {
    #[serde(default = "default_bytes")]
    bytes: u64,
}

const fn default_bytes() -> u64 {
    1 << 20
}

async fn large(
    State(config): Shared,
    Query(Large { bytes }): Query<Large>,
) -> Result<Response, Refused> {
    let left = capped("bytes", bytes, config.load().max_large_bytes)?;
    Ok((
        [(header::CONTENT_TYPE, "application/octet-stream")],
        Body::new(Filler { left }),
    )
        .into_response())
}

/// `left` bytes of the alphabet, in pieces that share one buffer.
struct Filler {
    left: u64,
}

const PIECE: [u8; 16 * 1024] = {
    let mut piece = [0; 16 * 1024];
    let mut at = 0;
    while at < piece.len() {
        #[expect(clippy::cast_possible_truncation, reason = "at most 25")]
        let letter = b'a' + (at % 26) as u8;
        piece[at] = letter;
        at += 1;
    }
    piece
};

impl HttpBody for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        static BUFFER: [u8; PIECE.len()] = PIECE;
        let length = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(BUFFER.len());
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BUFFER[..length])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

async fn echo(State(config): Shared, request: Request) -> Result<Bytes, Refused> {
    let most = config.load().max_echo_bytes;
    match Limited::new(request.into_body(), most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Refused::TooLarge { most: most as u64 })
        }
        Err(error) => Err(Refused::Broken(error.to_string())),
    }
}

async fn upload(State(config): Shared, request: Request) -> Result<String, Refused> {
    let most = config.load().max_upload_bytes;
    let mut body = request.into_body();
    let mut read = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refused::Broken(error.to_string()))?;
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > most {
            return Err(Refused::TooLarge { most });
        }
    }
    Ok(format!("{read}\n"))
}

fn capped(name: &'static str, value: u64, most: u64) -> Result<u64, Refused> {
    if value <= most {
        return Ok(value);
    }
    Err(Refused::TooMuch { name, value, most })
}

/// Why a request is not answered as asked.
enum Refused {
    TooMuch {
        name: &'static str,
        value: u64,
        most: u64,
    },
    TooLarge {
        most: u64,
    },
    Broken(String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::TooMuch { name, value, most } => (
                StatusCode::BAD_REQUEST,
                format!("{name}={value} is more than {most}\n"),
            ),
            Self::TooLarge { most } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body has more than {most} bytes\n"),
            ),
            Self::Broken(error) => (
                StatusCode::BAD_REQUEST,
                format!("the body did not arrive: {error}\n"),
            ),
        };
        (status, text).into_response()
    }
}
