//! An HTTP/1.1 client with or without TLS, one request after the other.
//!
//! Owns: playing exchanges of a script on a connection, the look before each write, the fate of each. Not here: drawing them
//! (`crate::script`), reading a response (`crate::http1`).

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::Field;
use super::door::{Look, Path, Route, Stream};
use super::ledger::{Ended, Fate};
use crate::http1::Response;
use crate::outcome::{Answer, End, Evidence, Outcome, Sent};
use crate::rng::Rng;
use crate::script::{Exchange, Promise, Reading, Reuse, Script};
use crate::target::Door;

pub(super) async fn live(mut path: Path<'_>, script: &Script, mut rng: Rng) {
    let (field, door) = (path.field, path.door);
    let mut kept: Option<Kept> = None;
    loop {
        let exchange = script.next(&mut rng);
        sleep(exchange.think).await;
        let mut held = match kept.take() {
            Some(held) => held,
            None => {
                // The server may have accepted long before a starved client learns of it.
                let busy_until = Instant::now();
                let Some(stream) = path.open(Route::Http1).await else {
                    return;
                };
                sleep(exchange.hold).await;
                Kept {
                    stream,
                    busy_until,
                    reused: false,
                }
            }
        };
        let look = held.stream.look().await;
        if look == Look::Cut {
            let complaint = "TLS: an idle connection ended without close_notify";
            field.ledger().complain(complaint.to_owned());
        }
        if look != Look::Clear {
            if !held.reused && is_held(field.promise, held.busy_until.elapsed()) {
                let complaint = "a new connection was closed before its first byte";
                field.ledger().complain(complaint.to_owned());
            }
            continue;
        }
        if held.play(field, door, &exchange).await {
            held.reused = true;
            kept = Some(held);
        }
    }
}

struct Kept {
    stream: Stream,
    /// It was surely busy until here.
    busy_until: Instant,
    reused: bool,
}

impl Kept {
    /// Plays one exchange and counts it; false when the connection is not to be used again.
    async fn play(&mut self, field: &Field, door: Door, exchange: &Exchange) -> bool {
        let written_at = Instant::now();
        let idle = written_at - self.busy_until;
        let mut attempt = Attempt {
            sent: Sent::Nothing,
            response: Response::new(),
            busy_until: written_at,
        };
        let end = match timeout(field.patience, attempt.run(&mut self.stream, exchange)).await {
            Ok(Ok(())) => End::Open,
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                attempt.response.end_of_file();
                End::Fin
            }
            Ok(Err(_)) => End::Reset,
            Err(_) => End::GaveUp,
        };
        self.busy_until = attempt.busy_until.max(written_at);
        let outcome = attempt.outcome(exchange, end);
        let fate = match Fate::from(outcome) {
            Fate::Lost(_) if !is_promised(field.promise, self.reused, idle, outcome) => {
                Fate::Beyond
            }
            fate => fate,
        };
        field.ledger().end(Ended {
            label: label(door, exchange.label),
            fate,
            written_at,
        });
        end == End::Open && outcome == Outcome::Served && exchange.reuse == Reuse::Kept
    }
}

/// Whether a new connection that says nothing is still to be kept.
fn is_held(promise: Promise, measured: Duration) -> bool {
    match promise {
        Promise::Always => true,
        Promise::Within { hold, .. } => measured <= hold,
    }
}

/// Whether a loss lies inside the promise; only a write that can have crossed the FIN is ever excused.
fn is_promised(promise: Promise, reused: bool, measured: Duration, outcome: Outcome) -> bool {
    match promise {
        Promise::Always => true,
        Promise::Within { idle, hold } => {
            !outcome.may_have_crossed() || measured <= if reused { idle } else { hold }
        }
    }
}

struct Attempt {
    sent: Sent,
    response: Response,
    /// When the last read began: what it read came after that.
    busy_until: Instant,
}

impl Attempt {
    /// Writes the request, then reads until the response is over; an early answer ends the writing.
    async fn run(&mut self, stream: &mut Stream, exchange: &Exchange) -> io::Result<()> {
        let last = exchange.pieces.len() - 1;
        for (index, piece) in exchange.pieces.iter().enumerate() {
            if let Err(error) = write(stream, piece).await {
                // An answer may have come before the reset; it is still in the buffer then.
                return self.read(stream, exchange.reading).await.map_err(|_| error);
            }
            self.sent = if index == last {
                Sent::Whole
            } else {
                Sent::Part
            };
            if index < last {
                sleep(exchange.gap).await;
            }
        }
        self.read(stream, exchange.reading).await
    }

    async fn read(&mut self, stream: &mut Stream, reading: Reading) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        while !self.response.is_over() {
            let (most, pause) = match reading {
                Reading::AtOnce => (buffer.len(), Duration::ZERO),
                Reading::Sips { bytes, pause } => (bytes.min(buffer.len()), pause),
            };
            self.busy_until = Instant::now();
            match stream.read(&mut buffer[..most]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.response.take(&buffer[..read]),
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        Ok(())
    }

    fn outcome(&self, exchange: &Exchange, end: End) -> Outcome {
        let answer = if self.response.is_complete() {
            Answer::Whole(exchange.meaning(&self.response))
        } else if self.response.received() > 0 {
            Answer::Partial
        } else {
            Answer::None
        };
        // Bytes that are no response, on a connection still open, are an answer to something else.
        if self.response.is_over() && answer == Answer::Partial {
            return Outcome::Unexpected;
        }
        let sent = self.sent;
        Outcome::classify(Evidence { sent, answer, end })
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Names of kinds, by what they go through.
fn label(door: Door, kind: &'static str) -> &'static str {
    match door {
        Door::Plain => kind,
        Door::Tls => match kind {
            "get" => "tls get",
            "get, own connection" => "tls get, own connection",
            "post echo" => "tls post echo",
            "slow" => "tls slow",
            "stream" => "tls stream",
            "large, slow reader" => "tls large, slow reader",
            "upload in pieces" => "tls upload in pieces",
            "half a head" => "tls half a head",
            "get, bursts and idle" => "tls get, bursts and idle",
            _ => "tls other",
        },
    }
}
