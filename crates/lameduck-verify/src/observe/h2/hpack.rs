//! Owns header blocks (HPACK, RFC 7541) as this client needs them: it writes literals only, and allows the peer no
//! dynamic table (SETTINGS_HEADER_TABLE_SIZE 0), so a block means the same whatever came before it.
//! Not: what fields mean.

use std::fmt;

use super::huffman;

/// Most fields of one block; a block itself is bounded by `frame::MAX_BLOCK`.
const MAX_FIELDS: usize = 256;

/// Why a header block could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadBlock {
    Short,
    Number,
    Index,
    Huffman,
    TooManyFields,
}

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "a header block ends in the middle of a field",
            Self::Number => "a number in a header block is too large",
            Self::Index => "a header block points to an entry that is not there",
            Self::Huffman => "a Huffman-coded string is malformed",
            Self::TooManyFields => "a header block has more than 256 fields",
        })
    }
}

/// A field, name first.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Writes `fields` as literals that nobody is to remember.
pub(crate) fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            write_number(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// With the 7-bit prefix of string lengths.
fn write_number(number: usize, into: &mut Vec<u8>) {
    const PREFIX: usize = 0x7f;
    if number < PREFIX {
        into.push(number as u8);
        return;
    }
    into.push(PREFIX as u8);
    let mut left = number - PREFIX;
    while left >= 0x80 {
        into.push((left % 0x80) as u8 | 0x80);
        left /= 0x80;
    }
    into.push(left as u8);
}

/// Reads a whole block.
pub(crate) fn decode(block: &[u8]) -> Result<Vec<Field>, BadBlock> {
    let mut rest = block;
    let mut fields = Vec::new();
    while let Some(first) = rest.first().copied() {
        let field = match first {
            0x80.. => {
                let index = take_number(&mut rest, 7)?;
                let (name, value) = entry(index)?;
                Some((name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            }
            // With incremental indexing: into a table of size 0, so nothing is remembered.
            0x40.. => Some(take_literal(&mut rest, 6)?),
            // A new size of the dynamic table: any, it stays unused.
            0x20.. => {
                take_number(&mut rest, 5)?;
                None
            }
            _ => Some(take_literal(&mut rest, 4)?),
        };
        fields.extend(field);
        if fields.len() > MAX_FIELDS {
            return Err(BadBlock::TooManyFields);
        }
    }
    Ok(fields)
}

fn take_literal(rest: &mut &[u8], prefix: u32) -> Result<Field, BadBlock> {
    let name = match take_number(rest, prefix)? {
        0 => take_string(rest)?,
        index => entry(index)?.0.as_bytes().to_vec(),
    };
    Ok((name, take_string(rest)?))
}

fn take_string(rest: &mut &[u8]) -> Result<Vec<u8>, BadBlock> {
    let is_coded = rest.first().ok_or(BadBlock::Short)? & 0x80 != 0;
    let length = take_number(rest, 7)?;
    let (text, after) = rest.split_at_checked(length).ok_or(BadBlock::Short)?;
    *rest = after;
    if is_coded {
        huffman::decode(text)
    } else {
        Ok(text.to_vec())
    }
}

fn take_number(rest: &mut &[u8], prefix: u32) -> Result<usize, BadBlock> {
    let mask = (1_usize << prefix) - 1;
    let mut number = usize::from(take_byte(rest)?) & mask;
    if number < mask {
        return Ok(number);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(take_byte(rest)?);
        number += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(BadBlock::Number)
}

fn take_byte(rest: &mut &[u8]) -> Result<u8, BadBlock> {
    let (first, after) = rest.split_first().ok_or(BadBlock::Short)?;
    *rest = after;
    Ok(*first)
}

fn entry(index: usize) -> Result<(&'static str, &'static str), BadBlock> {
    index
        .checked_sub(1)
        .and_then(|at| STATIC.get(at))
        .copied()
        .ok_or(BadBlock::Index)
}

/// RFC 7541, Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let long = "x".repeat(20_000);
        let fields = [(":method", "GET"), (":path", long.as_str()), ("a", "")];
        let read = decode(&encode(&fields)).unwrap();
        for ((name, value), (read_name, read_value)) in fields.iter().zip(&read) {
            assert_eq!(
                (name.as_bytes(), value.as_bytes()),
                (&read_name[..], &read_value[..])
            );
        }
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn a_response_of_the_rfc_is_read() {
        // RFC 7541, C.6.1: four literals with indexed names, Huffman-coded.
        let block = [
            0x20, 0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x88,
        ];
        let read = decode(&block).unwrap();
        assert_eq!(read[0], (b":status".to_vec(), b"302".to_vec()));
        assert_eq!(read[1], (b"cache-control".to_vec(), b"private".to_vec()));
        assert_eq!(read[2], (b":status".to_vec(), b"200".to_vec()));
    }

    #[test]
    fn hostile_blocks_are_refused() {
        let rows: [(&[u8], BadBlock); 6] = [
            (&[0x80], BadBlock::Index),
            (&[0xbe], BadBlock::Index),
            (&[0x00, 0x05, b'a'], BadBlock::Short),
            (&[0x00], BadBlock::Short),
            (&[0xff, 0xff, 0xff, 0xff, 0xff], BadBlock::Number),
            (&[0x00, 0x81, 0x00, 0x00], BadBlock::Huffman),
        ];
        for (block, bad) in rows {
            assert_eq!(decode(block), Err(bad), "{block:x?}");
        }
        assert_eq!(decode(&[0x88; 300]), Err(BadBlock::TooManyFields));
    }
}
