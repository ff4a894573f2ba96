//! An HTTP/2 client at the level of frames: it says and sees what no client library lets through.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Ended, soon};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The identifier of a GOAWAY that refuses nothing yet.
pub(crate) const EVERY_STREAM: u32 = 0x7fff_ffff;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED: u32 = 7;
pub(crate) const CANCEL: u32 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    fn is_end(&self) -> bool {
        (self.kind == DATA || self.kind == HEADERS) && self.flags & END_STREAM != 0
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header block of a request, without an index or a Huffman code (RFC 7541 §6).
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (index, value) in [(2_u8, method), (6, "http"), (4, path), (1, "a")] {
        block.extend([index, u8::try_from(value.len()).expect("short")]);
        block.extend(value.as_bytes());
    }
    block
}

/// What became of one stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The bytes of a whole response with status 200.
    Served(Vec<u8>),
    Reset(u32),
    /// The connection ended first.
    Lost,
}

pub(crate) struct Peer<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
    seen: VecDeque<Frame>,
    pub ended: Option<Ended>,
    next: u32,
    /// Whether PINGs are answered.
    pub answers: bool,
}

impl Peer {
    /// Connected and greeted. `settings` are pairs of identifier and value.
    pub(crate) async fn greet(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::silent(addr).await.greeted(settings).await
    }

    pub(crate) async fn silent(addr: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(addr))
            .await
            .expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) const fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            seen: VecDeque::new(),
            ended: None,
            next: 1,
            answers: true,
        }
    }

    /// Exchanges the prefaces.
    pub(crate) async fn greeted(mut self, settings: &[(u16, u32)]) -> Self {
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &payload));
        self.send(&bytes).await;
        let first = self.frame(SETTINGS).await;
        assert_eq!(first.flags, 0);
        self.send(&frame(SETTINGS, ACK, 0, &[])).await;
        self
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        soon("a write", writing).await.expect("write");
    }

    /// Sends a request without a body; its stream.
    pub(crate) async fn ask(&mut self, path: &str) -> u32 {
        self.ask_with("GET", path, END_STREAM).await
    }

    pub(crate) async fn ask_with(&mut self, method: &str, path: &str, end: u8) -> u32 {
        let id = self.next;
        self.next += 2;
        let head = frame(HEADERS, END_HEADERS | end, id, &request(method, path));
        self.send(&head).await;
        id
    }

    pub(crate) async fn widen(&mut self, stream: u32, by: u32) {
        self.send(&frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes()))
            .await;
    }

    /// The next frame of any kind; None at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        if let Some(frame) = self.seen.pop_front() {
            return Some(frame);
        }
        self.read().await
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if self.buffer.len() >= 9 {
                let head = &self.buffer[..9];
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if self.buffer.len() >= 9 + length {
                    let frame = Frame {
                        kind: head[3],
                        flags: head[4],
                        stream: u32::from_be_bytes(head[5..9].try_into().expect("four")),
                        payload: self.buffer[9..9 + length].to_vec(),
                    };
                    self.buffer.drain(..9 + length);
                    if frame.kind == PING && frame.flags & ACK == 0 && self.answers {
                        let answer = self::frame(PING, ACK, 0, &frame.payload);
                        self.send(&answer).await;
                    }
                    return Some(frame);
                }
            }
            if self.ended.is_some() {
                return None;
            }
            match soon("a byte or an end", self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) => self.ended = Some(Ended::Fin),
                Ok(_) => {}
                Err(error) => self.ended = Some(Ended::by(&error)),
            }
        }
    }

    /// The next frame of this kind; others are kept for later.
    pub(crate) async fn frame(&mut self, kind: u8) -> Frame {
        if let Some(at) = self.seen.iter().position(|frame| frame.kind == kind) {
            return self.seen.remove(at).expect("found");
        }
        loop {
            let frame = self.read().await.expect("a frame before the end");
            if frame.kind == kind {
                return frame;
            }
            self.seen.push_back(frame);
        }
    }

    /// The next GOAWAY: last stream and error.
    pub(crate) async fn goaway(&mut self) -> (u32, u32) {
        let frame = self.frame(GOAWAY).await;
        (frame.word(0), frame.word(4))
    }

    /// Waits for what becomes of a stream; frames of others are kept.
    pub(crate) async fn fate(&mut self, stream: u32) -> Fate {
        let mut body = Vec::new();
        let mut others = VecDeque::new();
        let fate = loop {
            let Some(frame) = self.next().await else {
                break Fate::Lost;
            };
            if frame.stream != stream {
                others.push_back(frame);
                continue;
            }
            match frame.kind {
                // 0x88: `:status` 200 in the static table.
                HEADERS if body.is_empty() => assert_eq!(frame.payload[0], 0x88, "{frame:?}"),
                DATA => body.extend_from_slice(&frame.payload),
                RST_STREAM => break Fate::Reset(frame.word(0)),
                _ => {}
            }
            if frame.is_end() {
                break Fate::Served(body);
            }
        };
        others.append(&mut self.seen);
        self.seen = others;
        fate
    }

    /// Lets go of the frames that were kept for later.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Reads to the end of the connection.
    pub(crate) async fn end(&mut self) -> &Ended {
        while self.read().await.is_some() {}
        self.ended.as_ref().expect("an end")
    }
}

pub(crate) fn served(text: &str) -> Fate {
    Fate::Served(text.as_bytes().to_vec())
}
