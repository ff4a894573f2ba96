//! The follower of frames, for the fuzzer.
//!
//! Owns the property: however the bytes are split, the follower knows the same after them, and a measured end is where it says.

use super::follower::Follower;

/// Follows `bytes` at once, and in pieces of `length` bytes.
///
/// # Panics
/// When both do not lead to the same, or an end that was measured ahead is none.
pub fn follow_frames(bytes: &[u8], length: usize) {
    let mut whole = Follower::new();
    whole.feed(bytes);
    let mut split = Follower::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(length.clamp(1, rest.len()));
        let frame = split.until_frame_end(rest);
        let message = split.until_message_end(rest);
        assert!(frame <= message && message <= rest.len());
        let mut ahead = split;
        ahead.feed(&rest[..frame]);
        assert!(ahead.is_between_frames() || frame == rest.len());
        ahead.feed(&rest[frame..message]);
        assert!(ahead.is_between_messages() || message == rest.len());
        split.feed(now);
        rest = later;
    }
    assert_eq!(whole, split, "a split changed what is known");
}
