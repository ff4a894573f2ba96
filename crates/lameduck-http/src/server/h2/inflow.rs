//! Which frames a client sends, as far as that tells work from noise.
//!
//! Owns the account of frames that carry nothing: PING, SETTINGS, PRIORITY, RST_STREAM, empty DATA, unknown kinds. Each costs a client a few bytes
//! and the server an answer or at least a look (CVE-2019-9512, -9515, -9518); nobody needs many of them where nothing else moves. A pure
//! follower of the frames' heads (RFC 9113 §4.1): no clock, no socket, constant memory.

use std::time::Duration;

const HEAD: usize = 9;
const PREFACE: usize = crate::server::detect::PREFACE.len();

const DATA: u8 = 0;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// RFC 9113 defines the kinds up to CONTINUATION.
const LAST_KNOWN: u8 = 9;

/// ACK of a SETTINGS or PING, END_STREAM of a DATA.
const FIRST_FLAG: u8 = 1;

/// Frames that are forgiven each second.
const PER_SECOND: u64 = 100;
/// Bytes that must move for one more. Some clients measure their path by PINGs while they send or receive.
const BYTES_EACH: u64 = 1024;

/// Follows the bytes of one client.
#[derive(Debug)]
pub(super) struct Inflow {
    head: [u8; HEAD],
    /// Bytes of `head` that are here.
    have: usize,
    /// Bytes to pass before the next head: the preface at first, then each payload.
    skip: usize,
    /// Bytes of the payload at hand.
    payload: usize,
    account: Account,
}

/// How many frames without content a client may still send.
#[derive(Debug)]
struct Account {
    limit: u64,
    /// In 1/1000 of a frame.
    credit: u64,
    at: Duration,
    moved: u64,
}

impl Inflow {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            skip: PREFACE,
            payload: 0,
            account: Account {
                limit: u64::from(limit) * 1000,
                credit: u64::from(limit) * 1000,
                at: Duration::ZERO,
                moved: 0,
            },
        }
    }

    /// Follows bytes. `facts` gives the time and the bytes that moved in either direction so far; it is asked only if there is something to pay for.
    ///
    /// Gives whether the client is within its account.
    pub(super) fn feed(&mut self, bytes: &[u8], facts: impl FnOnce() -> (Duration, u64)) -> bool {
        let noise = self.count(bytes);
        if noise == 0 {
            return true;
        }
        let (now, moved) = facts();
        self.account.pay(noise, now, moved)
    }

    /// The stream whose DATA frame is here in part, and how many bytes of its payload. h2 gives a frame on when it is whole, which takes a slow
    /// client a while: what has arrived of it is progress all the same.
    pub(super) fn arriving(&self) -> Option<(u32, usize)> {
        let is_data = self.skip > 0 && self.have == 0 && self.head[3] == DATA && self.payload > 0;
        let id = u32::from_be_bytes([
            self.head[5] & 0x7f,
            self.head[6],
            self.head[7],
            self.head[8],
        ]);
        is_data.then(|| (id, self.payload - self.skip))
    }

    /// How many frames without content begin in these bytes.
    fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut noise = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                self.have = 0;
                let length = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]);
                self.skip = length as usize;
                self.payload = self.skip;
                noise += u64::from(is_noise(self.head[3], self.head[4], self.skip));
            }
        }
        noise
    }
}

fn is_noise(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        DATA => length == 0 && flags & FIRST_FLAG == 0,
        SETTINGS | PING => flags & FIRST_FLAG == 0,
        PRIORITY | RST_STREAM => true,
        kind => kind > LAST_KNOWN,
    }
}

impl Account {
    fn pay(&mut self, frames: u64, now: Duration, moved: u64) -> bool {
        let time = now.saturating_sub(self.at).as_millis();
        let for_time = u64::try_from(time)
            .unwrap_or(u64::MAX)
            .saturating_mul(PER_SECOND);
        let for_bytes = (moved.saturating_sub(self.moved)).saturating_mul(1000) / BYTES_EACH;
        (self.at, self.moved) = (now, moved);
        self.credit = self
            .credit
            .saturating_add(for_time)
            .saturating_add(for_bytes)
            .min(self.limit);
        let price = frames.saturating_mul(1000);
        let within = self.credit >= price;
        self.credit = self.credit.saturating_sub(price);
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let size = u32::try_from(length).expect("short").to_be_bytes();
        let mut bytes = vec![size[1], size[2], size[3], kind, flags, 0, 0, 0, 0];
        bytes.resize(HEAD + length, 0xff);
        bytes
    }

    fn greeted(limit: u32) -> Inflow {
        let mut inflow = Inflow::new(limit);
        assert_eq!(inflow.count(crate::server::detect::PREFACE), 0);
        inflow
    }

    #[test]
    fn what_carries_something_is_no_noise() {
        let mut inflow = greeted(0);
        for (kind, flags, length) in [
            (DATA, 0, 1),
            (DATA, 1, 0), // the end of a request
            (1, 4, 20),   // HEADERS
            (SETTINGS, 1, 0),
            (PING, 1, 8),
            (7, 0, 8), // GOAWAY
            (8, 0, 4), // WINDOW_UPDATE
            (9, 0, 0), // CONTINUATION, which h2 bounds
        ] {
            assert_eq!(inflow.count(&frame(kind, flags, length)), 0, "{kind}");
        }
        for (kind, flags, length) in [
            (DATA, 0, 0),
            (SETTINGS, 0, 6),
            (PING, 0, 8),
            (PRIORITY, 0, 5),
            (RST_STREAM, 0, 4),
            (0x20, 0, 100),
        ] {
            assert_eq!(inflow.count(&frame(kind, flags, length)), 1, "{kind}");
        }
    }

    #[test]
    fn frames_are_followed_however_they_are_split() {
        let mut bytes = crate::server::detect::PREFACE.to_vec();
        for (kind, length) in [
            (SETTINGS, 0),
            (1, 300),
            (PING, 8),
            (DATA, 0),
            (DATA, 70_000),
            (PING, 8),
        ] {
            bytes.extend(frame(kind, 0, length));
        }
        for size in [1, 2, 3, 7, 8, 9, 10, 24, 100, bytes.len()] {
            let mut inflow = Inflow::new(0);
            let noise: u64 = bytes.chunks(size).map(|part| inflow.count(part)).sum();
            assert_eq!(noise, 4, "in pieces of {size}");
        }
    }

    #[test]
    fn a_frame_that_arrives_in_parts_is_seen() {
        let mut inflow = Inflow::new(0);
        let mut bytes = crate::server::detect::PREFACE.to_vec();
        assert_eq!((inflow.count(&bytes[..5]), inflow.arriving()), (0, None));
        assert_eq!((inflow.count(&bytes[5..]), inflow.arriving()), (0, None));
        bytes = frame(DATA, 0, 4);
        bytes[8] = 7;
        for (upto, arriving) in [
            (8, None),
            (9, Some((7, 0))),
            (10, Some((7, 1))),
            (12, Some((7, 3))),
            (13, None),
        ] {
            let mut inflow = Inflow::new(0);
            inflow.count(crate::server::detect::PREFACE);
            inflow.count(&bytes[..upto]);
            assert_eq!(inflow.arriving(), arriving, "{upto}");
        }
        // Another kind of frame is no progress of a stream.
        inflow.count(&frame(1, 0, 4)[..10]);
        assert_eq!(inflow.arriving(), None);
    }

    #[test]
    fn an_account_is_filled_by_time_and_by_what_moves() {
        let mut inflow = greeted(10);
        let ping = frame(PING, 0, 8);
        let mut feed = |now: u64, moved| inflow.feed(&ping, || (Duration::from_millis(now), moved));
        assert!((0..10).all(|_| feed(0, 0)));
        assert!(!feed(0, 0));
        // Ten milliseconds forgive one, and so does a KiB.
        assert!(feed(10, 0) && !feed(10, 0));
        assert!(feed(10, 1024) && !feed(10, 1024));
        // Never more than the limit at once.
        assert!((0..10).all(|_| feed(1_000_000, 1 << 40)));
        assert!(!feed(1_000_000, 1 << 40));
    }
}
