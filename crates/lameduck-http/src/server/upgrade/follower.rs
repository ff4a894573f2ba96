//! Where in a WebSocket's outgoing bytes a frame or a message ends (RFC 6455 §5.2).
//!
//! Owns the reading of frame heads, over any split of the bytes and in a few words of memory; it never keeps payload. Masked frames are followed
//! too: a server never sends them, but whoever does must not lead this astray.

/// The bytes of a frame's head that decide its length: at most two, then eight of length, then four of mask.
const HEAD_AT_LEAST: u8 = 2;
const MASK: u8 = 4;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTROL: u8 = 0x08;
const CLOSE: u8 = 0x08;

/// Follows the frames that pass in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Follower {
    /// Bytes of the present frame's head seen so far; 0 between frames and inside a payload.
    head: u8,
    /// Bytes that the head has, as far as is known.
    head_len: u8,
    /// The first byte: FIN and opcode.
    first: u8,
    /// The payload's length, as far as its bytes were seen; then what is left of it.
    payload: u64,
    in_payload: bool,
    /// A message's first frames passed, its last one did not.
    in_message: bool,
    closed: bool,
}

impl Follower {
    /// At the beginning: nothing was sent.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes note of bytes that passed.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// How many of these bytes, not passed yet, end a message that is under way: 0 if none is, all of them if its end is not among them.
    pub(crate) fn until_message_end(&self, bytes: &[u8]) -> usize {
        let mut ahead = *self;
        let mut count = 0;
        while count < bytes.len() && !ahead.is_between_messages() {
            count += ahead.step(&bytes[count..]);
        }
        count
    }

    /// The same for the frame that is under way.
    pub(crate) fn until_frame_end(&self, bytes: &[u8]) -> usize {
        let mut ahead = *self;
        let mut count = 0;
        while count < bytes.len() && !ahead.is_between_frames() {
            count += ahead.step(&bytes[count..]);
        }
        count
    }

    /// Whether the next byte begins a frame.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.head == 0 && !self.in_payload
    }

    /// Whether the next byte begins a frame, and no message waits for its last one.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.is_between_frames() && !self.in_message
    }

    /// Whether a whole Close frame passed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes some of the bytes, never beyond the end of a frame; at least one of a slice that is not empty.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.in_payload {
            let count =
                usize::try_from(self.payload).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.payload -= count as u64;
            if self.payload == 0 {
                self.end_frame();
            }
            return count;
        }
        let mut count = 0;
        while count < bytes.len() {
            self.head_byte(bytes[count]);
            count += 1;
            if self.head >= HEAD_AT_LEAST && self.head == self.head_len {
                self.head = 0;
                if self.payload == 0 {
                    self.end_frame();
                } else {
                    self.in_payload = true;
                }
                break;
            }
        }
        count
    }

    fn head_byte(&mut self, byte: u8) {
        let at = self.head;
        self.head += 1;
        match at {
            0 => self.first = byte,
            1 => {
                let mask = if byte & MASKED == 0 { 0 } else { MASK };
                let (length, short) = match byte & !MASKED {
                    126 => (2, 0),
                    127 => (8, 0),
                    short => (0, u64::from(short)),
                };
                self.payload = short;
                self.head_len = HEAD_AT_LEAST + length + mask;
            }
            _ => {
                // The mask stands last; what comes before it is the length, when the second byte did not say it.
                let mask_from = if self.has_mask() {
                    self.head_len - MASK
                } else {
                    self.head_len
                };
                if at < mask_from {
                    self.payload = self.payload << 8 | u64::from(byte);
                }
            }
        }
    }

    /// A head has 2, 4 or 10 bytes, and 4 more with a mask.
    const fn has_mask(&self) -> bool {
        matches!(self.head_len, 6 | 8 | 14)
    }

    fn end_frame(&mut self) {
        self.in_payload = false;
        let opcode = self.first & 0x0f;
        if opcode == CLOSE {
            self.closed = true;
        }
        // A control frame may stand between the frames of a message.
        if opcode & CONTROL == 0 {
            self.in_message = self.first & FINAL == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u8 = 1;
    const CONTINUATION: u8 = 0;
    const PING: u8 = 9;

    fn frame(fin: bool, opcode: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mut bytes = vec![opcode | if fin { FINAL } else { 0 }];
        let mask = if masked { MASKED } else { 0 };
        match payload {
            0..=125 => bytes.push(mask | u8::try_from(payload).expect("short")),
            126..=0xffff => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(payload).expect("medium").to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([0x88, 0x7f, 0xff, 0x00]);
        }
        // A payload that looks like Close frames.
        bytes.extend(std::iter::repeat_n(0x88, payload));
        bytes
    }

    /// A conversation, with what is true after each byte: between frames, between messages, closed.
    fn conversation() -> Vec<(u8, (bool, bool, bool))> {
        let frames = [
            (true, TEXT, false, 0),
            (true, TEXT, false, 5),
            (false, TEXT, false, 3),
            (true, PING, false, 2),
            (false, CONTINUATION, true, 126),
            (true, CONTINUATION, false, 130),
            (true, 2, true, 70_000),
            (true, 2, false, 65_536),
            (true, 10, false, 125),
            (true, CLOSE, true, 2),
        ];
        let (mut bytes, mut open, mut closed) = (Vec::new(), false, false);
        for (fin, opcode, masked, payload) in frames {
            let frame = frame(fin, opcode, masked, payload);
            for (at, byte) in frame.iter().enumerate() {
                let last = at + 1 == frame.len();
                if last && opcode < CONTROL {
                    open = !fin;
                }
                closed |= last && opcode == CLOSE;
                bytes.push((*byte, (last, last && !open, closed)));
            }
        }
        bytes
    }

    fn facts(follower: &Follower) -> (bool, bool, bool) {
        (
            follower.is_between_frames(),
            follower.is_between_messages(),
            follower.is_closed(),
        )
    }

    #[test]
    fn every_byte_is_known() {
        let mut follower = Follower::new();
        assert_eq!(facts(&follower), (true, true, false));
        for (at, (byte, expected)) in conversation().into_iter().enumerate() {
            follower.feed(&[byte]);
            assert_eq!(facts(&follower), expected, "after byte {at}");
        }
    }

    #[test]
    fn any_split_leads_to_the_same() {
        let told = conversation();
        let bytes: Vec<u8> = told.iter().map(|(byte, _)| *byte).collect();
        // Heads stand within the first 300 bytes and around the large payloads: all splits there, some elsewhere.
        let interesting = (0..400)
            .chain((400..bytes.len()).step_by(97))
            .chain(bytes.len() - 300..bytes.len());
        for cut in interesting {
            let mut follower = Follower::new();
            follower.feed(&bytes[..cut]);
            if cut > 0 {
                assert_eq!(
                    facts(&follower),
                    told[cut - 1].1,
                    "after {cut} bytes at once"
                );
            }
            follower.feed(&bytes[cut..]);
            assert_eq!(facts(&follower), (true, true, true), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_under_way_is_measured_without_passing() {
        let told = conversation();
        let bytes: Vec<u8> = told.iter().map(|(byte, _)| *byte).collect();
        for cut in (1..400).chain(bytes.len() - 200..bytes.len()) {
            let mut follower = Follower::new();
            follower.feed(&bytes[..cut]);
            let rest = &bytes[cut..];
            let to = |is: fn(&(bool, bool, bool)) -> bool| {
                if is(&told[cut - 1].1) {
                    return 0;
                }
                told[cut..]
                    .iter()
                    .position(|(_, facts)| is(facts))
                    .map_or(rest.len(), |at| at + 1)
            };
            assert_eq!(
                follower.until_frame_end(rest),
                to(|facts| facts.0),
                "frame, from {cut}"
            );
            assert_eq!(
                follower.until_message_end(rest),
                to(|facts| facts.1),
                "message, from {cut}"
            );
        }
    }

    #[test]
    fn a_length_beyond_everything_is_only_followed() {
        let mut follower = Follower::new();
        follower.feed(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]);
        follower.feed(&[0x88; 10_000]);
        assert_eq!(facts(&follower), (false, false, false));
        assert_eq!(follower.until_frame_end(&[0; 10]), 10);
    }
}
