//! Owns one client made of segments, whose final ACK is a while under way.
//! Not: the device they travel through (see `device`), or the verdict (see `mod.rs`).

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use super::segment::{ACK, FIN, PSH, RST, SYN, Segment};
use crate::observe::answers::Answers;
use crate::observe::outcome::End;

/// The final ACK and the request arrive so long after the SYN-ACK was sent.
pub(super) const UNDER_WAY: Duration = Duration::from_millis(30);
/// The first SYN retransmission (RFC 6298).
const RETRANSMIT: Duration = Duration::from_secs(1);
const FIRST_SEQ: u32 = 1_000;

/// How far a client's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    SynSent,
    /// The ACK is under way.
    SynAcked,
    Open,
    Over,
}

#[derive(Debug)]
pub(super) struct Client {
    from: SocketAddrV4,
    to: SocketAddrV4,
    request: Vec<u8>,
    place: Place,
    next_seq: u32,
    expected: u32,
    pub(super) syn_at: Instant,
    /// Its SYN was sent twice.
    pub(super) was_retransmitted: bool,
    /// When the SYN-ACK came, the first sign of life.
    pub(super) answered_at: Option<Instant>,
    /// When the final ACK arrived at the target.
    pub(super) acked_at: Option<Instant>,
    /// The SYN itself was answered with a RST.
    pub(super) was_refused: bool,
    pub(super) answers: Answers,
}

impl Client {
    /// A client, and the packet that begins it.
    pub(super) fn new(
        from: SocketAddrV4,
        to: SocketAddrV4,
        request: Vec<u8>,
        now: Instant,
    ) -> (Self, Vec<u8>) {
        let client = Self {
            from,
            to,
            request,
            place: Place::SynSent,
            next_seq: FIRST_SEQ + 1,
            expected: 0,
            syn_at: now,
            was_retransmitted: false,
            answered_at: None,
            acked_at: None,
            was_refused: false,
            answers: Answers::to(1),
        };
        let syn = client.segment(FIRST_SEQ, SYN, &[]).packet();
        (client, syn)
    }

    fn segment<'d>(&self, seq: u32, flags: u8, data: &'d [u8]) -> Segment<'d> {
        Segment {
            from: self.from,
            to: self.to,
            seq,
            ack: if flags & ACK == 0 { 0 } else { self.expected },
            flags,
            data,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// What is due now.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Vec<u8>> {
        match (self.place, self.answered_at) {
            (Place::SynAcked, Some(at)) if now >= at + UNDER_WAY => {
                self.place = Place::Open;
                self.acked_at = Some(now);
                let ack = self.segment(self.next_seq, ACK, &[]).packet();
                let data = std::mem::take(&mut self.request);
                let request = self.segment(self.next_seq, PSH | ACK, &data).packet();
                self.next_seq = self.next_seq.wrapping_add(data.len() as u32);
                vec![ack, request]
            }
            (Place::SynSent, _) if !self.was_retransmitted && now >= self.syn_at + RETRANSMIT => {
                self.was_retransmitted = true;
                vec![self.segment(FIRST_SEQ, SYN, &[]).packet()]
            }
            _ => Vec::new(),
        }
    }

    /// Takes a segment of the target; returns what it is answered with.
    pub(super) fn take(&mut self, segment: &Segment<'_>, now: Instant) -> Option<Vec<u8>> {
        match self.place {
            Place::Over => None,
            Place::SynSent if segment.is(RST) => {
                self.was_refused = true;
                self.place = Place::Over;
                None
            }
            _ if segment.is(RST) => {
                self.answers.ended(End::Reset, now);
                self.place = Place::Over;
                None
            }
            Place::SynSent if segment.is(SYN) && segment.is(ACK) => {
                self.expected = segment.seq.wrapping_add(1);
                self.answered_at = Some(now);
                self.place = Place::SynAcked;
                None
            }
            Place::Open => self.take_data(segment, now),
            // A SYN-ACK again: the ACK is still under way.
            Place::SynSent | Place::SynAcked => None,
        }
    }

    fn take_data(&mut self, segment: &Segment<'_>, now: Instant) -> Option<Vec<u8>> {
        if segment.data.is_empty() && !segment.is(FIN) {
            return None;
        }
        // The device keeps the order: what is not expected was seen already.
        if segment.seq != self.expected {
            return Some(self.segment(self.next_seq, ACK, &[]).packet());
        }
        self.answers.hear(segment.data, now);
        self.expected = self.expected.wrapping_add(segment.data.len() as u32);
        if segment.is(FIN) {
            self.expected = self.expected.wrapping_add(1);
            self.answers.ended(End::Fin, now);
        }
        let is_done = self.answers.is_all_whole() || segment.is(FIN);
        let flags = if is_done { FIN | ACK } else { ACK };
        let packet = self.segment(self.next_seq, flags, &[]).packet();
        if is_done {
            self.place = Place::Over;
        }
        Some(packet)
    }
}
