//! One slot's memory: a sequence lock over plain atomic words, so that a torn read is noticed and never undefined.
//!
//! Owns the encoding. Which cell belongs to whom is the table's business.
//!
//! # The sequence lock
//!
//! ```text
//! writer                                      reader
//! W1  seq: even -> odd   (compare-exchange)   R1  s = seq       (Acquire)
//! W2  fence(Release)                          R2  words         (Relaxed)
//! W3  words              (Relaxed)            R3  fence(Acquire)
//! W4  seq = even + 2     (Release)            R4  seq again     (Relaxed)
//! ```
//!
//! R1 pairs with W4: an even `s` brings the words of that round. If R2 read a word of a later W3, R3 pairs with that
//! writer's W2, so R4 sees its W1 or later, and differs from `s`. A writer that finds the sequence odd has met another writer: it gives
//! up at once (its words would have been replaced anyway) and says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use super::protocol::Protocol;
use crate::sync::{AtomicU64, Ordering, fence};

pub(super) const PATH_BYTES: usize = 64;
const PATH_WORDS: usize = PATH_BYTES / 8;
const METHOD_BYTES: usize = 8;

/// `state`: somebody holds the slot / is in a request. Above them the lengths and marks of [`State`].
const HELD: u64 = 1;
const BUSY: u64 = 2;
const CUT: u64 = 4;
const METHOD_LEN_SHIFT: u32 = 8;
const PATH_LEN_SHIFT: u32 = 16;

/// `origin`: what kind of address, what is spoken, then port and scope.
const KIND_NONE: u64 = 0;
const KIND_V4: u64 = 1;
const KIND_V6: u64 = 2;
const PROTOCOL_SHIFT: u32 = 8;
const PORT_SHIFT: u32 = 16;
const SCOPE_SHIFT: u32 = 32;

/// How often a reader tries before it calls a cell torn.
const ATTEMPTS: usize = 8;

/// Two cache lines with nothing of a neighbour on them.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cell {
    seq: AtomicU64,
    state: AtomicU64,
    /// Microseconds.
    since: AtomicU64,
    method: AtomicU64,
    origin: AtomicU64,
    address: [AtomicU64; 2],
    path: [AtomicU64; PATH_WORDS],
}

/// What a cell said at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Free,
    Idle,
    Busy(Raw),
    /// Written to throughout all attempts.
    Torn,
}

/// A request as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    state: u64,
    pub(super) since: u64,
    method: u64,
    origin: u64,
    address: [u64; 2],
    path: [u64; PATH_WORDS],
}

/// A write met another one and gave way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contended;

impl Cell {
    pub(super) fn new() -> Self {
        let word = || AtomicU64::new(0);
        Self {
            seq: word(),
            state: word(),
            since: word(),
            method: word(),
            origin: word(),
            address: [word(), word()],
            path: std::array::from_fn(|_| word()),
        }
    }

    /// Becomes a held, idle slot of `peer`.
    pub(super) fn claim(&self, peer: Option<SocketAddr>) {
        let (origin, address) = encode_peer(peer);
        // The table gave the cell to this caller alone, so the write cannot meet another.
        let written = self.write(|cell| {
            cell.origin.store(origin, Ordering::Relaxed);
            for (word, value) in cell.address.iter().zip(address) {
                word.store(value, Ordering::Relaxed);
            }
            cell.state.store(HELD, Ordering::Relaxed);
        });
        debug_assert_eq!(written, Ok(()), "a cell is claimed by its only holder");
    }

    /// In a request from now on. `path` is cut at its query and at [`PATH_BYTES`].
    #[inline]
    pub(super) fn begin(&self, method: &str, path: &str, at: Duration) -> Result<(), Contended> {
        let (method_word, method_len) = first_word(method.as_bytes());
        let path = path.as_bytes();
        // Half a million years fit; `as_micros` would divide 128 bits.
        let since = at
            .as_secs()
            .saturating_mul(1_000_000)
            .saturating_add(u64::from(at.subsec_micros()));
        self.write(|cell| {
            let (path_len, cut) = cell.store_path(path);
            cell.method.store(method_word, Ordering::Relaxed);
            cell.since.store(since, Ordering::Relaxed);
            let lengths =
                (method_len as u64) << METHOD_LEN_SHIFT | (path_len as u64) << PATH_LEN_SHIFT;
            cell.state
                .store(HELD | BUSY | cut | lengths, Ordering::Relaxed);
        })
    }

    /// In no request any more. One word changes, so no sequence is needed: a reader has it before or after.
    #[inline]
    pub(super) fn idle(&self) {
        self.state.store(HELD, Ordering::Release);
    }

    /// What is spoken from now on. One word changes, so no sequence is needed: a reader has it before or after.
    pub(super) fn speak(&self, protocol: Protocol) {
        // Only the holder writes this word between a claim and the next.
        let origin = self.origin.load(Ordering::Relaxed) & !(0xff << PROTOCOL_SHIFT);
        self.origin.store(
            origin | (protocol as u64) << PROTOCOL_SHIFT,
            Ordering::Relaxed,
        );
    }

    /// What was said to be spoken, if somebody holds the cell.
    pub(super) fn protocol(&self) -> Protocol {
        protocol(self.origin.load(Ordering::Relaxed))
    }

    /// Held by nobody, or by somebody who has no use for it just now.
    pub(super) fn free(&self) {
        self.state.store(0, Ordering::Release);
    }

    /// Whether its connection is in a request; `None` if it is held by nobody.
    pub(super) fn is_busy(&self) -> Option<bool> {
        // Relaxed: for a count, nothing else is read by it.
        match self.state.load(Ordering::Relaxed) {
            0 => None,
            state => Some(state & BUSY != 0),
        }
    }

    pub(super) fn read(&self) -> Read {
        for _ in 0..ATTEMPTS {
            if let Some(read) = self.try_read() {
                return read;
            }
            std::hint::spin_loop();
        }
        Read::Torn
    }

    fn try_read(&self) -> Option<Read> {
        // R1; pairs with W4.
        let seq = self.seq.load(Ordering::Acquire);
        if seq & 1 == 1 {
            return None;
        }
        let state = self.state.load(Ordering::Relaxed);
        if state & HELD == 0 {
            return Some(Read::Free);
        }
        if state & BUSY == 0 {
            return Some(Read::Idle);
        }
        let raw = Raw {
            state,
            since: self.since.load(Ordering::Relaxed),
            method: self.method.load(Ordering::Relaxed),
            origin: self.origin.load(Ordering::Relaxed),
            address: [
                self.address[0].load(Ordering::Relaxed),
                self.address[1].load(Ordering::Relaxed),
            ],
            path: std::array::from_fn(|i| self.path[i].load(Ordering::Relaxed)),
        };
        // R3; pairs with W2.
        fence(Ordering::Acquire);
        (self.seq.load(Ordering::Relaxed) == seq).then_some(Read::Busy(raw))
    }

    #[inline]
    fn write(&self, words: impl FnOnce(&Self)) -> Result<(), Contended> {
        let seq = self.seq.load(Ordering::Relaxed);
        // W1. Acquire pairs with the W4 of the writer before, if that was another thread.
        let entered = seq & 1 == 0
            && self
                .seq
                .compare_exchange(
                    seq,
                    seq.wrapping_add(1),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok();
        if !entered {
            return Err(Contended);
        }
        // W2; pairs with R3.
        fence(Ordering::Release);
        words(self);
        // W4; pairs with R1.
        self.seq.store(seq.wrapping_add(2), Ordering::Release);
        Ok(())
    }

    /// Stores the path up to its query, at most [`PATH_BYTES`]; its length, and the mark [`CUT`] if there was more of it.
    #[inline]
    fn store_path(&self, path: &[u8]) -> (usize, u64) {
        let (chunks, tail) = path.as_chunks::<8>();
        for (i, (word, chunk)) in self.path.iter().zip(chunks).enumerate() {
            let value = u64::from_le_bytes(*chunk);
            word.store(value, Ordering::Relaxed);
            let end = query_in(value);
            if end < 8 {
                return (8 * i + end, 0);
            }
        }
        let Some(word) = self.path.get(chunks.len()) else {
            let more = path.get(PATH_BYTES).is_some_and(|&byte| byte != b'?');
            return (PATH_BYTES, if more { CUT } else { 0 });
        };
        let (value, len) = first_word(tail);
        word.store(value, Ordering::Relaxed);
        (8 * chunks.len() + query_in(value).min(len), 0)
    }
}

impl Raw {
    pub(super) fn method(&self) -> String {
        let len = (self.state >> METHOD_LEN_SHIFT & 0xff) as usize;
        String::from_utf8_lossy(&self.method.to_le_bytes()[..len.min(METHOD_BYTES)]).into_owned()
    }

    pub(super) fn path(&self) -> String {
        let len = (self.state >> PATH_LEN_SHIFT & 0xff) as usize;
        let mut bytes = [0; PATH_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.path) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        String::from_utf8_lossy(&bytes[..len.min(PATH_BYTES)]).into_owned()
    }

    pub(super) fn protocol(&self) -> Protocol {
        protocol(self.origin)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.state & CUT != 0
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let port = (self.origin >> PORT_SHIFT & 0xffff) as u16;
        let bits = u128::from(self.address[0]) << 64 | u128::from(self.address[1]);
        match self.origin & 0xff {
            KIND_V4 => Some((Ipv4Addr::from_bits(self.address[1] as u32), port).into()),
            KIND_V6 => {
                let scope = (self.origin >> SCOPE_SHIFT) as u32;
                Some(SocketAddrV6::new(Ipv6Addr::from_bits(bits), port, 0, scope).into())
            }
            _ => None,
        }
    }
}

const fn protocol(origin: u64) -> Protocol {
    Protocol::from_bits(origin >> PROTOCOL_SHIFT & 0xff)
}

/// The flow label is left out: it names nobody.
fn encode_peer(peer: Option<SocketAddr>) -> (u64, [u64; 2]) {
    let Some(peer) = peer else {
        return (KIND_NONE, [0; 2]);
    };
    let port = u64::from(peer.port()) << PORT_SHIFT;
    match peer.ip() {
        IpAddr::V4(ip) => (KIND_V4 | port, [0, u64::from(ip.to_bits())]),
        IpAddr::V6(ip) => {
            let scope = if let SocketAddr::V6(v6) = peer {
                v6.scope_id()
            } else {
                0
            };
            let bits = ip.to_bits();
            (
                KIND_V6 | port | u64::from(scope) << SCOPE_SHIFT,
                [(bits >> 64) as u64, bits as u64],
            )
        }
    }
}

/// The first eight bytes, zero-filled, and how many there were.
#[inline]
fn first_word(bytes: &[u8]) -> (u64, usize) {
    if let Some(word) = bytes.first_chunk::<8>() {
        return (u64::from_le_bytes(*word), 8);
    }
    let at = |i: usize| u64::from(bytes[i]) << (8 * i);
    let len = bytes.len();
    let word = match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // Four to seven bytes: the two halves overlap and agree where they do.
        (Some(low), Some(high)) => {
            u64::from(u32::from_le_bytes(*low))
                | u64::from(u32::from_le_bytes(*high)) << (8 * (len - 4))
        }
        _ if len == 0 => 0,
        // One to three: first, middle and last are all of them.
        _ => at(0) | at(len / 2) | at(len - 1),
    };
    (word, len)
}

/// Where in the word the first `?` stands; 8 if nowhere.
#[inline]
fn query_in(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The lowest set bit marks the first zero byte of `x`; higher marks may be borrow artefacts.
    let zero_in = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let query = zero_in(word ^ (ONES * b'?' as u64));
    (query.trailing_zeros() / 8) as usize
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn busy(cell: &Cell) -> Raw {
        match cell.read() {
            Read::Busy(raw) => raw,
            other => panic!("expected a request, got {other:?}"),
        }
    }

    #[test]
    fn a_path_ends_at_its_query_and_at_64_bytes() {
        let cell = Cell::new();
        cell.claim(None);
        let long = "/abcdefg".repeat(20);
        for (path, stored, cut) in [
            ("/", "/", false),
            ("", "", false),
            ("/a?b=c", "/a", false),
            ("/abcdef?x", "/abcdef", false),
            ("/abcdefg?x", "/abcdefg", false),
            ("?x", "", false),
            (&long[..64], &long[..64], false),
            (&format!("{}?x", &long[..64]), &long[..64], false),
            (&long, &long[..64], true),
        ] {
            cell.begin("GET", path, Duration::ZERO).expect("one writer");
            assert_eq!(
                (busy(&cell).path().as_str(), busy(&cell).is_cut()),
                (stored, cut),
                "{path}"
            );
        }
    }

    #[test]
    fn a_path_cut_inside_a_character_is_still_text() {
        let cell = Cell::new();
        cell.claim(None);
        cell.begin(
            "GET",
            &"ä".repeat(40).replacen('ä', "/ä", 1),
            Duration::ZERO,
        )
        .expect("one writer");
        assert!(busy(&cell).path().ends_with('\u{fffd}'));
    }

    #[test]
    fn peers_come_back_as_they_were() {
        for peer in [
            "192.0.2.7:65535",
            "[2001:db8::1]:1",
            "[fe80::1%3]:443",
            "[::]:0",
            "0.0.0.0:0",
        ] {
            let peer: SocketAddr = peer.parse().expect("an address");
            let cell = Cell::new();
            cell.claim(Some(peer));
            assert_eq!(cell.read(), Read::Idle);
            cell.begin("PROPFIND-LONG", "/", Duration::from_micros(7))
                .expect("one writer");
            let raw = busy(&cell);
            assert_eq!(
                (raw.peer(), raw.method().as_str(), raw.since),
                (Some(peer), "PROPFIND", 7)
            );
        }
    }

    #[test]
    fn what_is_spoken_stands_beside_the_peer() {
        let peer: SocketAddr = "[fe80::1%3]:443".parse().expect("an address");
        let cell = Cell::new();
        cell.claim(Some(peer));
        assert_eq!(cell.protocol(), Protocol::Unknown);
        for spoken in Protocol::ALL.into_iter().rev() {
            cell.speak(spoken);
            cell.begin("GET", "/", Duration::ZERO).expect("one writer");
            let raw = busy(&cell);
            assert_eq!((raw.protocol(), raw.peer()), (spoken, Some(peer)));
            cell.idle();
            assert_eq!(cell.protocol(), spoken);
        }
        cell.speak(Protocol::Http2);
        cell.claim(Some(peer));
        assert_eq!(cell.protocol(), Protocol::Unknown, "a claim forgets it");
    }

    #[test]
    fn states_follow_the_holder() {
        let cell = Cell::new();
        assert_eq!(cell.read(), Read::Free);
        cell.claim(None);
        assert_eq!(cell.read(), Read::Idle);
        cell.begin("GET", "/", Duration::ZERO).expect("one writer");
        assert_eq!(busy(&cell).peer(), None);
        cell.idle();
        assert_eq!(cell.read(), Read::Idle);
        cell.free();
        assert_eq!(cell.read(), Read::Free);
    }

    #[test]
    fn a_second_writer_gives_way_and_a_reader_gives_up() {
        let cell = Cell::new();
        cell.claim(None);
        let inner = cell.write(|cell| {
            assert_eq!(cell.begin("GET", "/", Duration::ZERO), Err(Contended));
            assert_eq!(cell.read(), Read::Torn);
        });
        assert_eq!(inner, Ok(()));
        assert_eq!(cell.read(), Read::Idle);
    }
}
