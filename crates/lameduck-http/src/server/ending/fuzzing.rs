//! The followers, for the fuzzer: whatever the bytes and however they are split, both readings agree.

use super::follow::{Events, Follower, Messages};

/// Follows `stream` as events, whole and in pieces of `length` bytes.
///
/// # Panics
/// If the two readings differ.
pub fn follow_events(stream: &[u8], length: usize) {
    follow(Follower::Events(Events::default()), stream, length);
}

/// Follows `stream` as length-prefixed messages, whole and in pieces of `length` bytes.
///
/// # Panics
/// If the two readings differ.
pub fn follow_messages(stream: &[u8], length: usize) {
    follow(Follower::Messages(Messages::default()), stream, length);
}

fn follow(follower: Follower, stream: &[u8], length: usize) {
    let (mut whole, mut pieces) = (follower, follower);
    let expected = whole.push(stream);
    let (mut base, mut last) = (0, None);
    for piece in stream.chunks(length.max(1)) {
        if let Some(at) = pieces.push(piece) {
            assert!(at <= piece.len());
            last = Some(base + at);
        }
        base += piece.len();
    }
    assert_eq!(last, expected);
    assert_eq!(whole.is_between(), pieces.is_between());
    assert_eq!(
        whole.is_between(),
        expected.unwrap_or_default() == stream.len()
    );
}
