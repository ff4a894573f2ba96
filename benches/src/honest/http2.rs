//! An HTTP/2 client: one connection at a time, many streams on it.
//!
//! Owns: the session, the look before each request (an unread GOAWAY is read first), the fate of each stream. Not here: what
//! gRPC adds (`grpc`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::time::{sleep, timeout};

use super::Field;
use super::door::{Path, Route, Witness};
use super::ledger::{Ended, Fate};
use crate::http1::Digest;
use crate::rng::Rng;
use crate::script::{Kind, Think};
use crate::target::Door;

/// One request, and what its answer must be.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) label: &'static str,
    pub(super) think: Duration,
    pub(super) request: Request<()>,
    /// The body, piece by piece; empty: the request ends with its head.
    pub(super) pieces: Vec<Bytes>,
    /// Rest between two pieces.
    pub(super) gap: Duration,
    /// How much of the response is taken before a rest, and how long that is.
    pub(super) sips: (usize, Duration),
    pub(super) expected: Expected,
}

#[derive(Debug, Eq, PartialEq)]
pub(super) enum Expected {
    Anything,
    Length(u64),
    Body(Digest),
    /// This message, and trailers that say OK.
    Message(Digest),
}

/// Draws requests.
pub(super) trait Asks: Sync {
    fn next(&self, door: Door, rng: &mut Rng) -> Ask;
}

/// The demo's routes over HTTP/2.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) think: Think,
}

/// Plays sessions until the server has left.
pub(super) async fn live(mut path: Path<'_>, streams: u64, asks: &impl Asks, mut rng: Rng) {
    let (field, door) = (path.field, path.door);
    while let Some(stream) = path.open(Route::Http2).await {
        let (witness, handshake) = match stream.witness() {
            Ok(witness) => (
                witness,
                timeout(field.patience, h2::client::handshake(stream)).await,
            ),
            Err(error) => {
                return field
                    .ledger()
                    .complain(format!("no second descriptor: {error}"));
            }
        };
        let Ok(Ok((send, connection))) = handshake else {
            field.ledger().complain("h2: no handshake".to_owned());
            continue;
        };
        let session = Session {
            field,
            door,
            send,
            witness: Arc::new(witness),
        };
        let mut lanes = Lanes::default();
        for _ in 0..streams {
            lanes.push(session.lane(asks, Rng::new(rng.next())));
        }
        // The connection ends by itself once every handle of it is gone and the server has closed.
        let driver = tokio::spawn(async move {
            // Each stream tells its own fate.
            let _ = connection.await;
        });
        lanes.all().await;
        drop(session);
        if timeout(field.patience, driver).await.is_err() {
            let complaint = "h2: a connection without streams did not end";
            field.ledger().complain(complaint.to_owned());
        }
    }
}

/// Whether one request on a connection of its own is answered as asked.
pub(super) async fn once(mut path: Path<'_>, asks: &impl Asks) -> bool {
    let (field, door) = (path.field, path.door);
    let Some(stream) = path.open(Route::Http2).await else {
        return false;
    };
    let asked = async {
        let (mut send, connection) = h2::client::handshake(stream).await.ok()?;
        // The task ends with the connection, which ends with the runtime at the latest.
        tokio::spawn(connection);
        let ask = asks.next(door, &mut Rng::new(1));
        send.ready_now(field.patience).await.ok()?;
        let sent = send.send_request(clone(&ask.request), ask.pieces.is_empty());
        let (response, body) = sent.ok()?;
        Exchange { ask: &ask }.run(response, body).await.ok()
    };
    matches!(timeout(field.patience, asked).await, Ok(Some(())))
}

/// Futures that borrow and run together.
#[derive(Default)]
struct Lanes<'a>(Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>>);

impl<'a> Lanes<'a> {
    fn push(&mut self, lane: impl Future<Output = ()> + Send + 'a) {
        self.0.push(Box::pin(lane));
    }

    /// A few lanes only: each wake polls all of them.
    async fn all(mut self) {
        std::future::poll_fn(move |context| {
            self.0
                .retain_mut(|lane| lane.as_mut().poll(context).is_pending());
            if self.0.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

struct Session<'a> {
    field: &'a Field,
    door: Door,
    send: SendRequest<Bytes>,
    witness: Arc<Witness>,
}

impl Session<'_> {
    /// One request after the other, until the connection takes no more.
    fn lane(&self, asks: &impl Asks, mut rng: Rng) -> impl Future<Output = ()> + Send {
        let (field, door, witness) = (self.field, self.door, Arc::clone(&self.witness));
        let mut send = self.send.clone();
        async move {
            loop {
                let ask = asks.next(door, &mut rng);
                sleep(ask.think).await;
                if send.ready_now(field.patience).await.is_err() {
                    return;
                }
                // What has come must be read before the look means anything; the connection's task does that.
                for _ in 0..LOOKS {
                    if !witness.has_news() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                let written_at = Instant::now();
                let Ok((response, body)) =
                    send.send_request(clone(&ask.request), ask.pieces.is_empty())
                else {
                    // Seen before the write: a GOAWAY, or an end.
                    return;
                };
                let exchange = Exchange { ask: &ask };
                let answered = timeout(field.patience, exchange.run(response, body));
                let fate = match answered.await {
                    Ok(Ok(())) => Fate::Served,
                    Ok(Err(fate)) => fate,
                    Err(_) => Fate::Lost("hung".into()),
                };
                field.ledger().end(Ended {
                    label: ask.label,
                    fate,
                    written_at,
                });
            }
        }
    }
}

/// How often a lane lets the connection's task read before it goes on nevertheless.
const LOOKS: usize = 64;

trait ReadyNow {
    async fn ready_now(&mut self, within: Duration) -> Result<(), ()>;
}

impl ReadyNow for SendRequest<Bytes> {
    async fn ready_now(&mut self, within: Duration) -> Result<(), ()> {
        let ready = std::future::poll_fn(|context| self.poll_ready(context));
        match timeout(within, ready).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(()),
        }
    }
}

struct Exchange<'a> {
    ask: &'a Ask,
}

impl Exchange<'_> {
    async fn run(&self, response: ResponseFuture, body: SendStream<Bytes>) -> Result<(), Fate> {
        let upload = self.upload(body);
        let answer = self.answer(response);
        // An answer may come before the upload is over, and is what counts.
        tokio::pin!(upload, answer);
        tokio::select! {
            answered = &mut answer => answered,
            () = &mut upload => answer.await,
        }
    }

    /// Sends the body; what stops it, the answer tells.
    async fn upload(&self, mut body: SendStream<Bytes>) {
        let count = self.ask.pieces.len();
        for (index, piece) in self.ask.pieces.iter().enumerate() {
            if body.send_data(piece.clone(), index + 1 == count).is_err() {
                return;
            }
            if index + 1 < count {
                sleep(self.ask.gap).await;
            }
        }
    }

    async fn answer(&self, response: ResponseFuture) -> Result<(), Fate> {
        let response = response.await.map_err(|error| fate(&error, "no answer"))?;
        let status = response.status();
        let retry_after = response.headers().contains_key(http::header::RETRY_AFTER);
        let mut body = response.into_body();
        let (length, digest) = self.read(&mut body).await?;
        let trailers = body
            .trailers()
            .await
            .map_err(|error| fate(&error, "no trailers"))?;
        if status == StatusCode::SERVICE_UNAVAILABLE && retry_after {
            return Err(Fate::Refused);
        }
        let as_expected = status == StatusCode::OK
            && match self.ask.expected {
                Expected::Anything => true,
                Expected::Length(expected) => length == expected,
                Expected::Body(expected) => digest == expected,
                Expected::Message(expected) => digest == expected && says_ok(trailers.as_ref()),
            };
        if as_expected {
            Ok(())
        } else {
            let trailers = trailers.unwrap_or_default();
            let said = trailers.get("grpc-status");
            Err(Fate::Lost(
                format!("unexpected answer: {status}, {length} bytes, grpc-status {said:?}").into(),
            ))
        }
    }

    async fn read(&self, body: &mut RecvStream) -> Result<(u64, Digest), Fate> {
        let (sip, pause) = self.ask.sips;
        let (mut length, mut since_rest) = (0, 0);
        let mut digest = Digest::default();
        while let Some(data) = body.data().await {
            let data = data.map_err(|error| fate(&error, "truncated"))?;
            length += data.len() as u64;
            digest.update(&data);
            // Not after each frame: how the server cuts its frames must not decide how slow this reader is.
            since_rest += data.len();
            if since_rest >= sip && !pause.is_zero() {
                since_rest = 0;
                sleep(pause).await;
            }
            // Fails only when the stream is over, which the next read tells.
            let _ = body.flow_control().release_capacity(data.len());
        }
        Ok((length, digest))
    }
}

fn says_ok(trailers: Option<&HeaderMap>) -> bool {
    trailers
        .and_then(|trailers| trailers.get("grpc-status"))
        .is_some_and(|status| status == "0")
}

/// What an error of the h2 crate means: it gives a GOAWAY only to streams above its last id.
pub(super) fn fate(error: &h2::Error, when: &'static str) -> Fate {
    let safe = error.is_remote()
        && (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)
            || error.is_go_away() && error.reason() == Some(Reason::NO_ERROR));
    if safe {
        Fate::Refused
    } else {
        Fate::Lost(format!("{when}: {error}").into())
    }
}

fn clone(request: &Request<()>) -> Request<()> {
    let mut clone = Request::new(());
    clone.method_mut().clone_from(request.method());
    clone.uri_mut().clone_from(request.uri());
    clone.headers_mut().clone_from(request.headers());
    clone
}

pub(super) fn request(method: http::Method, door: Door, path: &str) -> Request<()> {
    let scheme = match door {
        Door::Plain => "http",
        Door::Tls => "https",
    };
    Request::builder()
        .method(method)
        .uri(format!("{scheme}://localhost{path}"))
        .body(())
        .expect("a well-formed path")
}

impl Asks for Plan {
    fn next(&self, door: Door, rng: &mut Rng) -> Ask {
        let think = self.think.draw(rng);
        let ask = match self.kind {
            Kind::Echo { largest } => echo(door, rng, largest),
            Kind::Slow { longest } => {
                let ms = rng.within(5..=longest.as_millis() as u64);
                get(door, ["h2 slow", "tls h2 slow"], &format!("/slow?ms={ms}"))
            }
            Kind::Stream { chunks, pause } => {
                let chunks = rng.within(2..=chunks);
                let ms = rng.within(1..=pause.as_millis() as u64);
                let body: String = (1..=chunks)
                    .map(|chunk| format!("chunk {chunk} of {chunks}\n"))
                    .collect();
                Ask {
                    expected: Expected::Body(Digest::of(body.as_bytes())),
                    ..get(
                        door,
                        ["h2 stream", "tls h2 stream"],
                        &format!("/stream?chunks={chunks}&ms={ms}"),
                    )
                }
            }
            Kind::Large { bytes, sip, pause } => {
                let bytes = rng.within(bytes / 4..=bytes);
                Ask {
                    sips: (sip as usize, pause),
                    expected: Expected::Length(bytes),
                    ..get(
                        door,
                        ["h2 large, slow reader", "tls h2 large, slow reader"],
                        &format!("/large?bytes={bytes}"),
                    )
                }
            }
            Kind::Upload { pieces, piece, gap } => {
                let count = rng.within(2..=pieces);
                let total = format!("{}\n", count * piece);
                Ask {
                    label: label(door, ["h2 upload in pieces", "tls h2 upload in pieces"]),
                    request: request(http::Method::POST, door, "/upload"),
                    pieces: vec![Bytes::from(vec![b'u'; piece as usize]); count as usize],
                    gap: rng.duration(Duration::from_millis(1)..=gap),
                    expected: Expected::Body(Digest::of(total.as_bytes())),
                    ..get(door, [""; 2], "/")
                }
            }
            Kind::Get | Kind::PerRequest { .. } | Kind::HalfHead { .. } => {
                get(door, ["h2 get", "tls h2 get"], "/")
            }
        };
        Ask { think, ..ask }
    }
}

fn label(door: Door, [plain, tls]: [&'static str; 2]) -> &'static str {
    match door {
        Door::Plain => plain,
        Door::Tls => tls,
    }
}

fn get(door: Door, labels: [&'static str; 2], path: &str) -> Ask {
    Ask {
        label: label(door, labels),
        think: Duration::ZERO,
        request: request(http::Method::GET, door, path),
        pieces: Vec::new(),
        gap: Duration::ZERO,
        sips: (usize::MAX, Duration::ZERO),
        expected: Expected::Anything,
    }
}

fn echo(door: Door, rng: &mut Rng, largest: u64) -> Ask {
    let body = Bytes::from(crate::script::random_body(rng, largest));
    Ask {
        label: label(door, ["h2 post echo", "tls h2 post echo"]),
        request: request(http::Method::POST, door, "/echo"),
        expected: Expected::Body(Digest::of(&body)),
        pieces: vec![body],
        ..get(door, [""; 2], "/")
    }
}
