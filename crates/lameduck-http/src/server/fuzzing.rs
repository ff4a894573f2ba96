//! The first bytes of a connection, for the fuzzer: whatever they are and however they are split.
//!
//! Owns no judgement. (What follows frames, records, events and messages stands beside each of them.)

use super::detect::{PREFACE, Verdict, judge};

/// Judges `said` as it grows by pieces of `length` bytes, as a connection's task does.
///
/// # Panics
/// If a judgement is taken back, or is not what comparing with the whole preface says.
pub fn judge_first_bytes(said: &[u8], length: usize) {
    let mut last = Verdict::Undecided;
    let mut seen = 0;
    for piece in said.chunks(length.max(1)) {
        seen += piece.len();
        let verdict = judge(&said[..seen]);
        assert!(last == Verdict::Undecided || verdict == last);
        last = verdict;
    }
    let expected = if said.starts_with(PREFACE) {
        Verdict::Http2
    } else if PREFACE.starts_with(said) {
        Verdict::Undecided
    } else {
        Verdict::Http1
    };
    assert_eq!(judge(said), expected);
}
