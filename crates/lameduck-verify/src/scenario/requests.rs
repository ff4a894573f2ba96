//! Owns the bytes of the requests that scenarios send; every one bears an id of its own.
//! Not: when they are sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::facts::{Facts, Means};
use crate::observe::ws::KEY;
use crate::target::Place;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The request of sweeps and load: a POST where the target takes them, else a GET.
pub(crate) fn usual(facts: &Facts, place: &Place) -> Vec<u8> {
    match &facts.post_path {
        Some(path) => post(place, path),
        None => get(place, &place.url.path),
    }
}

/// The same, to be sent in two parts: the head is cut in the middle.
pub(crate) fn in_halves(facts: &Facts, place: &Place) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = usual(facts, place);
    let end_of_head = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(bytes.len());
    let rest = bytes.split_off(end_of_head / 2);
    (bytes, rest)
}

/// A POST cut in the middle of its body.
pub(crate) fn half_post(place: &Place, path: &str) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = post(place, path);
    let rest = bytes.split_off(bytes.len() - 8);
    (bytes, rest)
}

/// What is in flight for `time`, as its first part and, where the client itself must end it, its last part.
pub(crate) fn in_flight(
    facts: &Facts,
    place: &Place,
    time: Duration,
) -> (Vec<u8>, Option<Vec<u8>>) {
    match &facts.means {
        Means::Slow(path) => (
            get(place, &path.replace("{ms}", &time.as_millis().to_string())),
            None,
        ),
        Means::HalfPost(path) => {
            let (first, last) = half_post(place, path);
            (first, Some(last))
        }
        Means::HalfHead => {
            let (first, last) = in_halves(facts, place);
            (first, Some(last))
        }
    }
}

pub(crate) fn get(place: &Place, path: &str) -> Vec<u8> {
    head(place, "GET", path, "\r\n").into_bytes()
}

fn post(place: &Place, path: &str) -> Vec<u8> {
    let body = format!("lameduck-verify={:016}", NEXT.load(Ordering::Relaxed));
    let fields = format!(
        "Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    head(place, "POST", path, &fields).into_bytes()
}

/// The request that opens a WebSocket.
pub(crate) fn websocket(place: &Place, path: &str) -> Vec<u8> {
    let fields = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    head(place, "GET", path, &fields).into_bytes()
}

/// The head of a request; `rest` is the other fields, the empty line, and what follows.
pub(crate) fn head(place: &Place, method: &str, path: &str, rest: &str) -> String {
    // Relaxed: only distinct numbers are needed.
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let host = &place.url.host;
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lameduck-verify\r\nAccept: */*\r\nX-Request-Id: verify-{}-{id}\r\n{rest}",
        std::process::id()
    )
}
