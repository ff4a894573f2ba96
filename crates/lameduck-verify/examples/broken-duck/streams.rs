//! Responses that last: chunks with pauses, and an event stream that ends between two events.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Duck, WINDOW};

/// More chunks than anybody waits for.
const ENDLESS: u64 = 10_000;

/// Whether a response was ended as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Whole,
    Cut,
}

fn pause(duck: &Duck, time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::sleep(left.min(Duration::from_millis(5)));
        if duck.phase() >= WINDOW && duck.is_broken("H1-14") {
            return;
        }
    }
}

fn head(stream: &mut TcpStream, kind: &str, connection: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n{connection}\r\n"
    )
}

fn chunk(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    write!(stream, "{:x}\r\n{text}\r\n", text.len())
}

/// So many chunks, that far apart.
pub(crate) fn chunked(
    duck: &Arc<Duck>,
    stream: &mut TcpStream,
    chunks: u64,
    gap: Duration,
    connection: &str,
) -> std::io::Result<Ended> {
    head(stream, "text/plain", connection)?;
    for index in 0..chunks {
        let leaving = duck.phase() >= WINDOW;
        if leaving && duck.is_broken("H1-11") {
            return Ok(Ended::Cut);
        }
        if leaving && duck.is_broken("H1-11-end") && chunks > ENDLESS {
            break;
        }
        chunk(stream, &format!("chunk {index}\n"))?;
        pause(duck, gap);
    }
    stream.write_all(b"0\r\n\r\n")?;
    Ok(Ended::Whole)
}

/// Events until the server leaves.
pub(crate) fn events(
    duck: &Arc<Duck>,
    stream: &mut TcpStream,
    gap: Duration,
    connection: &str,
) -> std::io::Result<Ended> {
    head(stream, "text/event-stream", connection)?;
    let mut index = 0_u64;
    while duck.phase() < WINDOW {
        chunk(stream, &format!("id: {index}\ndata: {index}\n\n"))?;
        index += 1;
        pause(duck, gap);
    }
    if duck.is_broken("H1-14") {
        chunk(stream, "id: ")?;
        return Ok(Ended::Cut);
    }
    stream.write_all(b"0\r\n\r\n")?;
    Ok(Ended::Whole)
}
