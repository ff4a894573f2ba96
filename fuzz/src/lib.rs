//! One function for each fuzz target: the first byte says how the others are split, the function under test does the rest.
//!
//! Owns: that convention. Not here: what must hold, which stands beside the code (`lameduck_http::fuzzing`, compiled only under
//! `--cfg fuzzing`).
#![cfg(fuzzing)]

use lameduck_http::fuzzing;

/// A piece's length, and the bytes.
fn split(data: &[u8]) -> Option<(usize, &[u8])> {
    let (&length, bytes) = data.split_first()?;
    Some((usize::from(length), bytes))
}

/// The first bytes of a connection.
pub fn first_bytes(data: &[u8]) {
    if let Some((length, bytes)) = split(data) {
        fuzzing::judge_first_bytes(bytes, length);
    }
}

/// TLS records.
pub fn records(data: &[u8]) {
    if let Some((length, bytes)) = split(data) {
        fuzzing::follow_records(bytes, length);
    }
}

/// Events of an event stream.
pub fn events(data: &[u8]) {
    if let Some((length, bytes)) = split(data) {
        fuzzing::follow_events(bytes, length);
    }
}

/// Frames of a WebSocket.
pub fn frames(data: &[u8]) {
    if let Some((length, bytes)) = split(data) {
        fuzzing::follow_frames(bytes, length);
    }
}

/// Length-prefixed messages, as gRPC has them.
pub fn messages(data: &[u8]) {
    if let Some((length, bytes)) = split(data) {
        fuzzing::follow_messages(bytes, length);
    }
}
