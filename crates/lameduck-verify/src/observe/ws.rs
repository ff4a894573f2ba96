//! Owns WebSocket frames (RFC 6455 §5) byte by byte: writing masked ones, reading the server's with their times.
//! Not: the opening handshake's HTTP (see `response`), sockets, or what a check makes of it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

/// The key of the RFC's own example, whose answer is known without SHA-1.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server answers to that key.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Largest frame or message that is read, in bytes.
const MAX_MESSAGE: u64 = 64 * 1024 * 1024;
/// Bytes of each message that are kept, from its beginning.
const KEPT: usize = 64;
/// Messages kept until they are taken; more are counted only.
const MAX_INBOX: usize = 256;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Bytes after which the pattern begins anew.
const PERIOD: usize = 23;
/// The pattern, for as long as any read is that begins anywhere in a period.
static PATTERN: [u8; PERIOD + 64 * 1024] = {
    let mut bytes = [0; PERIOD + 64 * 1024];
    let mut place = 0;
    while place < bytes.len() {
        bytes[place] = b'a' + (place % PERIOD) as u8;
        place += 1;
    }
    bytes
};

/// The byte at that place of a large message; any other byte there is not the message's.
pub(crate) fn pattern(place: u64) -> u8 {
    PATTERN[(place % PERIOD as u64) as usize]
}

/// The same for all of `bytes`, the first of which stands at `place`. At once, not one by one: a tester that is busy
/// with that reads too slowly.
fn is_pattern(place: u64, bytes: &[u8]) -> bool {
    let mut from = (place % PERIOD as u64) as usize;
    bytes.chunks(PATTERN.len() - PERIOD).all(|part| {
        let is_same = *part == PATTERN[from..from + part.len()];
        from = (from + part.len()) % PERIOD;
        is_same
    })
}

/// One frame from a client, masked as the RFC demands.
pub(crate) fn frame(opcode: u8, is_last: Last, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    bytes.push(opcode | if is_last == Last::Yes { 0x80 } else { 0 });
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// A Close frame from a client.
pub(crate) fn close_frame(code: u16, mask: [u8; 4]) -> Vec<u8> {
    frame(CLOSE, Last::Yes, &code.to_be_bytes(), mask)
}

/// The answer to a ping.
pub(crate) fn pong_frame(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    frame(PONG, Last::Yes, payload, mask)
}

/// Whether a frame ends its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Yes,
    No,
}

/// Why bytes are not the frames of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    ReservedBits,
    Opcode,
    Masked,
    ControlTooLong,
    ControlInFragments,
    TooLong,
    NothingToContinue,
    /// A new data frame before the message under way was over.
    MessageInsideMessage,
    CloseTooShort,
    /// Anything but the end of the connection after a Close frame.
    AfterClose,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "reserved bits are set",
            Self::Opcode => "an opcode is unknown",
            Self::Masked => "a frame is masked",
            Self::ControlTooLong => "a control frame has more than 125 bytes",
            Self::ControlInFragments => "a control frame is fragmented",
            Self::TooLong => "a message has more than 64 MiB",
            Self::NothingToContinue => "a continuation continues nothing",
            Self::MessageInsideMessage => "a message begins inside another one",
            Self::CloseTooShort => "a Close frame has one byte",
            Self::AfterClose => "frames follow a Close frame",
        })
    }
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) at: Instant,
    pub(crate) opcode: u8,
    pub(crate) len: u64,
    /// Its first bytes.
    pub(crate) head: Vec<u8>,
    /// Every byte is what `pattern` says.
    pub(crate) is_pattern: bool,
}

/// The Close frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) at: Instant,
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
    /// It came between the fragments of a message, which never became whole.
    pub(crate) is_inside_message: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    opcode: u8,
    is_last: bool,
    left: u64,
}

/// Reads what a server sends, at whatever splits it comes.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// The head of the next frame, as far as it came: ten bytes at most.
    partial: Vec<u8>,
    frame: Option<Head>,
    control: Vec<u8>,
    message: Option<Message>,
    pub(crate) inbox: VecDeque<Message>,
    pub(crate) inbox_dropped: u64,
    /// Pings to answer; the newest one only, as the RFC allows.
    pub(crate) ping: Option<Vec<u8>>,
    pub(crate) farewell: Option<Farewell>,
    pub(crate) violation: Option<Violation>,
    pub(crate) messages: u64,
}

impl FrameReader {
    /// Takes all bytes; after a violation they are ignored.
    pub(crate) fn push(&mut self, mut bytes: &[u8], at: Instant) {
        while !bytes.is_empty() && self.violation.is_none() {
            if self.farewell.is_some() {
                self.violation = Some(Violation::AfterClose);
                return;
            }
            let taken = match self.frame {
                None => self.take_head(bytes, at),
                Some(head) => Ok(self.take_payload(head, bytes, at)),
            };
            match taken {
                Ok(taken) => bytes = &bytes[taken..],
                Err(violation) => self.violation = Some(violation),
            }
        }
    }

    /// A message has begun to come and is not whole.
    pub(crate) fn is_inside_message(&self) -> bool {
        self.message.is_some()
    }

    /// The last byte was not the last one of a frame.
    pub(crate) fn is_inside_frame(&self) -> bool {
        self.frame.is_some() || !self.partial.is_empty()
    }

    /// Bytes of the message under way.
    pub(crate) fn message_bytes(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| message.len)
    }

    fn take_head(&mut self, bytes: &[u8], at: Instant) -> Result<usize, Violation> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            self.partial.push(byte);
            taken += 1;
            if let Some(head) = self.whole_head(at)? {
                self.partial.clear();
                self.control.clear();
                self.frame = Some(head);
                if head.left == 0 {
                    self.end_frame(head, at)?;
                }
                break;
            }
        }
        Ok(taken)
    }

    /// The head of a frame, if all of it is there.
    fn whole_head(&mut self, at: Instant) -> Result<Option<Head>, Violation> {
        let [first, second, rest @ ..] = self.partial.as_slice() else {
            return Ok(None);
        };
        let (opcode, is_last) = (first & 0x0f, first & 0x80 != 0);
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        if second & 0x80 != 0 {
            return Err(Violation::Masked);
        }
        let left = match (second & 0x7f, rest) {
            (126, &[a, b]) => u64::from(u16::from_be_bytes([a, b])),
            (127, &[a, b, c, d, e, f, g, h]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            (126 | 127, _) => return Ok(None),
            (short, _) => u64::from(short),
        };
        if opcode >= CLOSE {
            if !matches!(opcode, CLOSE | PING | PONG) {
                return Err(Violation::Opcode);
            }
            if !is_last {
                return Err(Violation::ControlInFragments);
            }
            if left > 125 {
                return Err(Violation::ControlTooLong);
            }
        } else {
            self.begin_data(opcode, left, at)?;
        }
        Ok(Some(Head {
            opcode,
            is_last,
            left,
        }))
    }

    fn begin_data(&mut self, opcode: u8, left: u64, at: Instant) -> Result<(), Violation> {
        match (opcode, &self.message) {
            (CONTINUATION, None) => return Err(Violation::NothingToContinue),
            (CONTINUATION, Some(_)) => {}
            (TEXT | BINARY, None) => {
                self.message = Some(Message {
                    at,
                    opcode,
                    len: 0,
                    head: Vec::new(),
                    is_pattern: true,
                });
            }
            (TEXT | BINARY, Some(_)) => return Err(Violation::MessageInsideMessage),
            _ => return Err(Violation::Opcode),
        }
        if self.message_bytes().saturating_add(left) > MAX_MESSAGE {
            return Err(Violation::TooLong);
        }
        Ok(())
    }

    fn take_payload(&mut self, mut head: Head, bytes: &[u8], at: Instant) -> usize {
        let taken = bytes
            .len()
            .min(usize::try_from(head.left).unwrap_or(usize::MAX));
        let payload = &bytes[..taken];
        if head.opcode >= CLOSE {
            self.control.extend_from_slice(payload);
        } else if let Some(message) = &mut self.message {
            let room = KEPT.saturating_sub(message.head.len()).min(taken);
            message.head.extend_from_slice(&payload[..room]);
            message.is_pattern &= is_pattern(message.len, payload);
            message.len += taken as u64;
        }
        head.left -= taken as u64;
        self.frame = Some(head);
        if head.left == 0
            && let Err(violation) = self.end_frame(head, at)
        {
            self.violation = Some(violation);
        }
        taken
    }

    fn end_frame(&mut self, head: Head, at: Instant) -> Result<(), Violation> {
        self.frame = None;
        match head.opcode {
            PING => self.ping = Some(std::mem::take(&mut self.control)),
            PONG => {}
            CLOSE => {
                let (code, reason) = match self.control.as_slice() {
                    [] => (None, String::new()),
                    [_] => return Err(Violation::CloseTooShort),
                    [high, low, reason @ ..] => (
                        Some(u16::from_be_bytes([*high, *low])),
                        String::from_utf8_lossy(reason).into_owned(),
                    ),
                };
                self.farewell = Some(Farewell {
                    at,
                    code,
                    reason,
                    is_inside_message: self.message.is_some(),
                });
            }
            _ if head.is_last => {
                if let Some(mut message) = self.message.take() {
                    message.at = at;
                    self.messages += 1;
                    if self.inbox.len() < MAX_INBOX {
                        self.inbox.push_back(message);
                    } else {
                        self.inbox_dropped += 1;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a server sends it.
    fn served(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = frame(first & 0x0f, Last::Yes, payload, [0; 4]);
        bytes[0] = first;
        bytes[1] &= 0x7f;
        let mask_at = bytes.len() - payload.len() - 4;
        bytes.drain(mask_at..mask_at + 4);
        bytes
    }

    fn read(bytes: &[u8], split: usize) -> FrameReader {
        let mut reader = FrameReader::default();
        let now = Instant::now();
        reader.push(&bytes[..split], now);
        reader.push(&bytes[split..], now);
        reader
    }

    #[test]
    fn fragments_pings_and_the_close_are_told_apart_at_every_split() {
        let large: Vec<u8> = (0..300).map(pattern).collect();
        let stream = [
            served(0x81, b"hello"),
            served(0x02, &large[..100]),
            served(0x89, b"still there?"),
            served(0x80, &large[100..]),
            served(0x88, b"\x03\xe9going away"),
        ]
        .concat();
        for split in 0..=stream.len() {
            let reader = read(&stream, split);
            assert_eq!(reader.violation, None, "split {split}");
            let lens: Vec<u64> = reader.inbox.iter().map(|message| message.len).collect();
            assert_eq!(lens, [5, 300], "split {split}");
            assert_eq!(reader.inbox[0].head, b"hello");
            assert!(!reader.inbox[0].is_pattern && reader.inbox[1].is_pattern);
            assert_eq!(reader.ping.as_deref(), Some(&b"still there?"[..]));
            let farewell = reader.farewell.as_ref().unwrap();
            assert_eq!(
                (
                    farewell.code,
                    farewell.reason.as_str(),
                    farewell.is_inside_message
                ),
                (Some(1001), "going away", false)
            );
            assert!(!reader.is_inside_frame() && !reader.is_inside_message());
        }
    }

    #[test]
    fn the_pattern_is_told_from_anything_else_wherever_it_is_cut() {
        let all: Vec<u8> = (0..200_000).map(pattern).collect();
        for (from, to) in [(0, 200_000), (1, 70_000), (22, 23), (40, 130_000), (7, 7)] {
            assert!(is_pattern(from as u64, &all[from..to]), "{from}..{to}");
        }
        for wrong in [0, 65_535, 65_536, 199_999] {
            let mut bytes = all.clone();
            bytes[wrong] ^= 1;
            assert!(!is_pattern(0, &bytes), "{wrong}");
        }
        assert!(!is_pattern(1, &all));
    }

    #[test]
    fn a_close_injected_into_a_frame_does_not_go_unseen() {
        let large: Vec<u8> = (0..200).map(pattern).collect();
        let mut stream = served(0x82, &large);
        stream.splice(100..100, served(0x88, b"\x03\xe9"));
        let reader = read(&stream, 50);
        let intact = reader.inbox.iter().all(|message| message.is_pattern);
        assert!(!intact && reader.farewell.is_none());
        let between = [served(0x02, b"half"), served(0x88, b"\x03\xe9")].concat();
        assert!(read(&between, 3).farewell.unwrap().is_inside_message);
    }

    #[test]
    fn what_a_server_must_not_send_is_named() {
        let huge = [&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat();
        let after = [served(0x88, b""), served(0x81, b"x")].concat();
        let inside = [served(0x01, b"x"), served(0x81, b"x")].concat();
        let cases: [(&[u8], Violation); 10] = [
            (&[0xc1, 0], Violation::ReservedBits),
            (&[0x83, 0], Violation::Opcode),
            (&[0x8b, 0], Violation::Opcode),
            (&[0x81, 0x80], Violation::Masked),
            (&[0x89, 126, 0, 126], Violation::ControlTooLong),
            (&[0x09, 0], Violation::ControlInFragments),
            (&[0x80, 0], Violation::NothingToContinue),
            (&huge, Violation::TooLong),
            (&after, Violation::AfterClose),
            (&inside, Violation::MessageInsideMessage),
        ];
        for (bytes, violation) in cases {
            for split in 0..=bytes.len() {
                assert_eq!(
                    read(bytes, split).violation,
                    Some(violation),
                    "{bytes:x?} at {split}"
                );
            }
        }
        assert_eq!(
            read(&served(0x88, b"x"), 0).violation,
            Some(Violation::CloseTooShort)
        );
    }

    #[test]
    fn client_frames_are_masked_and_sized_as_the_rfc_says() {
        // RFC 6455 §5.7: a masked "Hello".
        let hello = frame(TEXT, Last::Yes, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(
            hello,
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
        assert_eq!(
            frame(BINARY, Last::No, &[0; 256], [0; 4])[..4],
            [2, 0xfe, 1, 0]
        );
        let long = frame(BINARY, Last::Yes, &[0; 65536], [0; 4]);
        assert_eq!(long[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
