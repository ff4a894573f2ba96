//! Owns frames (RFC 9113 §4, §6): reading them from bytes as they arrive, within bounds, and writing ours.
//! Not: what they mean for streams (see `flow`).

use std::fmt;

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest frame that we accept, in bytes: the protocol's own default.
pub(crate) const MAX_FRAME: usize = 16_384;
/// The largest header block that we put together from CONTINUATIONs, in bytes.
pub(crate) const MAX_BLOCK: usize = 64 * 1024;
/// Stream ids and window sizes have 31 bits.
pub(crate) const MAX_31: u32 = 0x7fff_ffff;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;

pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITIZED: u8 = 0x20;

/// Why bytes could not be read as frames of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadFrame {
    TooLarge,
    Size,
    Padding,
    Stream,
    BlockTooLarge,
    OutOfPlace,
    Pushed,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "a frame is larger than 16 KiB",
            Self::Size => "a frame has the wrong size for its type",
            Self::Padding => "a frame has more padding than payload",
            Self::Stream => "a frame names a stream that it can not be about",
            Self::BlockTooLarge => "a header block is larger than 64 KiB",
            Self::OutOfPlace => "a header block is interrupted by another frame",
            Self::Pushed => "a push, though we refuse pushes",
        })
    }
}

/// One frame of the server; header blocks come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Data {
        stream: u32,
        bytes: Vec<u8>,
        /// With padding: what flow control counts.
        counted: u32,
        end: bool,
    },
    Headers {
        stream: u32,
        block: Vec<u8>,
        end: bool,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    Ping([u8; 8]),
    Pong,
    GoAway {
        last: u32,
        code: u32,
    },
    WindowUpdate {
        stream: u32,
        more: u32,
    },
    /// PRIORITY, or of a type that we do not know: to be ignored.
    Other,
}

/// Puts frames together from bytes.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    bytes: Vec<u8>,
    /// A header block that is not whole yet.
    block: Option<(u32, bool, Vec<u8>)>,
}

impl FrameReader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame that is whole. Call it until `None` after each push: what is kept is then less than a frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, BadFrame> {
        loop {
            let Some(head) = self.bytes.first_chunk::<9>() else {
                return Ok(None);
            };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & MAX_31;
            if length > MAX_FRAME {
                return Err(BadFrame::TooLarge);
            }
            if self.bytes.len() < 9 + length {
                return Ok(None);
            }
            let payload: Vec<u8> = self.bytes.drain(..9 + length).skip(9).collect();
            if let Some(frame) = self.read(kind, flags, stream, &payload)? {
                return Ok(Some(frame));
            }
        }
    }

    /// `None` when the frame is part of a block that goes on.
    fn read(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> Result<Option<Frame>, BadFrame> {
        if self.block.is_some() != (kind == CONTINUATION) {
            return Err(BadFrame::OutOfPlace);
        }
        let about_stream = matches!(kind, DATA | HEADERS | PRIORITY | RST_STREAM | CONTINUATION);
        let about_all = matches!(kind, SETTINGS | PING | GOAWAY);
        if about_stream && stream == 0 || about_all && stream != 0 {
            return Err(BadFrame::Stream);
        }
        Ok(Some(match kind {
            DATA => Frame::Data {
                stream,
                bytes: unpadded(flags, payload)?.to_vec(),
                counted: payload.len() as u32,
                end: flags & END_STREAM != 0,
            },
            HEADERS => {
                let mut part = unpadded(flags, payload)?;
                if flags & PRIORITIZED != 0 {
                    part = part.get(5..).ok_or(BadFrame::Size)?;
                }
                self.block = Some((stream, flags & END_STREAM != 0, part.to_vec()));
                return Ok(self.whole_block(flags));
            }
            CONTINUATION => {
                let (of, _, block) = self.block.as_mut().ok_or(BadFrame::OutOfPlace)?;
                if *of != stream {
                    return Err(BadFrame::OutOfPlace);
                }
                if block.len() + payload.len() > MAX_BLOCK {
                    return Err(BadFrame::BlockTooLarge);
                }
                block.extend_from_slice(payload);
                return Ok(self.whole_block(flags));
            }
            RST_STREAM => Frame::Reset {
                stream,
                code: number(payload, 0, 4)?,
            },
            SETTINGS if flags & ACK != 0 => Frame::SettingsAck,
            SETTINGS => Frame::Settings(settings(payload)?),
            PUSH_PROMISE => return Err(BadFrame::Pushed),
            PING if flags & ACK != 0 => Frame::Pong,
            PING => Frame::Ping(payload.try_into().map_err(|_| BadFrame::Size)?),
            GOAWAY if payload.len() < 8 => return Err(BadFrame::Size),
            GOAWAY => Frame::GoAway {
                last: number(&payload[..8], 0, 8)? & MAX_31,
                code: number(&payload[..8], 4, 8)?,
            },
            WINDOW_UPDATE => Frame::WindowUpdate {
                stream,
                more: number(payload, 0, 4)? & MAX_31,
            },
            _ => Frame::Other,
        }))
    }

    fn whole_block(&mut self, flags: u8) -> Option<Frame> {
        if flags & END_HEADERS == 0 {
            return None;
        }
        let (stream, end, block) = self.block.take()?;
        Some(Frame::Headers { stream, block, end })
    }
}

fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8], BadFrame> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(BadFrame::Size)?;
    let length = rest
        .len()
        .checked_sub(usize::from(*padding))
        .ok_or(BadFrame::Padding)?;
    Ok(&rest[..length])
}

/// The 32 bits at `at` of a payload that must be `size` bytes long.
fn number(payload: &[u8], at: usize, size: usize) -> Result<u32, BadFrame> {
    let bytes = payload
        .get(at..at + 4)
        .filter(|_| payload.len() == size)
        .ok_or(BadFrame::Size)?;
    Ok(u32::from_be_bytes(
        bytes.try_into().map_err(|_| BadFrame::Size)?,
    ))
}

fn settings(payload: &[u8]) -> Result<Vec<(u16, u32)>, BadFrame> {
    if !payload.len().is_multiple_of(6) {
        return Err(BadFrame::Size);
    }
    let pair = |pair: &[u8]| {
        let id = u16::from_be_bytes([pair[0], pair[1]]);
        (id, u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]))
    };
    Ok(payload.chunks_exact(6).map(pair).collect())
}

/// Whether a frame of ours is the last of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Stream,
    Nothing,
}

impl Ends {
    fn flag(self) -> u8 {
        match self {
            Self::Stream => END_STREAM,
            Self::Nothing => 0,
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of at most [`MAX_FRAME`] bytes.
pub(crate) fn headers(stream: u32, block: &[u8], ends: Ends) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | ends.flag(), stream, block)
}

pub(crate) fn data(stream: u32, bytes: &[u8], ends: Ends) -> Vec<u8> {
    frame(DATA, ends.flag(), stream, bytes)
}

pub(crate) fn settings_of(pairs: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in pairs {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}

pub(crate) fn pong(payload: [u8; 8]) -> Vec<u8> {
    frame(PING, ACK, 0, &payload)
}

pub(crate) fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Frame>, BadFrame> {
        let mut reader = FrameReader::default();
        reader.push(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = reader.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_read_whole_at_every_split() {
        let mut bytes = settings_of(&[(MAX_CONCURRENT_STREAMS, 100)]);
        bytes.extend(frame(HEADERS, 0, 1, &[0x88]));
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[0x89]));
        bytes.extend(frame(DATA, PADDED | END_STREAM, 1, &[2, b'o', b'k', 0, 0]));
        bytes.extend(frame(
            GOAWAY,
            0,
            0,
            &[0x7f, 255, 255, 255, 0, 0, 0, 0, b'x'],
        ));
        let expected = [
            Frame::Settings(vec![(MAX_CONCURRENT_STREAMS, 100)]),
            Frame::Headers {
                stream: 1,
                block: vec![0x88, 0x89],
                end: false,
            },
            Frame::Data {
                stream: 1,
                bytes: b"ok".to_vec(),
                counted: 5,
                end: true,
            },
            Frame::GoAway {
                last: MAX_31,
                code: NO_ERROR,
            },
        ];
        for split in 0..=bytes.len() {
            let mut reader = FrameReader::default();
            let mut frames = Vec::new();
            for part in [&bytes[..split], &bytes[split..]] {
                reader.push(part);
                while let Some(frame) = reader.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, expected, "split {split}");
        }
    }

    #[test]
    fn hostile_frames_are_refused() {
        let rows: [(Vec<u8>, BadFrame); 8] = [
            (vec![0xff; 9], BadFrame::TooLarge),
            (frame(PING, 0, 0, &[1]), BadFrame::Size),
            (frame(GOAWAY, 0, 0, &[1]), BadFrame::Size),
            (frame(DATA, PADDED, 1, &[9, 1]), BadFrame::Padding),
            (frame(DATA, 0, 0, &[1]), BadFrame::Stream),
            (frame(SETTINGS, 0, 3, &[]), BadFrame::Stream),
            (frame(CONTINUATION, 0, 1, &[]), BadFrame::OutOfPlace),
            (frame(PUSH_PROMISE, 0, 1, &[0; 8]), BadFrame::Pushed),
        ];
        for (bytes, bad) in rows {
            assert_eq!(read(&bytes), Err(bad));
        }
        let mut flood = frame(HEADERS, 0, 1, &[0; MAX_FRAME]);
        for _ in 0..4 {
            flood.extend(frame(CONTINUATION, 0, 1, &[0; MAX_FRAME]));
        }
        assert_eq!(read(&flood), Err(BadFrame::BlockTooLarge));
        let mut torn = frame(HEADERS, 0, 1, &[0x88]);
        torn.extend(frame(PING, 0, 0, &[0; 8]));
        assert_eq!(read(&torn), Err(BadFrame::OutOfPlace));
    }
}
