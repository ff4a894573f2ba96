//! Hostile TLS: handshakes that never go on, and bytes that are none.
//!
//! Owns: the bytes, below TLS (RFC 8446 §5.1 records). Not here: who writes them (`crowd`).

use super::{Attack, KIB};
use crate::target::{Door, Speech};

pub(super) fn attacks() -> Vec<Attack> {
    let peer = |name, about, opening| Attack {
        door: Door::Tls,
        bytes_each: 64 * KIB,
        ..Attack::holding(name, about, Speech::Tls, opening)
    };
    vec![
        peer(
            "tls-silent",
            "connects to the TLS port and says nothing",
            Vec::new(),
        ),
        Attack {
            again: 10,
            ..peer(
                "tls-stalled",
                "the first half of a ClientHello, then nothing",
                half_hello(),
            )
        },
        Attack {
            peers: 64,
            again: 200,
            ..peer(
                "tls-garbage",
                "bytes that are no TLS, again and again",
                vec![0xAA; 512],
            )
        },
        Attack {
            peers: 64,
            again: 200,
            ..peer(
                "tls-plain",
                "HTTP without TLS at the TLS port, again and again",
                b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            )
        },
    ]
}

/// A handshake record that announces a ClientHello of 512 bytes and carries 200 of them.
fn half_hello() -> Vec<u8> {
    let mut bytes = vec![22, 3, 1, 2, 4, 1, 0, 2, 0, 3, 3];
    bytes.resize(bytes.len() + 200, 0);
    bytes
}
