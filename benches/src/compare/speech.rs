//! What a guest says, and what it makes of the answers, for three protocols.
//!
//! Owns: requests as bytes, an incremental ear for each protocol, and the replies that a protocol demands of a client
//! that only waits. Not here: sockets.

use crate::http1::Response;
use crate::wire::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, UPGRADE, frame,
};

const FRAME_HEAD: usize = 9;
/// The last stream id of a GOAWAY that only announces another one (RFC 9113 §6.8).
const ANNOUNCEMENT: u32 = 0x7FFF_FFFF;
/// The first byte of a Close frame (RFC 6455 §5.2).
const CLOSE: u8 = 0x88;
/// A masked Close that says 1001.
const CLOSE_ANSWER: [u8; 8] = [CLOSE, 0x82, 0, 0, 0, 0, 0x03, 0xE9];
/// A protocol that a guest speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speech {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 by prior knowledge
    Http2,
    /// A WebSocket over HTTP/1.1
    WebSocket,
}

/// What some bytes meant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Heard {
    /// Answers that are complete now.
    pub answers: usize,
    /// The guest was told to go: `Connection: close`, the final GOAWAY, a Close.
    pub told: bool,
}

/// Both sides' state of one connection, without its socket.
#[derive(Debug)]
pub struct Ear {
    speech: Speech,
    response: Response,
    upgraded: bool,
    next_stream: u32,
    /// A frame or a head that has not come whole.
    pending: Vec<u8>,
}

impl Ear {
    /// Of a new connection.
    pub fn new(speech: Speech) -> Self {
        Self {
            speech,
            response: Response::new(),
            upgraded: false,
            next_stream: 1,
            pending: Vec::new(),
        }
    }

    /// What is said first on a connection; a WebSocket's upgrade is answered.
    pub fn opening(&self) -> Vec<u8> {
        match self.speech {
            Speech::Http1 => Vec::new(),
            Speech::Http2 => [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat(),
            Speech::WebSocket => UPGRADE.to_vec(),
        }
    }

    /// One more GET; nothing for a WebSocket, which only waits.
    pub fn get(&mut self, path: &str) -> Vec<u8> {
        match self.speech {
            Speech::Http1 => format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes(),
            Speech::Http2 => {
                let stream = self.next_stream;
                self.next_stream += 2;
                frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(path))
            }
            Speech::WebSocket => Vec::new(),
        }
    }

    /// Takes bytes as they come; what the protocol wants said in return is appended to `reply`.
    pub fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Heard {
        match self.speech {
            Speech::Http1 => self.take_response(bytes),
            Speech::Http2 => {
                self.pending.extend_from_slice(bytes);
                self.take_frames(reply)
            }
            Speech::WebSocket => {
                self.pending.extend_from_slice(bytes);
                self.take_messages(reply)
            }
        }
    }

    fn take_response(&mut self, bytes: &[u8]) -> Heard {
        self.response.take(bytes);
        if !self.response.is_complete() {
            return Heard::default();
        }
        let told = self.response.closes();
        self.response = Response::new();
        Heard { answers: 1, told }
    }

    fn take_frames(&mut self, reply: &mut Vec<u8>) -> Heard {
        let mut heard = Heard::default();
        while self.pending.len() >= FRAME_HEAD {
            let length = u32::from_be_bytes([0, self.pending[0], self.pending[1], self.pending[2]]);
            let whole = FRAME_HEAD + length as usize;
            if self.pending.len() < whole {
                break;
            }
            let bytes: Vec<u8> = self.pending.drain(..whole).collect();
            let (kind, flags, payload) = (bytes[3], bytes[4], &bytes[FRAME_HEAD..]);
            match kind {
                DATA | HEADERS if flags & END_STREAM != 0 => heard.answers += 1,
                SETTINGS if flags & ACK == 0 => reply.extend(frame(SETTINGS, ACK, 0, &[])),
                PING if flags & ACK == 0 => reply.extend(frame(PING, ACK, 0, payload)),
                GOAWAY => heard.told |= payload.get(..4) != Some(&ANNOUNCEMENT.to_be_bytes()[..]),
                _ => {}
            }
        }
        self.rest();
        heard
    }

    fn take_messages(&mut self, reply: &mut Vec<u8>) -> Heard {
        let mut heard = Heard::default();
        if !self.upgraded {
            let head = self.pending.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = head else { return heard };
            self.pending.drain(..end + 4);
            self.upgraded = true;
            heard.answers = 1;
        }
        // A server's frame is not masked, and the control frames that come here are short.
        while self.pending.len() >= 2 {
            let whole = 2 + usize::from(self.pending[1] & 0x7F);
            if self.pending.len() < whole {
                break;
            }
            if self.pending[0] == CLOSE {
                heard.told = true;
                reply.extend(CLOSE_ANSWER);
            }
            self.pending.drain(..whole);
        }
        self.rest();
        heard
    }

    /// Thousands of guests keep no buffer while nothing waits in it.
    fn rest(&mut self) {
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }
}

/// A GET in HPACK (RFC 7541), by the static table alone: the same bytes each time.
fn fields(path: &str) -> Vec<u8> {
    const AUTHORITY: &[u8] = b"\x01\x09localhost";
    let mut block = vec![0x82, 0x86];
    if path == "/" {
        block.push(0x84);
    } else {
        block.extend([0x04, u8::try_from(path.len()).expect("a short path")]);
        block.extend(path.as_bytes());
    }
    block.extend(AUTHORITY);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goaway_counts_when_it_is_final() {
        let mut ear = Ear::new(Speech::Http2);
        let mut reply = Vec::new();
        let announced = frame(GOAWAY, 0, 0, &[0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
        assert_eq!(ear.take(&announced, &mut reply), Heard::default());
        let ping = frame(PING, 0, 0, &[7; 8]);
        ear.take(&ping[..5], &mut reply);
        ear.take(&ping[5..], &mut reply);
        assert_eq!(reply, frame(PING, ACK, 0, &[7; 8]));
        let last = frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
        assert!(ear.take(&last, &mut reply).told);
    }

    #[test]
    fn a_websocket_is_answered_and_told() {
        let mut ear = Ear::new(Speech::WebSocket);
        let mut reply = Vec::new();
        let heard = ear.take(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &mut reply);
        assert_eq!((heard.answers, heard.told), (1, false));
        let heard = ear.take(&[0x88, 2, 3, 0xE9], &mut reply);
        assert!(heard.told);
        assert_eq!(reply, CLOSE_ANSWER);
    }

    #[test]
    fn an_answer_that_says_close_tells() {
        let mut ear = Ear::new(Speech::Http1);
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let heard = ear.take(bytes, &mut Vec::new());
        assert_eq!((heard.answers, heard.told), (1, true));
    }
}
