//! Hostile HTTP/1.1: heads and bodies that never end, answers that nobody reads, requests without waiting.
//!
//! Owns: the bytes. Not here: who writes them (`crowd`).

use std::time::Duration;

use super::{Attack, Awaits, Ends, KIB, Reading, Then};
use crate::target::Speech;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// Slower than any honest client, faster than any limit on standing still.
const DRIP: Duration = Duration::from_millis(400);

pub(super) fn attacks() -> Vec<Attack> {
    [quiet(), slow(), floods(), deaf(), churn()].concat()
}

fn plain(name: &'static str, about: &'static str, opening: &[u8]) -> Attack {
    Attack::holding(name, about, Speech::Http1, opening.to_vec())
}

fn quiet() -> Vec<Attack> {
    vec![
        Attack {
            peers: 10_000,
            awaits: Awaits::Head,
            bytes_each: 16 * KIB,
            ..plain("idle", "one request served, then nothing", GET)
        },
        Attack {
            peers: 2_000,
            bytes_each: 16 * KIB,
            ..plain("silent", "connects and says nothing", b"")
        },
    ]
}

fn slow() -> Vec<Attack> {
    vec![
        Attack {
            then: Then::Drip {
                bytes: b"x-slow: 1\r\n",
                every: DRIP,
            },
            again: 20,
            ..plain(
                "slow-head",
                "a head that grows by a line every 400 ms and never ends",
                b"GET / HTTP/1.1\r\nhost: localhost\r\n",
            )
        },
        Attack {
            then: Then::Drip {
                bytes: b"u",
                every: DRIP,
            },
            again: 20,
            ends: Ends::OrForced,
            ..plain(
                "slow-body",
                "an upload of 1 MiB, one byte every 400 ms",
                b"POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048576\r\n\r\n",
            )
        },
        Attack {
            again: 20,
            ..plain(
                "stalled-body",
                "an upload of which the first byte comes and no other",
                b"POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048576\r\n\r\nu",
            )
        },
    ]
}

fn floods() -> Vec<Attack> {
    vec![
        Attack {
            peers: 32,
            then: Then::Flood {
                burst: |_| GET.repeat(64),
                most: 2_000,
            },
            bytes_each: 512 * KIB,
            ..plain("pipelined", "requests without waiting for an answer", b"")
        },
        Attack {
            peers: 100,
            then: Then::Flood {
                burst: |_| GET.repeat(64),
                most: 2_000,
            },
            reading: Reading::Never,
            receive_buffer: Some(4096),
            bytes_each: 512 * KIB,
            ..plain(
                "pipelined-deaf",
                "requests without waiting, answers never read",
                b"",
            )
        },
    ]
}

fn deaf() -> Vec<Attack> {
    vec![
        Attack {
            peers: 200,
            reading: Reading::Never,
            receive_buffer: Some(4096),
            bytes_each: 128 * KIB,
            ..plain(
                "deaf",
                "asks for 16 MiB and never reads",
                b"GET /large?bytes=16777216 HTTP/1.1\r\nhost: localhost\r\n\r\n",
            )
        },
        Attack {
            peers: 200,
            reading: Reading::Never,
            receive_buffer: Some(4096),
            bytes_each: 128 * KIB,
            speaks: Speech::Events,
            ..plain(
                "deaf-events",
                "asks for events and never reads",
                b"GET /sse?ms=1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
            )
        },
    ]
}

fn churn() -> Vec<Attack> {
    vec![
        Attack {
            peers: 32,
            then: Then::Leave,
            again: 400,
            ..plain("fickle", "connects and leaves, again and again", b"")
        },
        Attack {
            peers: 64,
            again: 200,
            ..plain(
                "garbage",
                "bytes that are no request, again and again",
                &[0xAA; 512],
            )
        },
        Attack {
            peers: 64,
            opening: endless_head(),
            again: 20,
            bytes_each: 192 * KIB,
            ..plain("huge-head", "a head of 63 KiB that does not end", b"")
        },
    ]
}

fn endless_head() -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-long: ".to_vec();
    head.resize(63 * 1024, b'a');
    head
}
