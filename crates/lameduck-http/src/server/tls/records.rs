//! Where TLS records begin and end (RFC 8446 §5.1).
//!
//! Owns a count over the bytes below TLS, without looking at what they mean. A record that has begun cannot be seen above TLS, nor in the
//! kernel's queue any more, and may hold the beginning of a request.

/// Type, version and length.
const HEADER: u8 = 5;

/// A place in a sequence of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    /// Bytes of the header that were seen, if it is not complete; else 0.
    header: u8,
    /// The length, as far as the header was seen; then how much of the record is still to come.
    left: u16,
}

impl Records {
    /// Goes past `bytes`.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.header == 0 && self.left > 0 {
                let gone = bytes.len().min(usize::from(self.left));
                bytes = &bytes[gone..];
                self.left -= u16::try_from(gone).expect("at most what is left");
                continue;
            }
            if self.header >= HEADER - 2 {
                self.left = self.left << 8 | u16::from(byte);
            }
            self.header = (self.header + 1) % HEADER;
            bytes = rest;
        }
    }

    /// Whether a record has begun and not ended.
    pub(crate) const fn is_open(self) -> bool {
        self.header > 0 || self.left > 0
    }
}

/// Follows `bytes` whole and in pieces of `length`.
///
/// # Panics
/// If the two readings differ, or one thinks a record open that is not.
#[cfg(fuzzing)]
pub fn follow_records(bytes: &[u8], length: usize) {
    let (mut whole, mut pieces) = (Records::default(), Records::default());
    whole.follow(bytes);
    for piece in bytes.chunks(length.max(1)) {
        pieces.follow(piece);
    }
    assert_eq!(whole, pieces);

    // Five bytes of header, of which the last two are the length of what follows (RFC 8446 §5.1).
    let mut rest = bytes;
    while let [_, _, _, high, low, after @ ..] = rest {
        let record = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(next) = after.get(record..) else {
            break;
        };
        rest = next;
    }
    assert_eq!(whole.is_open(), !rest.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: u16) -> Vec<u8> {
        let mut bytes = vec![23, 3, 3];
        bytes.extend(length.to_be_bytes());
        bytes.extend((0..length).map(|byte| byte.to_le_bytes()[0]));
        bytes
    }

    #[test]
    fn every_proper_prefix_of_a_record_is_open() {
        for length in [0, 1, 2, 255, 256, 300] {
            let bytes = record(length);
            for cut in 0..=bytes.len() {
                let mut records = Records::default();
                records.follow(&bytes[..cut]);
                assert_eq!(
                    records.is_open(),
                    cut > 0 && cut < bytes.len(),
                    "{length}: {cut}"
                );
            }
        }
    }

    #[test]
    fn how_bytes_are_cut_makes_no_difference() {
        let all: Vec<u8> = [7, 0, 1, 65_535, 256, 3]
            .into_iter()
            .flat_map(record)
            .collect();
        for step in [1, 2, 3, 4, 5, 6, 7, 64, 4096] {
            let (mut cut, mut whole) = (Records::default(), Records::default());
            let mut seen = 0;
            for piece in all.chunks(step) {
                cut.follow(piece);
                seen += piece.len();
                whole = Records::default();
                whole.follow(&all[..seen]);
                assert_eq!(cut, whole, "{step}: {seen}");
            }
            assert!(!whole.is_open());
        }
    }
}
