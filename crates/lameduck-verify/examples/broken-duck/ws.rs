//! A WebSocket that echoes, says Close 1001 when the server leaves, and breaks its own promises on request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::door::poll_in;
use crate::{Duck, WINDOW};

/// The handshake of one key only, the RFC's example: its answer needs no SHA-1.
const KEY: &str = "dghlihnhbxbszsbub25jzq==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Closes are spread over this span.
const SPREAD: Duration = Duration::from_millis(400);
/// How long the answer to a Close is waited for.
pub(crate) const CLOSE_BOUND: Duration = Duration::from_millis(700);
const PIECE: usize = 16 * 1024;
const MOST_BYTES: usize = 16 * 1024 * 1024;

pub(crate) const CLOSE: u8 = 8;
const PING: u8 = 9;

static OPENED: AtomicU64 = AtomicU64::new(0);

/// The answer to a WebSocket handshake, if `head` (in lower case) is one.
pub(crate) fn accept(head: &str) -> Option<String> {
    head.contains("upgrade: websocket").then(|| {
        if head.contains(KEY) {
            format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n")
        } else {
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
    })
}

/// How a WebSocket's connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    InOrder,
    Blindly,
}

struct Socket<'a> {
    duck: &'a Arc<Duck>,
    stream: &'a mut TcpStream,
    input: Vec<u8>,
    message: Vec<u8>,
    message_opcode: u8,
    /// The client has sent its Close.
    is_closed: bool,
    has_injected: bool,
}

/// Echoes until the client closes, or the server leaves.
pub(crate) fn serve(
    duck: &Arc<Duck>,
    stream: &mut TcpStream,
    early: &[u8],
    farewell: Option<u16>,
) -> Parting {
    let index = OPENED.fetch_add(1, Ordering::Relaxed);
    let delay = if duck.is_broken("WS-06") || farewell.is_some() {
        Duration::ZERO
    } else {
        SPREAD * u32::try_from(index % 16).unwrap_or(0) / 16
    };
    let mut socket = Socket {
        duck,
        stream,
        input: early.to_vec(),
        message: Vec::new(),
        message_opcode: 0,
        is_closed: false,
        has_injected: false,
    };
    socket.run(delay, farewell).unwrap_or(Parting::Blindly)
}

impl Socket<'_> {
    fn run(&mut self, delay: Duration, farewell: Option<u16>) -> std::io::Result<Parting> {
        let mut leave_at = None;
        while !self.is_closed {
            if self.duck.phase() >= WINDOW {
                let at = *leave_at.get_or_insert_with(|| Instant::now() + delay);
                if self.duck.is_broken("WS-01") || self.duck.is_broken("L-WS") {
                    std::thread::sleep(Duration::from_millis(30));
                    return Ok(Parting::Blindly);
                }
                if Instant::now() >= at {
                    return self.leave(farewell);
                }
            }
            self.turn()?;
        }
        Ok(Parting::InOrder)
    }

    /// Says Close and waits for the answer, for a while.
    fn leave(&mut self, farewell: Option<u16>) -> std::io::Result<Parting> {
        let farewell = farewell.filter(|_| !self.duck.is_broken("WS-04"));
        if farewell.is_some() {
            self.stream.write_all(&served(0x81, b"farewell"))?;
        }
        let code = farewell.unwrap_or(1001);
        self.stream
            .write_all(&served(0x80 | CLOSE, &code.to_be_bytes()))?;
        let until = Instant::now() + CLOSE_BOUND;
        // What still comes was sent before the Close was seen: the client knows that it was not processed.
        while !self.is_closed && (Instant::now() < until || self.duck.is_broken("WS-03")) {
            if poll_in(self.stream.as_raw_fd(), 5) {
                let mut chunk = [0; PIECE];
                let count = self.stream.read(&mut chunk)?;
                if count == 0 {
                    break;
                }
                self.input.extend_from_slice(&chunk[..count]);
                while let Some((first, _)) = next_frame(&mut self.input) {
                    self.is_closed |= first & 0x0f == CLOSE;
                }
            }
        }
        Ok(Parting::InOrder)
    }

    /// Waits for bytes for a moment, and echoes what has become whole.
    fn turn(&mut self) -> std::io::Result<()> {
        if self.input.is_empty() || poll_in(self.stream.as_raw_fd(), 0) {
            if !poll_in(self.stream.as_raw_fd(), 5) {
                return Ok(());
            }
            let mut chunk = [0; 4 * PIECE];
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                self.is_closed = true;
                return Ok(());
            }
            self.input.extend_from_slice(&chunk[..count]);
        }
        while let Some((first, payload)) = next_frame(&mut self.input) {
            self.take(first, payload)?;
        }
        poll_in(self.stream.as_raw_fd(), 5);
        Ok(())
    }

    fn take(&mut self, first: u8, payload: Vec<u8>) -> std::io::Result<()> {
        match first & 0x0f {
            CLOSE => {
                self.is_closed = true;
                self.stream.write_all(&served(0x80 | CLOSE, &payload))
            }
            PING => self.stream.write_all(&served(0x8a, &payload)),
            opcode @ 0..=2 => {
                if opcode > 0 {
                    self.message_opcode = opcode;
                }
                self.message.extend(payload);
                if self.message.len() > MOST_BYTES {
                    return Err(std::io::ErrorKind::InvalidData.into());
                }
                if first & 0x80 == 0 {
                    return Ok(());
                }
                let message = std::mem::take(&mut self.message);
                self.echo(&served(0x80 | self.message_opcode, &message))
            }
            _ => Ok(()),
        }
    }

    fn echo(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            self.stream.write_all(piece)?;
            if self.duck.is_broken("WS-02") && self.duck.phase() >= WINDOW && !self.has_injected {
                self.has_injected = true;
                self.stream.write_all(&served(0x80 | CLOSE, b"\x03\xe9"))?;
            }
        }
        Ok(())
    }
}

/// Takes the next whole frame off the front of `input`, unmasked.
pub(crate) fn next_frame(input: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second, rest @ ..] = input.as_slice() else {
        return None;
    };
    let first = *first;
    let (length, skip) = match second & 0x7f {
        126 => (
            usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?)),
            4,
        ),
        127 => {
            let long = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
            (usize::try_from(long).ok()?, 10)
        }
        short => (usize::from(short), 2),
    };
    let mask: [u8; 4] = input.get(skip..skip + 4)?.try_into().ok()?;
    let body = skip + 4;
    let payload: Vec<u8> = input
        .get(body..body.checked_add(length)?)?
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    input.drain(..body + length);
    Some((first, payload))
}

/// A frame as a server sends it.
pub(crate) fn served(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(short as u8),
        middle @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}
