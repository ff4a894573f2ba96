//! The client's half of HTTP/1.1: an incremental reader of one response at a time.
//!
//! Owns: finding the end of a response by its framing (RFC 9112 §6), what it says about the connection, and the
//! amount and digest of its body. Not here: sockets, and what the response was expected to be (`script`).

/// Largest response head that is read, in bytes.
pub const LARGEST_HEAD: usize = 16 * 1024;
/// Longest chunk-size or trailer line that is read, in bytes.
const LONGEST_LINE: usize = 1024;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Head,
    Counted { left: u64 },
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailers,
    UntilEnd,
    Complete,
    Broken,
}

/// Reads one response from the bytes as they arrive.
#[derive(Clone, Debug)]
pub struct Response {
    part: Part,
    line: Vec<u8>,
    status: u16,
    closes: bool,
    retry_after: bool,
    received: u64,
    body: u64,
    digest: Digest,
    /// The last two bytes of the body.
    tail: [u8; 2],
}

impl Default for Response {
    fn default() -> Self {
        Self::new()
    }
}

impl Response {
    /// Starts before the first byte.
    pub fn new() -> Self {
        Self {
            part: Part::Head,
            line: Vec::new(),
            status: 0,
            closes: false,
            retry_after: false,
            received: 0,
            body: 0,
            digest: Digest::default(),
            tail: [0; 2],
        }
    }

    /// Takes the next bytes; bytes behind the end of the response break it (nothing was pipelined).
    pub fn take(&mut self, mut bytes: &[u8]) {
        self.received += bytes.len() as u64;
        while !bytes.is_empty() {
            bytes = match self.part {
                Part::Head => self.take_head(bytes),
                Part::Counted { left } | Part::ChunkData { left } => self.take_body(bytes, left),
                Part::ChunkSize | Part::ChunkEnd | Part::Trailers => self.take_line(bytes),
                Part::UntilEnd => self.take_body(bytes, u64::MAX),
                Part::Complete | Part::Broken => {
                    self.part = Part::Broken;
                    return;
                }
            };
        }
    }

    /// Tells that the connection ended by end of file: it completes a body without a length.
    pub fn end_of_file(&mut self) {
        if self.part == Part::UntilEnd {
            self.closes = true;
            self.part = Part::Complete;
        }
    }

    /// Whether the framing says that all has arrived, or that no more can be understood.
    pub fn is_over(&self) -> bool {
        matches!(self.part, Part::Complete | Part::Broken)
    }

    /// Whether all of a well-formed response has arrived.
    pub fn is_complete(&self) -> bool {
        self.part == Part::Complete
    }

    /// The status code, 0 before it is known.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the response says that the connection must not be used again.
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// Whether a `Retry-After` was seen.
    pub fn has_retry_after(&self) -> bool {
        self.retry_after
    }

    /// Bytes received, head and framing included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Body bytes received, framing excluded.
    pub fn body_length(&self) -> u64 {
        self.body
    }

    /// The digest of the body so far.
    pub fn body_digest(&self) -> Digest {
        self.digest
    }

    /// Whether the body so far ends with an empty line, as an event of an event stream does.
    pub fn ends_with_empty_line(&self) -> bool {
        self.tail == *b"\n\n"
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let before = self.line.len();
        let room = LARGEST_HEAD.saturating_sub(before);
        let taken = &bytes[..bytes.len().min(room)];
        self.line.extend_from_slice(taken);
        let from = before.saturating_sub(3);
        let Some(at) = self.line[from..]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        else {
            if self.line.len() >= LARGEST_HEAD {
                self.part = Part::Broken;
            }
            return &bytes[taken.len()..];
        };
        let end = from + at + 4;
        let head = std::mem::take(&mut self.line);
        self.part = self.understand(&head[..end - 2]).unwrap_or(Part::Broken);
        &bytes[end - before..]
    }

    /// Reads a head (each line still with its CRLF) and says what follows it.
    fn understand(&mut self, head: &[u8]) -> Option<Part> {
        let head = std::str::from_utf8(head).ok()?;
        let mut lines = head.split_terminator("\r\n");
        let first = lines.next()?;
        let version = first.get(..9)?;
        if version != "HTTP/1.1 " && version != "HTTP/1.0 " {
            return None;
        }
        self.status = first.get(9..12)?.parse().ok()?;
        self.closes = version == "HTTP/1.0 ";
        self.retry_after = false;
        let (mut length, mut chunked) = (None, false);
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse::<u64>().ok()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes |= value
                    .split(',')
                    .any(|word| word.trim().eq_ignore_ascii_case("close"));
            } else if name.eq_ignore_ascii_case("retry-after") {
                self.retry_after = true;
            }
        }
        Some(match (self.status, chunked, length) {
            (100..=199, ..) => Part::Head,
            (204 | 304, ..) | (_, false, Some(0)) => Part::Complete,
            (_, true, _) => Part::ChunkSize,
            (_, false, Some(left)) => Part::Counted { left },
            (_, false, None) => Part::UntilEnd,
        })
    }

    fn take_body<'a>(&mut self, bytes: &'a [u8], left: u64) -> &'a [u8] {
        let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.digest.update(&bytes[..taken]);
        for &byte in &bytes[taken.saturating_sub(2)..taken] {
            self.tail = [self.tail[1], byte];
        }
        self.body += taken as u64;
        let left = left - taken as u64;
        self.part = match self.part {
            Part::Counted { .. } if left == 0 => Part::Complete,
            Part::Counted { .. } => Part::Counted { left },
            Part::ChunkData { .. } if left == 0 => Part::ChunkEnd,
            Part::ChunkData { .. } => Part::ChunkData { left },
            other => other,
        };
        &bytes[taken..]
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let newline = bytes.iter().position(|&byte| byte == b'\n');
        let taken = newline.map_or(bytes.len(), |at| at + 1);
        if self.line.len() + taken > LONGEST_LINE {
            self.part = Part::Broken;
            return &[];
        }
        self.line.extend_from_slice(&bytes[..taken]);
        if newline.is_some() {
            let line = std::mem::take(&mut self.line);
            self.part = after_line(self.part, &line).unwrap_or(Part::Broken);
        }
        &bytes[taken..]
    }
}

/// What follows a line of the chunked framing, or nothing if the line is malformed.
fn after_line(part: Part, line: &[u8]) -> Option<Part> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    Some(match part {
        Part::ChunkSize => {
            let size = text.split(';').next()?.trim();
            match u64::from_str_radix(size, 16).ok()? {
                0 => Part::Trailers,
                left => Part::ChunkData { left },
            }
        }
        Part::ChunkEnd if text.is_empty() => Part::ChunkSize,
        Part::Trailers if text.is_empty() => Part::Complete,
        Part::Trailers => Part::Trailers,
        _ => return None,
    })
}

/// FNV-1a over a body, enough to see that an echo is the same bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::default();
        digest.update(bytes);
        digest
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize) -> Response {
        let mut response = Response::new();
        for piece in bytes.chunks(step) {
            response.take(piece);
        }
        response
    }

    #[test]
    fn an_event_ends_with_an_empty_line_however_it_is_cut() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for (body, ends) in [
            ("9\r\ndata: 1\n\n\r\n0\r\n\r\n", true),
            ("8\r\ndata: 1\n\r\n0\r\n\r\n", false),
        ] {
            let bytes = format!("{head}{body}");
            for step in 1..=bytes.len() {
                let response = read(bytes.as_bytes(), step);
                assert!(response.is_complete());
                assert_eq!(response.ends_with_empty_line(), ends, "{body:?} by {step}");
            }
        }
    }

    #[test]
    fn a_counted_response_is_complete_at_its_length_however_it_is_cut() {
        let bytes =
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: Keep-Alive, Close\r\n\r\nhello";
        for step in 1..=bytes.len() {
            let response = read(bytes, step);
            assert!(response.is_complete() && response.closes(), "step {step}");
            assert_eq!((response.status(), response.body_length()), (200, 5));
            assert_eq!(response.body_digest(), Digest::of(b"hello"));
            assert!(!read(&bytes[..bytes.len() - 1], step).is_over());
        }
    }

    #[test]
    fn a_chunked_response_is_complete_at_its_terminator_only() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nt: v\r\n\r\n";
        for step in 1..=bytes.len() {
            let response = read(bytes, step);
            assert!(response.is_complete() && !response.closes(), "step {step}");
            assert_eq!(response.body_digest(), Digest::of(b"abc0123456789"));
            assert!(!read(&bytes[..bytes.len() - 2], step).is_over());
        }
    }

    #[test]
    fn only_a_body_without_a_length_is_completed_by_the_end_of_file() {
        let mut open = read(b"HTTP/1.1 200 OK\r\n\r\nabc", 7);
        assert!(!open.is_over());
        open.end_of_file();
        assert!(open.is_complete() && open.closes());
        let mut counted = read(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc", 7);
        counted.end_of_file();
        assert!(!counted.is_over());
    }

    #[test]
    fn nonsense_and_surplus_bytes_break_the_response() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
        ] {
            let response = read(bytes, bytes.len());
            assert!(response.is_over() && !response.is_complete());
        }
        let endless = read(&[b'a'; LARGEST_HEAD + 1], 4096);
        assert!(endless.is_over() && !endless.is_complete());
    }

    #[test]
    fn an_interim_response_is_skipped() {
        let response = read(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            5,
        );
        assert!(response.is_complete());
        assert_eq!(response.status(), 204);
    }
}
