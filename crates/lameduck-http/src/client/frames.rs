//! What is said about streams on a connection of HTTP/2, read from the bytes as they pass: how many a server allows, that it goes away, and
//! which heads were written.
//!
//! hyper keeps both to itself, and the pool has to know before it puts one stream too many on a connection. Nothing is judged here: that is
//! h2's business, which reads the same bytes.

/// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// So many streams at a time. A server that names no number in its first SETTINGS allows any (RFC 9113 §6.5.2).
    Allows(u32),
    GoAway,
    /// A head of this stream: of a request, a response, or trailers.
    Head {
        stream: u32,
        is_last: bool,
    },
    /// A stream is over, as far as whoever says it is concerned.
    End(u32),
}

/// Follows one connection; keeps no more than a frame's head and one setting.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: Window<9>,
    /// Bytes of the payload that are still to come.
    left: u32,
    kind: u8,
    flags: u8,
    stream: u32,
    setting: Window<6>,
    allowed: Option<u32>,
    has_settings: bool,
}

/// The next `N` bytes, while they come.
#[derive(Debug)]
struct Window<const N: usize> {
    bytes: [u8; N],
    have: usize,
}

impl<const N: usize> Default for Window<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            have: 0,
        }
    }
}

impl<const N: usize> Window<N> {
    /// Takes from `bytes` what is missing; gives the whole once it is there.
    fn fill(&mut self, bytes: &mut &[u8]) -> Option<[u8; N]> {
        let take = bytes.len().min(N - self.have);
        let (taken, rest) = bytes.split_at(take);
        self.bytes[self.have..self.have + take].copy_from_slice(taken);
        self.have += take;
        *bytes = rest;
        (self.have == N).then(|| {
            self.have = 0;
            self.bytes
        })
    }
}

/// The length of what a client says before its first frame (RFC 9113 §3.4).
const PREFACE: u32 = 24;

impl Frames {
    /// Those of a client.
    pub(super) fn of_client() -> Self {
        Self {
            left: PREFACE,
            // A kind that nobody has.
            kind: u8::MAX,
            ..Self::default()
        }
    }

    /// The next bytes.
    pub(super) fn follow(&mut self, mut bytes: &[u8], mut say: impl FnMut(Said)) {
        loop {
            if self.left > 0 {
                let take = bytes.len().min(self.left as usize);
                let (payload, rest) = bytes.split_at(take);
                self.payload(payload);
                bytes = rest;
                // No more than `left`, which fits.
                self.left -= u32::try_from(take).unwrap_or(self.left);
                if self.left > 0 {
                    return;
                }
                self.end(&mut say);
            }
            let Some(head) = self.head.fill(&mut bytes) else {
                return;
            };
            self.left = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            (self.kind, self.flags) = (head[3], head[4]);
            // The first bit is reserved (RFC 9113 §4.1).
            self.stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            self.setting = Window::default();
            self.allowed = None;
            if self.left == 0 {
                self.end(&mut say);
            }
        }
    }

    fn is_settings(&self) -> bool {
        self.kind == SETTINGS && self.flags & ACK == 0
    }

    fn payload(&mut self, mut bytes: &[u8]) {
        if !self.is_settings() {
            return;
        }
        while let Some([id @ .., a, b, c, d]) = self.setting.fill(&mut bytes) {
            if id == MAX_CONCURRENT_STREAMS {
                self.allowed = Some(u32::from_be_bytes([a, b, c, d]));
            }
        }
    }

    fn end(&mut self, say: &mut impl FnMut(Said)) {
        match self.kind {
            HEADERS => say(Said::Head {
                stream: self.stream,
                is_last: self.flags & END_STREAM != 0,
            }),
            DATA if self.flags & END_STREAM != 0 => say(Said::End(self.stream)),
            RST_STREAM => say(Said::End(self.stream)),
            GOAWAY => say(Said::GoAway),
            SETTINGS if self.is_settings() => {
                let first = !std::mem::replace(&mut self.has_settings, true);
                if let Some(allowed) = self.allowed.or(first.then_some(u32::MAX)) {
                    say(Said::Allows(allowed));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0x80, 0, 0, 7];
        frame.extend_from_slice(payload);
        frame
    }

    fn said(pieces: &[&[u8]]) -> Vec<Said> {
        let (mut frames, mut said) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.follow(piece, |one| said.push(one));
        }
        said
    }

    #[test]
    fn what_is_said_is_heard_however_the_bytes_are_cut() {
        let mut bytes = frame(SETTINGS, 0, &[0, 4, 0, 1, 0, 0, 0, 3, 0, 0, 0, 7]);
        bytes.extend(frame(SETTINGS, ACK, &[]));
        bytes.extend(frame(0, 1, &[0, 3, 0, 0, 0, 9]));
        bytes.extend(frame(HEADERS, 4, &[0x88]));
        bytes.extend(frame(SETTINGS, 0, &[0, 5, 0, 0, 64, 0]));
        bytes.extend(frame(SETTINGS, 0, &[0, 3, 0, 0, 0, 0]));
        bytes.extend(frame(GOAWAY, 0, &[0; 8]));
        bytes.extend(frame(RST_STREAM, 0, &[0; 4]));
        let expected = [
            Said::Allows(7),
            Said::End(7),
            Said::Head {
                stream: 7,
                is_last: false,
            },
            Said::Allows(0),
            Said::GoAway,
            Said::End(7),
        ];
        assert_eq!(said(&[&bytes]), expected);
        for at in 0..bytes.len() {
            let (one, two) = bytes.split_at(at);
            assert_eq!(said(&[one, two]), expected, "cut at {at}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(said(&single), expected);
    }

    #[test]
    fn a_clients_preface_is_no_frame() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, &[0, 2, 0, 0, 0, 0]));
        bytes.extend(frame(HEADERS, 5, &[0x82]));
        let (mut frames, mut heads) = (Frames::of_client(), 0);
        for byte in bytes.chunks(1) {
            frames.follow(byte, |said| {
                heads += u32::from(matches!(said, Said::Head { is_last: true, .. }));
            });
        }
        assert_eq!(heads, 1);
    }

    #[test]
    fn a_server_that_names_no_number_allows_any() {
        assert_eq!(said(&[&frame(SETTINGS, 0, &[])]), [Said::Allows(u32::MAX)]);
        let other = frame(SETTINGS, 0, &[0, 4, 0, 1, 0, 0]);
        assert_eq!(said(&[&other]), [Said::Allows(u32::MAX)]);
    }
}
