//! Owns asking a target what it calls itself (the `Server` field), so that reports can show the mend for that server.
//! Not: guessing from its command (see `catalogue::fixes`), and nothing is judged by it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::facts::Facts;
use super::requests;
use crate::catalogue::ServerKind;
use crate::options::Options;
use crate::target::{Place, Running};

/// For the whole question.
const BOUND: Duration = Duration::from_secs(1);
/// Bytes of a head that are read at most.
const MOST_BYTES: usize = 16 * 1024;

/// Which server the target is, as far as its command or its answers give it away.
pub(crate) fn kind(options: &Options, facts: &Facts, running: &Running) -> Option<ServerKind> {
    let field = facts
        .speaks_h1
        .then(|| server_field(&running.place))
        .flatten();
    ServerKind::detect(&options.target.argv, field.as_deref())
}

/// What stands in the field `Server` of an answer to a GET, if it stands there.
fn server_field(place: &Place) -> Option<String> {
    let until = Instant::now() + BOUND;
    let mut stream = TcpStream::connect_timeout(&place.url.addr, BOUND).ok()?;
    stream
        .write_all(&requests::get(place, &place.url.path))
        .ok()?;
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    while !is_whole(&head) && head.len() < MOST_BYTES {
        let left = until.checked_duration_since(Instant::now())?;
        stream.set_read_timeout(Some(left)).ok()?;
        match stream.read(&mut buffer).ok()? {
            0 => break,
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    field(&head)
}

fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|four| four == b"\r\n\r\n")
}

fn field(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let text = text.split("\r\n\r\n").next()?;
    text.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value: String = value.trim().chars().take(80).collect();
        (name.eq_ignore_ascii_case("server") && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found_in_the_head_and_nowhere_else() {
        let head =
            b"HTTP/1.1 200 OK\r\nDate: now\r\nsErVeR:  nginx/1.22.1 \r\n\r\nServer: body\r\n";
        assert_eq!(field(head).as_deref(), Some("nginx/1.22.1"));
        assert_eq!(field(b"HTTP/1.1 200 OK\r\n\r\nServer: body\r\n"), None);
        assert_eq!(field(b"HTTP/1.1 200 OK\r\nServer:\r\n\r\n"), None);
        assert_eq!(field(b""), None);
        assert!(is_whole(head) && !is_whole(b"HTTP/1.1 200 OK\r\n"));
    }
}
