//! Owns reading one HTTP/1.x response from bytes as they arrive, within stated bounds.
//! Not: sockets, time, or what the response means for a check (see `outcome`).
//!
//! Framing follows RFC 9112 §6: no body for 1xx, 204 and 304; `chunked`; `Content-Length`; else until the
//! connection ends. Body bytes are counted; only the last four are kept.

use std::fmt;

/// Largest head (status line and fields, and likewise trailers) that is read, in bytes.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Longest chunk-size line that is read, in bytes.
const MAX_CHUNK_LINE: usize = 1024;
/// Most interim (1xx) responses accepted before the final one.
const MAX_INTERIM: u8 = 16;

/// Why bytes could not be read as an HTTP/1.x response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    StatusLine,
    Field,
    HeadTooLarge,
    Length,
    Chunk,
    TooManyInterim,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StatusLine => "the status line is not HTTP/1.x",
            Self::Field => "a header line has no colon",
            Self::HeadTooLarge => "the head is larger than 64 KiB",
            Self::Length => "the Content-Length is not one number",
            Self::Chunk => "a chunk is malformed",
            Self::TooManyInterim => "more than 16 interim responses",
        })
    }
}

/// What the head of a response said, as far as shutdown is concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The server announced that it will close: `Connection: close`, or HTTP/1.0 without keep-alive.
    pub(crate) close: bool,
    pub(crate) retry_after: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Head,
    Body { left: u64 },
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailers,
    UntilEnd,
    Complete,
}

/// An incremental reader of one response; feed it bytes, then ask how far it is.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    place: Place,
    line: Vec<u8>,
    head: Head,
    body: u64,
    interim: u8,
    any: bool,
    /// The last bytes of the body so far.
    tail: [u8; 4],
}

impl ResponseReader {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Head,
            line: Vec::new(),
            head: Head::default(),
            body: 0,
            interim: 0,
            any: false,
            tail: [0; 4],
        }
    }

    /// Takes bytes up to the end of this response; returns how many were taken.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut taken = 0;
        while taken < bytes.len() && self.place != Place::Complete {
            self.any = true;
            let rest = &bytes[taken..];
            taken += match self.place {
                Place::Head => self.take_head(rest)?,
                Place::Body { left } => self.take_body(rest, left),
                Place::ChunkSize => self.take_chunk_size(rest)?,
                Place::ChunkData { left } => self.take_chunk_data(rest, left),
                Place::ChunkEnd => self.take_chunk_end(rest)?,
                Place::Trailers => self.take_trailers(rest)?,
                Place::UntilEnd => {
                    self.take_data(rest);
                    rest.len()
                }
                Place::Complete => 0,
            };
        }
        Ok(taken)
    }

    /// Tells the reader that the peer ended the stream in order (FIN); some responses end only so.
    pub(crate) fn end_of_stream(&mut self) {
        if self.place == Place::UntilEnd {
            self.place = Place::Complete;
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.place == Place::Complete
    }

    /// At least one byte of a response was seen.
    pub(crate) fn has_begun(&self) -> bool {
        self.any
    }

    /// The final head, once it was read whole.
    pub(crate) fn head(&self) -> Option<Head> {
        (self.place != Place::Head).then_some(self.head)
    }

    pub(crate) fn body_bytes(&self) -> u64 {
        self.body
    }

    /// How many interim (1xx) responses came before the final one.
    pub(crate) fn interim(&self) -> u8 {
        self.interim
    }

    /// The body so far ends where an event of an event stream ends: with an empty line, or before the first event.
    pub(crate) fn is_at_event_boundary(&self) -> bool {
        let blank = |tail: &[u8; 4]| {
            tail.ends_with(b"\n\n") || tail.ends_with(b"\r\r") || tail.ends_with(b"\r\n\r\n")
        };
        self.body == 0 || blank(&self.tail)
    }

    fn take_data(&mut self, data: &[u8]) {
        self.body += data.len() as u64;
        let last = &data[data.len().saturating_sub(4)..];
        self.tail.rotate_left(last.len());
        let kept = self.tail.len() - last.len();
        self.tail[kept..].copy_from_slice(last);
    }

    fn take_head(&mut self, rest: &[u8]) -> Result<usize, Malformed> {
        let taken = self.take_until_blank_line(rest)?;
        if !ends_head(&self.line) {
            return Ok(taken);
        }
        let text = std::mem::take(&mut self.line);
        let (head, framing) = parse_head(&text)?;
        if (100..200).contains(&head.status) && head.status != 101 {
            self.interim += 1;
            return if self.interim > MAX_INTERIM {
                Err(Malformed::TooManyInterim)
            } else {
                Ok(taken)
            };
        }
        self.head = head;
        self.place = match framing {
            Framing::Length(0) => Place::Complete,
            Framing::Length(left) => Place::Body { left },
            Framing::Chunked => Place::ChunkSize,
            Framing::UntilEnd => {
                self.head.close = true;
                Place::UntilEnd
            }
        };
        Ok(taken)
    }

    fn take_until_blank_line(&mut self, rest: &[u8]) -> Result<usize, Malformed> {
        for (index, byte) in rest.iter().enumerate() {
            if self.line.len() >= MAX_HEAD {
                return Err(Malformed::HeadTooLarge);
            }
            self.line.push(*byte);
            if *byte == b'\n' && ends_head(&self.line) {
                return Ok(index + 1);
            }
        }
        Ok(rest.len())
    }

    fn take_body(&mut self, rest: &[u8], left: u64) -> usize {
        let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.take_data(&rest[..taken]);
        let left = left - taken as u64;
        self.place = if left == 0 {
            Place::Complete
        } else {
            Place::Body { left }
        };
        taken
    }

    fn take_line(&mut self, rest: &[u8]) -> Result<(usize, Option<Vec<u8>>), Malformed> {
        let room = MAX_CHUNK_LINE.saturating_sub(self.line.len());
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) if at < room => {
                self.line.extend_from_slice(&rest[..=at]);
                Ok((at + 1, Some(std::mem::take(&mut self.line))))
            }
            None if rest.len() < room => {
                self.line.extend_from_slice(rest);
                Ok((rest.len(), None))
            }
            _ => Err(Malformed::Chunk),
        }
    }

    fn take_chunk_size(&mut self, rest: &[u8]) -> Result<usize, Malformed> {
        let (taken, line) = self.take_line(rest)?;
        if let Some(line) = line {
            let text = std::str::from_utf8(&line).map_err(|_| Malformed::Chunk)?;
            let digits = text.split(';').next().unwrap_or("").trim();
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(Malformed::Chunk);
            }
            let left = u64::from_str_radix(digits, 16).map_err(|_| Malformed::Chunk)?;
            self.place = if left == 0 {
                Place::Trailers
            } else {
                Place::ChunkData { left }
            };
        }
        Ok(taken)
    }

    fn take_chunk_data(&mut self, rest: &[u8], left: u64) -> usize {
        let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.take_data(&rest[..taken]);
        let left = left - taken as u64;
        self.place = if left == 0 {
            Place::ChunkEnd
        } else {
            Place::ChunkData { left }
        };
        taken
    }

    fn take_chunk_end(&mut self, rest: &[u8]) -> Result<usize, Malformed> {
        let (taken, line) = self.take_line(rest)?;
        if let Some(line) = line {
            if !line.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                return Err(Malformed::Chunk);
            }
            self.place = Place::ChunkSize;
        }
        Ok(taken)
    }

    fn take_trailers(&mut self, rest: &[u8]) -> Result<usize, Malformed> {
        for (index, byte) in rest.iter().enumerate() {
            if self.line.len() >= MAX_HEAD {
                return Err(Malformed::HeadTooLarge);
            }
            self.line.push(*byte);
            let blank = matches!(self.line.as_slice(), b"\r\n" | b"\n");
            if *byte == b'\n' && (blank || ends_head(&self.line)) {
                self.line.clear();
                self.place = Place::Complete;
                return Ok(index + 1);
            }
        }
        Ok(rest.len())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

fn ends_head(line: &[u8]) -> bool {
    line.ends_with(b"\r\n\r\n") || line.ends_with(b"\n\n")
}

fn parse_head(text: &[u8]) -> Result<(Head, Framing), Malformed> {
    let mut lines = text.split(|byte| *byte == b'\n').map(trim_cr);
    let (version_11, status) = parse_status_line(lines.next().unwrap_or_default())?;
    let (mut close, mut keep_alive, mut retry_after, mut chunked) = (false, false, false, false);
    let mut length: Option<u64> = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .ok_or(Malformed::Field)?;
        let name = line[..colon].to_ascii_lowercase();
        let value = String::from_utf8_lossy(&line[colon + 1..])
            .trim()
            .to_ascii_lowercase();
        match name.as_slice() {
            b"connection" => {
                close |= value.split(',').any(|token| token.trim() == "close");
                keep_alive |= value.split(',').any(|token| token.trim() == "keep-alive");
            }
            b"retry-after" => retry_after = true,
            b"transfer-encoding" => chunked |= value.ends_with("chunked"),
            b"content-length" => {
                let this = value.parse::<u64>().map_err(|_| Malformed::Length)?;
                if length.is_some_and(|earlier| earlier != this) || value.starts_with('+') {
                    return Err(Malformed::Length);
                }
                length = Some(this);
            }
            _ => {}
        }
    }
    let head = Head {
        status,
        close: close || (!version_11 && !keep_alive),
        retry_after,
    };
    let framing = match (status, chunked, length) {
        (100..=199 | 204 | 304, ..) => Framing::Length(0),
        (_, true, _) => Framing::Chunked,
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::UntilEnd,
    };
    Ok((head, framing))
}

fn parse_status_line(line: &[u8]) -> Result<(bool, u16), Malformed> {
    let version_11 = line.starts_with(b"HTTP/1.1 ");
    if !version_11 && !line.starts_with(b"HTTP/1.0 ") {
        return Err(Malformed::StatusLine);
    }
    let digits = line.get(9..12).ok_or(Malformed::StatusLine)?;
    if line.get(12).is_some_and(|byte| *byte != b' ') || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::StatusLine);
    }
    let status = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    if status < 100 {
        Err(Malformed::StatusLine)
    } else {
        Ok((version_11, status))
    }
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<ResponseReader, Malformed> {
        let mut reader = ResponseReader::new();
        reader.push(bytes)?;
        Ok(reader)
    }

    #[test]
    fn content_length_is_read_whole_at_every_split() {
        let text =
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive, close\r\n\r\nhello";
        for split in 0..=text.len() {
            let mut reader = ResponseReader::new();
            assert_eq!(reader.push(&text[..split]), Ok(split));
            assert_eq!(reader.is_complete(), split == text.len(), "split {split}");
            assert_eq!(reader.push(&text[split..]), Ok(text.len() - split));
            assert!(reader.is_complete());
            assert_eq!(
                reader.head(),
                Some(Head {
                    status: 200,
                    close: true,
                    retry_after: false
                })
            );
            assert_eq!(reader.body_bytes(), 5);
        }
    }

    #[test]
    fn chunked_with_extension_and_trailers_is_read_whole_at_every_split() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n";
        for split in 0..text.len() {
            let mut reader = ResponseReader::new();
            reader.push(&text[..split]).unwrap();
            assert!(!reader.is_complete(), "split {split}");
            reader.push(&text[split..]).unwrap();
            assert!(reader.is_complete());
            assert_eq!(reader.body_bytes(), 5);
            assert!(!reader.head().unwrap().close);
        }
    }

    #[test]
    fn bytes_after_the_response_are_left() {
        let mut reader = ResponseReader::new();
        let text = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200";
        assert_eq!(reader.push(text), Ok(27));
        assert!(reader.is_complete());
    }

    #[test]
    fn a_body_without_length_ends_with_the_connection_only() {
        let mut reader = read(b"HTTP/1.0 200 OK\r\n\r\nabc").unwrap();
        assert!(!reader.is_complete());
        assert!(reader.head().unwrap().close);
        reader.end_of_stream();
        assert!(reader.is_complete());
    }

    #[test]
    fn a_chunked_body_cut_short_never_completes() {
        let mut reader =
            read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").unwrap();
        reader.end_of_stream();
        assert!(!reader.is_complete());
    }

    #[test]
    fn the_end_of_an_event_is_seen_at_every_split() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n";
        let ends = [text.len() - 2, text.len() - 1, text.len()];
        let whole_events: Vec<usize> = (0..=text.len())
            .filter(|&split| {
                let mut reader = ResponseReader::new();
                reader.push(&text[..split]).unwrap();
                reader.body_bytes() > 0 && reader.is_at_event_boundary()
            })
            .collect();
        assert!(ends.iter().all(|end| whole_events.contains(end)));
        // Two events: after each, until the first byte of what follows it in the body.
        assert!(!whole_events.contains(&(text.len() - 3)));
        let after_first = text.len() - 14;
        assert!(
            whole_events.contains(&(after_first - 1)),
            "{whole_events:?}"
        );
    }

    #[test]
    fn interim_responses_are_skipped_within_a_bound() {
        let reader =
            read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        assert_eq!(reader.head().unwrap().status, 200);
        let flood = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17);
        assert_eq!(read(&flood).unwrap_err(), Malformed::TooManyInterim);
    }

    #[test]
    fn hostile_input_is_refused() {
        let cases: [(&[u8], Malformed); 8] = [
            (b"SSH-2.0-OpenSSH\r\n\r\n", Malformed::StatusLine),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", Malformed::StatusLine),
            (b"HTTP/1.1 2000 OK\r\n\r\n", Malformed::StatusLine),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Malformed::Field),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                Malformed::Length,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
                Malformed::Length,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
                Malformed::Chunk,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                Malformed::Chunk,
            ),
        ];
        for (bytes, error) in cases {
            assert_eq!(
                read(bytes).unwrap_err(),
                error,
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn endless_heads_and_chunk_lines_meet_their_bounds() {
        let mut head = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        head.resize(MAX_HEAD + 1, b'a');
        assert_eq!(read(&head).unwrap_err(), Malformed::HeadTooLarge);
        let mut chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_vec();
        chunk.resize(chunk.len() + MAX_CHUNK_LINE, b'a');
        assert_eq!(read(&chunk).unwrap_err(), Malformed::Chunk);
    }
}
