//! Owns single questions to a service that runs: does this path hold a request, stream events, echo, send so much?
//! Not: which paths are tried (see `probe`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{ASK, by};
use crate::scenario::requests;
use crate::target::{Answer, Place, ask};

/// Bytes of a head that are read.
const MAX_HEAD: usize = 16 * 1024;
/// Asked of a large path; more than any page has by itself.
const LARGE: u64 = 2 * 1024 * 1024;
/// An upload that no small form would be.
const UPLOAD: usize = 256 * 1024;

/// Answered 2xx.
pub(super) fn is_good(place: &Place, path: &str) -> bool {
    ask(place.url.addr, &requests::get(place, path), ASK).is_good()
}

/// Holds a request for about as long as it is asked to, and no request that is not to be held.
pub(super) fn holds(place: &Place, template: &str) -> bool {
    let took = |ms: u64| {
        let path = template.replace("{ms}", &ms.to_string());
        match ask(place.url.addr, &requests::get(place, &path), ASK) {
            answer @ Answer::Whole { took, .. } if answer.is_good() => Some(took),
            _ => None,
        }
    };
    let (Some(none), Some(long)) = (took(0), took(300)) else {
        return false;
    };
    long >= Duration::from_millis(250) && none < long / 2
}

/// Answers with as many bytes as it is asked for.
pub(super) fn is_large(place: &Place, template: &str) -> bool {
    let path = template.replace("{bytes}", &LARGE.to_string());
    let answer = ask(place.url.addr, &requests::get(place, &path), ASK * 2);
    matches!(answer, Answer::Whole { body_bytes, .. } if answer.is_good() && body_bytes >= LARGE)
}

/// Answers in chunks, spread over the time that it is asked for.
pub(super) fn streams(place: &Place, template: &str) -> bool {
    let took = |chunks: u64, ms: u64| {
        let path = template
            .replace("{chunks}", &chunks.to_string())
            .replace("{ms}", &ms.to_string());
        match ask(place.url.addr, &requests::get(place, &path), ASK) {
            answer @ Answer::Whole { took, .. } if answer.is_good() => Some(took),
            _ => None,
        }
    };
    let (Some(short), Some(long)) = (took(2, 1), took(4, 100)) else {
        return false;
    };
    long >= Duration::from_millis(250) && short < long / 2
}

/// Takes a POST with so small a body.
pub(super) fn takes_posts(place: &Place, path: &str) -> bool {
    takes(place, path, 32)
}

/// Takes a long body.
pub(super) fn takes_uploads(place: &Place, path: &str) -> bool {
    takes(place, path, UPLOAD)
}

fn takes(place: &Place, path: &str, bytes: usize) -> bool {
    let fields = format!("Content-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n");
    let mut request = requests::head(place, "POST", path, &fields).into_bytes();
    request.resize(request.len() + bytes, b'.');
    ask(place.url.addr, &request, ASK).is_good()
}

/// Answers with an event stream, as its Content-Type says.
pub(super) fn is_event_stream(place: &Place, path: &str) -> bool {
    let head = head(place, &requests::get(place, path)).to_ascii_lowercase();
    let mut lines = head.lines();
    let is_ok = lines
        .next()
        .is_some_and(|line| line.split(' ').nth(1) == Some("200"));
    is_ok
        && lines.any(|line| {
            line.strip_prefix("content-type:")
                .is_some_and(|kind| kind.trim().starts_with("text/event-stream"))
        })
}

/// The head of the answer, as far as it came in time.
fn head(place: &Place, request: &[u8]) -> String {
    let deadline = by();
    let mut bytes = Vec::new();
    if let Ok(mut stream) = TcpStream::connect_timeout(&place.url.addr, ASK)
        && stream.write_all(request).is_ok()
    {
        let mut buffer = [0; 1024];
        while bytes.len() < MAX_HEAD && !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
                break;
            }
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    String::from_utf8_lossy(&bytes[..end.unwrap_or(0)]).into_owned()
}
