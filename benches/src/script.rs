//! What one client does: its requests, its pauses, and what it does when told to go or refused.
//!
//! Owns: drawing the next exchange of a client from its kind and its own random sequence, and saying whether an
//! answer is the one that was asked for. Pure: no socket, no clock. Not here: the loop that plays scripts (`engine`).

use std::borrow::Cow;
use std::time::Duration;

use crate::http1::{Digest, Response};
use crate::outcome::Meaning;
use crate::rng::Rng;

/// How long a client rests between an answer and its next request.
#[derive(Clone, Debug, PartialEq)]
pub enum Think {
    /// Not at all: a closed loop.
    None,
    /// Exponentially distributed with this mean.
    Exponential(Duration),
    /// Uniform between the two.
    Between(Duration, Duration),
    /// Mostly nothing, in one of four cases uniform between the two: bursts on a connection, then idle, then reuse.
    Bursts(Duration, Duration),
}

impl Think {
    /// Draws the next rest.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        match *self {
            Self::None => Duration::ZERO,
            Self::Exponential(mean) => rng.exponential(mean),
            Self::Between(low, high) => rng.duration(low..=high),
            Self::Bursts(low, high) => {
                if rng.chance(25) {
                    rng.duration(low..=high)
                } else {
                    Duration::ZERO
                }
            }
        }
    }
}

/// The kind of request that a client repeats.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `GET /` on a kept connection.
    Get,
    /// `GET /` on a new connection each, whose first byte may come up to `hold` after the connect.
    PerRequest {
        /// Longest pause between connect and first byte.
        hold: Duration,
    },
    /// `POST /echo` with a random body of at most `largest` bytes, which must come back unchanged.
    Echo {
        /// Largest body in bytes.
        largest: u64,
    },
    /// `GET /slow?ms=` of at most `longest`.
    Slow {
        /// Longest handler time.
        longest: Duration,
    },
    /// `GET /stream`: a chunked response read to its terminator.
    Stream {
        /// Most chunks.
        chunks: u64,
        /// Longest pause between two chunks.
        pause: Duration,
    },
    /// `GET /large` by a slow reader with a small receive buffer.
    Large {
        /// Most body bytes.
        bytes: u64,
        /// Bytes read at a time.
        sip: u64,
        /// Pause between two reads.
        pause: Duration,
    },
    /// `POST /upload` in pieces.
    Upload {
        /// Most pieces.
        pieces: u64,
        /// Bytes in a piece.
        piece: u64,
        /// Longest pause between two pieces.
        gap: Duration,
    },
    /// `GET /` whose head is sent in two halves.
    HalfHead {
        /// Longest pause between the halves.
        gap: Duration,
    },
}

/// What a client does after it was told to close, or found its connection closed, once the signal was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AfterClose {
    /// Connects again: there is only this one instance.
    Reconnect,
    /// Goes to another instance, outside of this measurement.
    Leave,
}

/// What a client does after a refused connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AfterRefusal {
    /// Tries again at this interval until the server has exited.
    Retry(Duration),
    /// Ends.
    Leave,
}

/// For which idle times a lost request counts as lost; beyond them it is only a figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promise {
    /// Whatever the idle time.
    Always,
    /// Up to these idle times, measured on the connection and not assumed.
    Within {
        /// On a reused connection: since the answer before.
        idle: Duration,
        /// On a fresh one: since the connect.
        hold: Duration,
    },
}

/// All that one client does.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Its kind of request.
    pub kind: Kind,
    /// Its rest between requests.
    pub think: Think,
    /// The seed of its own random sequence.
    pub seed: u64,
    /// When it starts, after the start of the round.
    pub start: Duration,
    /// What it does after a close.
    pub after_close: AfterClose,
    /// What it does after a refused connect.
    pub after_refusal: AfterRefusal,
    /// What it was promised.
    pub promise: Promise,
}

/// How an answer is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// As fast as it comes.
    AtOnce,
    /// So many bytes, then a pause.
    Sips {
        /// Bytes read at a time.
        bytes: usize,
        /// Pause between two reads.
        pause: Duration,
    },
}

/// Which connection a request uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reuse {
    /// The client's kept one.
    Kept,
    /// One of its own, announced by `Connection: close`.
    Own,
}

/// What the answer must be, besides whole and 200.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expected {
    Anything,
    Length(u64),
    Body(Digest),
}

/// One request and all that belongs to it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its name in reports.
    pub label: &'static str,
    /// Rest before it.
    pub think: Duration,
    /// Pause between a fresh connect and its first byte.
    pub hold: Duration,
    /// The bytes of the request, written one piece at a time.
    pub pieces: Vec<Cow<'static, [u8]>>,
    /// Pause between two pieces.
    pub gap: Duration,
    /// How the answer is read.
    pub reading: Reading,
    /// Which connection it uses.
    pub reuse: Reuse,
    expected: Expected,
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const GET_OWN: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
/// Where `HalfHead` cuts, in bytes: inside the name of the `host` field.
const HALF: usize = 20;

impl Script {
    /// Draws the client's next exchange.
    pub fn next(&self, rng: &mut Rng) -> Exchange {
        let think = self.think.draw(rng);
        let exchange = match self.kind {
            Kind::Get => Exchange::plain(self.get_label(), GET.into()),
            Kind::PerRequest { hold } => Exchange {
                hold: rng.duration(Duration::ZERO..=hold),
                reuse: Reuse::Own,
                ..Exchange::plain("get, own connection", GET_OWN.into())
            },
            Kind::Echo { largest } => echo(rng, largest),
            Kind::Slow { longest } => {
                let ms = rng.within(5..=longest.as_millis() as u64);
                Exchange::plain("slow", get_head(&format!("/slow?ms={ms}")).into())
            }
            Kind::Stream { chunks, pause } => {
                let chunks = rng.within(2..=chunks);
                let ms = rng.within(1..=pause.as_millis() as u64);
                let target = format!("/stream?chunks={chunks}&ms={ms}");
                let body: String = (1..=chunks)
                    .map(|chunk| format!("chunk {chunk} of {chunks}\n"))
                    .collect();
                Exchange {
                    expected: Expected::Body(Digest::of(body.as_bytes())),
                    ..Exchange::plain("stream", get_head(&target).into())
                }
            }
            Kind::Large { bytes, sip, pause } => {
                let bytes = rng.within(bytes / 4..=bytes);
                Exchange {
                    reading: Reading::Sips {
                        bytes: sip as usize,
                        pause,
                    },
                    expected: Expected::Length(bytes),
                    ..Exchange::plain(
                        "large, slow reader",
                        get_head(&format!("/large?bytes={bytes}")).into(),
                    )
                }
            }
            Kind::Upload { pieces, piece, gap } => upload(rng, pieces, piece, gap),
            Kind::HalfHead { gap } => Exchange {
                pieces: vec![GET[..HALF].into(), GET[HALF..].into()],
                gap: rng.duration(Duration::from_millis(1)..=gap),
                ..Exchange::plain("half a head", GET.into())
            },
        };
        Exchange { think, ..exchange }
    }

    /// Tells plain clients apart by what they test: a live connection, its reuse after idling, or idling too long.
    fn get_label(&self) -> &'static str {
        match (&self.think, self.promise) {
            (Think::Bursts(..), _) => "get, bursts and idle",
            (Think::Between(least, _), Promise::Within { idle, .. }) if *least > idle => {
                "get, idle too long"
            }
            _ => "get",
        }
    }

    /// The receive buffer that the client asks the kernel for, in bytes; nothing leaves the default.
    pub fn receive_buffer(&self) -> Option<usize> {
        match self.kind {
            // Otherwise the kernel swallows the whole response and the reader is not slow at all.
            Kind::Large { sip, .. } => Some(sip as usize),
            _ => None,
        }
    }
}

impl Exchange {
    fn plain(label: &'static str, request: Cow<'static, [u8]>) -> Self {
        Self {
            label,
            think: Duration::ZERO,
            hold: Duration::ZERO,
            pieces: vec![request],
            gap: Duration::ZERO,
            reading: Reading::AtOnce,
            reuse: Reuse::Kept,
            expected: Expected::Anything,
        }
    }

    /// Says what a whole answer means to this request.
    pub fn meaning(&self, response: &Response) -> Meaning {
        let as_asked = response.status() == 200
            && match self.expected {
                Expected::Anything => true,
                Expected::Length(bytes) => response.body_length() == bytes,
                Expected::Body(digest) => response.body_digest() == digest,
            };
        match (as_asked, response.closes()) {
            (true, false) => Meaning::Expected,
            (true, true) => Meaning::ExpectedAndClose,
            (false, true) if response.status() == 503 && response.has_retry_after() => {
                Meaning::RetrySafe
            }
            (false, _) => Meaning::Unexpected,
        }
    }
}

fn echo(rng: &mut Rng, largest: u64) -> Exchange {
    let body = random_body(rng, largest);
    let mut request = post_head("/echo", body.len() as u64);
    request.extend_from_slice(&body);
    Exchange {
        expected: Expected::Body(Digest::of(&body)),
        ..Exchange::plain("post echo", request.into())
    }
}

fn upload(rng: &mut Rng, most: u64, piece: u64, gap: Duration) -> Exchange {
    let count = rng.within(2..=most);
    let head = post_head("/upload", count * piece);
    let body = vec![b'u'; piece as usize];
    let mut exchange = Exchange::plain("upload in pieces", head.into());
    exchange
        .pieces
        .extend((0..count).map(|_| Cow::Owned(body.clone())));
    // The answer is the number of bytes that were read.
    exchange.expected = Expected::Body(Digest::of(format!("{}\n", count * piece).as_bytes()));
    exchange.gap = rng.duration(Duration::from_millis(1)..=gap);
    exchange
}

fn get_head(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

fn post_head(target: &str, length: u64) -> Vec<u8> {
    format!("POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
        .into_bytes()
}

/// A body of 1 to `largest` random bytes.
pub(crate) fn random_body(rng: &mut Rng, largest: u64) -> Vec<u8> {
    let length = rng.within(1..=largest) as usize;
    let mut body = Vec::with_capacity(length + 8);
    while body.len() < length {
        body.extend_from_slice(&rng.next().to_le_bytes());
    }
    body.truncate(length);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(kind: Kind) -> Script {
        Script {
            kind,
            think: Think::None,
            seed: 1,
            start: Duration::ZERO,
            after_close: AfterClose::Reconnect,
            after_refusal: AfterRefusal::Leave,
            promise: Promise::Always,
        }
    }

    fn answer(bytes: &[u8]) -> Response {
        let mut response = Response::new();
        response.take(bytes);
        assert!(response.is_complete());
        response
    }

    #[test]
    fn the_pieces_of_a_half_head_make_the_whole_request() {
        let exchange = script(Kind::HalfHead {
            gap: Duration::from_millis(5),
        })
        .next(&mut Rng::new(1));
        assert_eq!(exchange.pieces.len(), 2);
        assert_eq!(exchange.pieces.concat(), GET);
    }

    #[test]
    fn an_echo_of_other_bytes_is_unexpected() {
        let exchange = script(Kind::Echo { largest: 1 }).next(&mut Rng::new(1));
        let sent = exchange.pieces[0].last().copied().unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
        assert_eq!(
            exchange.meaning(&answer(&[&head[..], &[sent]].concat())),
            Meaning::Expected
        );
        assert_eq!(
            exchange.meaning(&answer(&[&head[..], &[!sent]].concat())),
            Meaning::Unexpected
        );
    }

    #[test]
    fn a_503_is_retry_safe_only_with_both_retry_after_and_close() {
        let exchange = script(Kind::Get).next(&mut Rng::new(1));
        for (fields, meaning) in [
            (
                "retry-after: 1\r\nconnection: close\r\n",
                Meaning::RetrySafe,
            ),
            ("connection: close\r\n", Meaning::Unexpected),
            ("retry-after: 1\r\n", Meaning::Unexpected),
        ] {
            let bytes = format!("HTTP/1.1 503 Busy\r\n{fields}content-length: 0\r\n\r\n");
            assert_eq!(
                exchange.meaning(&answer(bytes.as_bytes())),
                meaning,
                "{fields}"
            );
        }
    }
}
