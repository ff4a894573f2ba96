//! Owns the requests that scenarios send over HTTP/2, each with an id of its own.
//! Not: when they are sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::observe::h2::Ends;
use crate::observe::h2::flow::Flow;
use crate::observe::h2::script::{Dialect, Heed, Request, Step, Steps};
use crate::observe::link::Door;
use crate::scenario::facts::{Facts, Means};
use crate::target::Place;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The request of sweeps and load: a POST where the target takes them, else a GET.
pub(crate) fn usual(facts: &Facts, place: &Place, door: &Door) -> Request {
    match &facts.post_path {
        Some(path) => {
            let (request, rest) = post(place, door, path);
            Request {
                body: [request.body, rest].concat(),
                ends: Ends::Stream,
                ..request
            }
        }
        None => get(place, door, &place.url.path),
    }
}

/// What is in flight for `time`; where the client itself must end it, with the rest of its body.
pub(crate) fn in_flight(
    facts: &Facts,
    place: &Place,
    door: &Door,
    time: Duration,
) -> (Request, Option<Vec<u8>>) {
    let half = |path: &str| {
        let (request, rest) = post(place, door, path);
        (request, Some(rest))
    };
    match &facts.means {
        Means::Slow(path) => {
            let path = path.replace("{ms}", &time.as_millis().to_string());
            (get(place, door, &path), None)
        }
        Means::HalfPost(path) => half(path),
        Means::HalfHead => half(facts.post_path.as_deref().unwrap_or(&place.url.path)),
    }
}

pub(crate) fn get(place: &Place, door: &Door, path: &str) -> Request {
    Request {
        fields: fields(place, door, "GET", path, &[("accept", "*/*")]),
        body: Vec::new(),
        ends: Ends::Stream,
        heed: Heed::GoAway,
        dialect: Dialect::Http,
        keep: 0,
    }
}

/// A POST in two halves: the request with the first half of its body, and the second.
fn post(place: &Place, door: &Door, path: &str) -> (Request, Vec<u8>) {
    let mut body = format!("lameduck-verify={:016}", NEXT.load(Ordering::Relaxed)).into_bytes();
    let length = body.len().to_string();
    let more = [
        ("accept", "*/*"),
        ("content-type", "text/plain"),
        ("content-length", length.as_str()),
    ];
    let rest = body.split_off(body.len() - 8);
    let request = Request {
        fields: fields(place, door, "POST", path, &more),
        body,
        ends: Ends::Nothing,
        heed: Heed::GoAway,
        dialect: Dialect::Http,
        keep: 0,
    };
    (request, rest)
}

/// A unary call: the message behind the five bytes of its prefix.
pub(crate) fn grpc(place: &Place, door: &Door, path: &str, message: &[u8]) -> Request {
    let more = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend_from_slice(message);
    Request {
        fields: fields(place, door, "POST", path, &more),
        body,
        ends: Ends::Stream,
        heed: Heed::GoAway,
        dialect: Dialect::Grpc,
        keep: 0,
    }
}

/// A WebSocket in a stream (RFC 8441): what comes back is kept, up to `keep` bytes.
pub(crate) fn websocket(place: &Place, door: &Door, path: &str, keep: usize) -> Request {
    let more = [("sec-websocket-version", "13")];
    let mut fields = fields(place, door, "CONNECT", path, &more);
    fields.insert(1, (":protocol".to_owned(), "websocket".to_owned()));
    Request {
        fields,
        body: Vec::new(),
        ends: Ends::Nothing,
        heed: Heed::GoAway,
        dialect: Dialect::Tunnel,
        keep,
    }
}

/// The fields of any request; pseudo fields first.
pub(crate) fn fields(
    place: &Place,
    door: &Door,
    method: &str,
    path: &str,
    more: &[(&str, &str)],
) -> Vec<(String, String)> {
    let host = match &place.tls {
        Some(url) if door.is_tls() => &url.host,
        _ => &place.url.host,
    };
    // Relaxed: only distinct numbers are needed.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let id = format!("verify-{}-h2-{number}", std::process::id());
    let scheme = if door.is_tls() { "https" } else { "http" };
    let mut fields = vec![
        (":method", method),
        (":scheme", scheme),
        (":authority", host),
        (":path", path),
        ("user-agent", "lameduck-verify"),
        ("x-request-id", &id),
    ];
    fields.extend_from_slice(more);
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A client that asks once.
pub(crate) fn one(group: &'static str, door: Door, request: Request) -> Flow {
    let steps = vec![
        Step::Connect(0),
        Step::Greet,
        Step::Open(request),
        Step::AwaitAnswers,
        Step::Close,
    ];
    Flow::new(group, vec![door], Steps::new(steps))
}
