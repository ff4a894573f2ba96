//! Hostile peers as data: what each writes, whether it ever reads, and what it may cost the server.
//!
//! Owns: the type of an attack and the catalogue of all of them, each bounded in connections, repetitions and bytes. Not here:
//! the thread that plays them (`crowd`), the bytes of each protocol (the modules beside), what is measured meanwhile
//! (`bin/adversary`, `bin/chaos`).

pub mod crowd;
mod http1;
mod http2;
mod tls;
mod websocket;

use std::time::Duration;

use crate::target::{Door, Speech};

/// What a peer waits for between its opening and what follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Awaits {
    /// Nothing.
    Nothing,
    /// The end of an HTTP/1.1 head.
    Head,
}

/// What a peer does after its opening, until it is stopped or its bound is reached; then it holds.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Writes nothing more.
    Hold,
    /// Writes these bytes at this interval.
    Drip {
        /// What it writes.
        bytes: &'static [u8],
        /// How often.
        every: Duration,
    },
    /// Writes burst after burst as fast as the connection takes them.
    Flood {
        /// The n-th burst.
        burst: fn(u64) -> Vec<u8>,
        /// How many bursts at most.
        most: u64,
    },
    /// Closes its side at once.
    Leave,
}

/// Whether a peer reads what the server writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// Reads and forgets.
    Discard,
    /// Never reads again after what it awaited.
    Never,
}

/// How a demo that is stopped in the midst of the attack may end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ends {
    /// Drained, exit 0: what the peers hold ends by its own limit, or is answered.
    Drained,
    /// Also forced at the drain deadline, exit 124: the peers make progress, and progress is served until then.
    OrForced,
}

/// One way to be a bad client.
#[derive(Clone, Debug)]
pub struct Attack {
    /// Its name in tables and arguments.
    pub name: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// What the server must speak for it to mean anything.
    pub speaks: Speech,
    /// How many peers do it at once, when nothing else is said.
    pub peers: usize,
    /// Where they connect; at the TLS listener the bytes are written below TLS.
    pub door: Door,
    /// What each writes first.
    pub opening: Vec<u8>,
    /// What each waits for then.
    pub awaits: Awaits,
    /// What each does after that.
    pub then: Then,
    /// Whether each reads.
    pub reading: Reading,
    /// The receive buffer that each asks the kernel for, in bytes; nothing leaves the default.
    pub receive_buffer: Option<usize>,
    /// How often each connects again after the server ended its connection.
    pub again: u32,
    /// How the demo may end.
    pub ends: Ends,
    /// Most resident memory of the server, in bytes for each peer, above what it had before.
    pub bytes_each: u64,
}

impl Attack {
    /// A peer that writes `opening` and then holds, reading nothing special; the rest is changed where it differs.
    fn holding(name: &'static str, about: &'static str, speaks: Speech, opening: Vec<u8>) -> Self {
        Self {
            name,
            about,
            speaks,
            peers: 500,
            door: Door::Plain,
            opening,
            awaits: Awaits::Nothing,
            then: Then::Hold,
            reading: Reading::Discard,
            receive_buffer: None,
            again: 0,
            ends: Ends::Drained,
            bytes_each: 32 * KIB,
        }
    }
}

const KIB: u64 = 1024;

/// All attacks, in the order of the tables.
pub fn catalogue() -> Vec<Attack> {
    let mut attacks = http1::attacks();
    attacks.extend(http2::attacks());
    attacks.extend(websocket::attacks());
    attacks.extend(tls::attacks());
    attacks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_differ_and_every_attack_is_bounded() {
        let attacks = catalogue();
        let names: BTreeSet<_> = attacks.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), attacks.len());
        for attack in attacks {
            assert!(
                attack.peers <= 10_000 && attack.again <= 1_000,
                "{}",
                attack.name
            );
            assert!(attack.opening.len() <= 64 * 1024, "{}", attack.name);
            match attack.then {
                Then::Flood { burst, most } => {
                    let bytes = most * burst(0).len() as u64;
                    assert!(
                        most > 0 && bytes <= 64 * 1024 * KIB,
                        "{}: {bytes}",
                        attack.name
                    );
                }
                Then::Drip { every, .. } => assert!(!every.is_zero(), "{}", attack.name),
                Then::Hold | Then::Leave => {}
            }
        }
    }
}
