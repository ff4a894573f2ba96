//! Hostile WebSocket: frames that stop in their middle, lie about their length, or break the protocol.
//!
//! Owns: the bytes (RFC 6455 §5.2). Not here: who writes them (`crowd`).

use super::{Attack, Awaits, KIB, Reading, Then};
use crate::target::Speech;
use crate::wire::UPGRADE;

pub(super) fn attacks() -> Vec<Attack> {
    [halves(), floods()].concat()
}

fn peer(name: &'static str, about: &'static str, burst: fn(u64) -> Vec<u8>) -> Attack {
    Attack {
        peers: 200,
        awaits: Awaits::Head,
        then: Then::Flood { burst, most: 1 },
        // The demo reads through tungstenite, which keeps a buffer of 128 KiB for each connection.
        bytes_each: 192 * KIB,
        ..Attack::holding(name, about, Speech::WebSocket, UPGRADE.to_vec())
    }
}

fn halves() -> Vec<Attack> {
    vec![
        Attack {
            peers: 1_000,
            then: Then::Hold,
            ..peer(
                "ws-idle",
                "an open WebSocket that says nothing and answers no Close",
                |_| Vec::new(),
            )
        },
        peer("ws-half", "half a frame header, then nothing", |_| {
            vec![0x82, 0x80 | 127, 0, 0]
        }),
        peer(
            "ws-half-payload",
            "a frame of 1 MiB of which 1 KiB comes",
            |_| message(1 << 20, 1024),
        ),
        Attack {
            again: 10,
            ..peer(
                "ws-huge",
                "a frame that announces 2^62 bytes, and their beginning",
                |_| message(1 << 62, 1024),
            )
        },
        Attack {
            again: 20,
            ..peer(
                "ws-invalid",
                "an unmasked frame with a reserved opcode and reserved bits",
                |_| vec![0xFF, 0x03, 1, 2, 3],
            )
        },
    ]
}

fn floods() -> Vec<Attack> {
    let flood = |name, about, peers, burst, most| Attack {
        peers,
        then: Then::Flood { burst, most },
        bytes_each: 512 * KIB,
        ..peer(name, about, burst)
    };
    vec![
        Attack {
            reading: Reading::Never,
            receive_buffer: Some(4096),
            ..flood(
                "ws-deaf",
                "messages of 16 KiB, echoes never read",
                50,
                |_| message(16 * 1024, 16 * 1024),
                1_000,
            )
        },
        flood("ws-ping", "PINGs, answers read", 16, pings, 2_000),
        Attack {
            again: 10,
            ..flood(
                "ws-fragments",
                "one message in endless empty fragments",
                16,
                fragments,
                2_000,
            )
        },
    ]
}

fn pings(_: u64) -> Vec<u8> {
    [0x89, 0x80, 0, 0, 0, 0].repeat(256)
}

/// The beginning of a message, then continuations of it, all empty and none the last.
fn fragments(burst: u64) -> Vec<u8> {
    let first: &[u8] = if burst == 0 {
        &[0x02, 0x80, 0, 0, 0, 0]
    } else {
        &[]
    };
    [first, &[0x00, 0x80, 0, 0, 0, 0].repeat(256)].concat()
}

/// A masked binary frame (mask 0) that announces `announced` bytes and carries `carried` of them.
fn message(announced: u64, carried: usize) -> Vec<u8> {
    let mut bytes = vec![0x82, 0x80 | 127];
    bytes.extend(announced.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.resize(bytes.len() + carried, b'w');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_announces_one_length_and_carries_another() {
        let bytes = message(1 << 62, 3);
        assert_eq!(bytes[2..10], (1_u64 << 62).to_be_bytes());
        assert_eq!(bytes.len(), 2 + 8 + 4 + 3);
    }
}
