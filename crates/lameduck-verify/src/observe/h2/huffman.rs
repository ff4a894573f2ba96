//! Owns Huffman-coded strings of HPACK (RFC 7541 §5.2): decoding only, we never write them.
//!
//! The code of Appendix B is canonical: within a length, codes count upwards, and the first of a length follows from
//! the last of the one before. So the table is the symbols in that order, and how many there are of each length.

use super::hpack::BadBlock;

/// How many symbols have a code of so many bits.
const OF_LENGTH: [u16; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];

/// The symbols by length and code; 256 is the end of the string, which must not occur.
const SYMBOLS: [u16; 257] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57,
    61, 65, 95, 98, 100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71,
    72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119,
    120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91,
    93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161,
    167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156,
    160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1,
    135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174,
    175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225,
    236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242,
    243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252,
    253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 127, 220, 249, 10, 13, 22, 256,
];

/// Decodes a whole string.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<u8>, BadBlock> {
    let mut text = Vec::with_capacity(bytes.len() * 8 / 5);
    let mut place = Place::default();
    for bit in bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
    {
        if let Some(symbol) = place.take(bit)? {
            text.push(symbol);
        }
    }
    // What is left is padding: fewer than 8 bits, all ones.
    let padding = (1_u32 << place.length) - 1;
    if place.length >= 8 || place.code != padding {
        return Err(BadBlock::Huffman);
    }
    Ok(text)
}

/// How much of a code was read.
#[derive(Debug, Default)]
struct Place {
    code: u32,
    length: usize,
    /// The first code of this length, and where its symbol stands.
    first: u32,
    index: u32,
}

impl Place {
    fn take(&mut self, bit: u8) -> Result<Option<u8>, BadBlock> {
        self.code = self.code << 1 | u32::from(bit);
        self.length += 1;
        self.first <<= 1;
        let count = OF_LENGTH
            .get(self.length)
            .copied()
            .map(u32::from)
            .ok_or(BadBlock::Huffman)?;
        if self.code < self.first + count {
            let at = self.index + (self.code - self.first);
            let symbol = SYMBOLS[usize::try_from(at).map_err(|_| BadBlock::Huffman)?];
            *self = Self::default();
            return u8::try_from(symbol)
                .map(Some)
                .map_err(|_| BadBlock::Huffman);
        }
        self.first += count;
        self.index += count;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7541, Appendix C.4 and C.6.
        let rows = [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            ("640eff", "307"),
        ];
        for (hex, text) in rows {
            assert_eq!(decode(&bytes(hex)), Ok(text.as_bytes().to_vec()), "{hex}");
        }
    }

    #[test]
    fn wrong_padding_and_the_end_symbol_are_refused() {
        for hex in ["ff", "65", "ffffffff"] {
            assert_eq!(decode(&bytes(hex)), Err(BadBlock::Huffman), "{hex}");
        }
        assert_eq!(decode(&[]), Ok(Vec::new()));
    }
}
