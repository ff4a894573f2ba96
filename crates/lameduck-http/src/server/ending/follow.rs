//! Where in a stream its units end: events, messages, frames.
//!
//! Owns reading along, without time or tasks: bytes in, the last boundary among them out. A few words of memory, whatever the bytes are,
//! and however they are split.

/// Reads along in a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Follower {
    /// `text/event-stream`.
    Events(Events),
    /// Every frame of the body is whole by itself.
    Frames,
    /// gRPC's messages.
    Messages(Messages),
}

impl Follower {
    /// Reads on. How many of `bytes` come before the last boundary among them, if there is one.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Events(events) => events.push(bytes),
            Self::Frames => Some(bytes.len()),
            Self::Messages(messages) => messages.push(bytes),
        }
    }

    /// Whether the next byte begins something new.
    pub(crate) const fn is_between(&self) -> bool {
        match self {
            Self::Events(events) => events.is_between(),
            Self::Frames => true,
            Self::Messages(messages) => messages.is_between(),
        }
    }
}

/// Follows an event stream (WHATWG HTML §9.2.5): lines end with LF, CRLF or CR, an empty line ends an event, a line that begins
/// with a colon is a comment and belongs to no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Events {
    line: Line,
    /// A field of the present event was seen.
    is_open: bool,
    /// The last byte was a CR: a LF would belong to it.
    after_cr: bool,
    /// The last line was a comment.
    after_comment: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    Comment,
    Field,
}

impl Events {
    /// See [`Follower::push`].
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut last = None;
        for (at, byte) in bytes.iter().enumerate() {
            let is_rest_of_line_end = std::mem::take(&mut self.after_cr) && *byte == b'\n';
            match (*byte, self.line) {
                _ if is_rest_of_line_end => {}
                (b'\n' | b'\r', line) => {
                    if line == Line::Start {
                        self.is_open = false;
                    }
                    self.after_comment = line == Line::Comment;
                    self.line = Line::Start;
                    self.after_cr = *byte == b'\r';
                }
                (b':', Line::Start) => self.line = Line::Comment,
                (_, Line::Start) => {
                    self.line = Line::Field;
                    self.is_open = true;
                }
                (_, Line::Comment | Line::Field) => {}
            }
            if self.is_between() {
                last = Some(at + 1);
            }
        }
        last
    }

    /// See [`Follower::is_between`].
    pub(crate) const fn is_between(&self) -> bool {
        matches!(self.line, Line::Start) && !self.is_open
    }

    /// Whether what came last is a comment without an empty line behind it.
    pub(crate) const fn is_after_comment(&self) -> bool {
        self.after_comment
    }
}

/// Follows length-prefixed messages: a byte of flags, four of length, the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    /// Bytes of the prefix that were seen; its length is complete at five.
    prefix: u8,
    /// The length so far, then what is left of the message.
    left: u32,
}

const PREFIX: u8 = 5;

impl Messages {
    /// See [`Follower::push`].
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut last = None;
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.prefix < PREFIX {
                // The first byte, the flags, is shifted out by the four that follow.
                self.left = self.left << 8 | u32::from(*byte);
                self.prefix += 1;
                at += 1;
            } else {
                let here = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - at);
                self.left -= u32::try_from(here).expect("at most what is left");
                at += here;
            }
            if self.prefix == PREFIX && self.left == 0 {
                self.prefix = 0;
                last = Some(at);
            }
        }
        last
    }

    /// See [`Follower::is_between`].
    pub(crate) const fn is_between(&self) -> bool {
        self.prefix == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place between two events, by a second reading of the standard: split into lines first.
    fn event_boundaries(text: &[u8]) -> Vec<usize> {
        let mut lines = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < text.len() {
            let (end, next) = match text[at] {
                b'\r' if text.get(at + 1) == Some(&b'\n') => (at, at + 2),
                b'\r' | b'\n' => (at, at + 1),
                _ => {
                    at += 1;
                    continue;
                }
            };
            lines.push((text[start..end].to_vec(), next, text[end] == b'\r'));
            (start, at) = (next, next);
        }
        let mut open = false;
        let mut found = Vec::new();
        for (line, next, is_cr) in lines {
            match line.first() {
                None => open = false,
                Some(b':') => {}
                Some(_) => open = true,
            }
            if !open {
                // A CRLF may be cut in two: its CR has ended the line.
                if is_cr && text[next - 1] == b'\n' {
                    found.push(next - 1);
                }
                found.push(next);
            }
        }
        found
    }

    const STREAMS: [&[u8]; 7] = [
        b"data: a\n\ndata: b\ndata: c\n\nda",
        b"data: a\r\n\r\nid: 7\r\ndata: b\r\n\r\n",
        b"data: a\r\rdata: b\r\r\r",
        b"data: a\n\r\n\rdata: b\r\n\n",
        b": hello\n\n: again\ndata: x\n: inside\ndata: y\n\n:\n:\r:\r\n",
        b"\n\n\r\n:\n\ndata\n\n",
        b"data: \xff\x00:\n\n:data\ndata: a\n\r",
    ];

    #[test]
    fn boundaries_are_found_at_every_byte() {
        for text in STREAMS {
            let mut events = Events::default();
            let mut found = Vec::new();
            for (at, byte) in text.iter().enumerate() {
                if events.push(&[*byte]).is_some() {
                    assert!(events.is_between());
                    found.push(at + 1);
                } else {
                    assert!(!events.is_between());
                }
            }
            assert_eq!(
                found,
                event_boundaries(text),
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn every_split_into_three_frames_finds_the_same() {
        for text in STREAMS {
            let expected = event_boundaries(text);
            let mut whole = Events::default();
            assert_eq!(whole.push(text), expected.last().copied());
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let mut events = Events::default();
                    let mut base = 0;
                    for part in [&text[..first], &text[first..second], &text[second..]] {
                        let here = expected
                            .iter()
                            .rfind(|at| (base + 1..=base + part.len()).contains(at));
                        assert_eq!(events.push(part).map(|at| base + at).as_ref(), here);
                        base += part.len();
                    }
                    assert_eq!(events, whole);
                }
            }
        }
    }

    #[test]
    fn a_comment_is_no_event_and_is_told_from_an_empty_line() {
        let mut events = Events::default();
        assert!(events.is_between(), "nothing was begun");
        assert_eq!(events.push(b":"), None);
        assert_eq!(events.push(b" beat\n"), Some(6));
        assert!(events.is_after_comment());
        assert_eq!(events.push(b"\n"), Some(1));
        assert!(!events.is_after_comment());
        assert_eq!(events.push(b"data: x\n:\n"), None);
        assert_eq!(events.push(b"\r"), Some(1));
        assert_eq!(
            events.push(b"\n"),
            Some(1),
            "the rest of a line end is no new line"
        );
        assert_eq!(events.push(b"\ndata: y\n"), Some(1));
    }

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u32::try_from(length).expect("short").to_be_bytes());
        bytes.extend(std::iter::repeat_n(0xff, length));
        bytes
    }

    #[test]
    fn messages_end_where_their_length_says() {
        let stream = [message(0), message(3), message(1), message(300)].concat();
        let expected = [5, 13, 19, 324];
        for first in 0..=stream.len() {
            for second in [first, (first + 7).min(stream.len()), stream.len()] {
                let mut messages = Messages::default();
                let mut base = 0;
                for part in [&stream[..first], &stream[first..second], &stream[second..]] {
                    let here = expected
                        .iter()
                        .rfind(|at| (base + 1..=base + part.len()).contains(at));
                    assert_eq!(messages.push(part).map(|at| base + at).as_ref(), here);
                    base += part.len();
                    assert_eq!(
                        messages.is_between(),
                        base == 0 || expected.contains(&base),
                        "at {base}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_longest_length_does_not_overflow() {
        let mut messages = Messages::default();
        assert_eq!(messages.push(&[1, 0xff, 0xff, 0xff, 0xff, 7]), None);
        assert!(!messages.is_between());
        assert_eq!(messages.left, u32::MAX - 1);
    }
}
