//! Owns what is known of one stream, that is one request, and of one connection; and in which word a stream ends.
//! Not: frames or sockets.

use std::time::{Duration, Instant};

use super::frame::{MAX_31, NO_ERROR, REFUSED_STREAM};
use super::hpack::Field;
use super::script::Dialect;
use crate::observe::outcome::{End, Exchange, Outcome, Usual};

/// Most pieces of a body that are kept for one stream.
const MAX_KEPT: usize = 256;

/// A GOAWAY as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoAway {
    pub(crate) at: Instant,
    pub(crate) last: u32,
    pub(crate) code: u32,
}

impl GoAway {
    /// It says that the server goes, not yet which stream is the last.
    pub(crate) fn is_notice(self) -> bool {
        self.last == MAX_31 && self.code == NO_ERROR
    }
}

/// What was seen on one connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnLog {
    pub(crate) opened_at: Instant,
    /// In the order of arrival; bounded by the flow.
    pub(crate) goaways: Vec<GoAway>,
    /// When PINGs came; bounded by the flow.
    pub(crate) pings: Vec<Instant>,
    /// Its SETTINGS came.
    pub(crate) greeted: bool,
    /// And they offer extended CONNECT (RFC 8441).
    pub(crate) offers_connect: bool,
    /// Streams that the server allows at once.
    pub(crate) max_streams: u32,
    /// How it ended, unless we ended it.
    pub(crate) end: Option<(Instant, End)>,
    /// Under TLS, its end was announced by a close_notify.
    pub(crate) notified: bool,
    /// What the server sent was no HTTP/2.
    pub(crate) malformed: Option<String>,
}

impl ConnLog {
    pub(crate) fn new(opened_at: Instant) -> Self {
        Self {
            opened_at,
            goaways: Vec::new(),
            pings: Vec::new(),
            greeted: false,
            offers_connect: false,
            max_streams: u32::MAX,
            end: None,
            notified: false,
            malformed: None,
        }
    }

    /// The GOAWAY that named the last stream, if one did.
    pub(crate) fn final_goaway(&self) -> Option<GoAway> {
        self.goaways
            .iter()
            .copied()
            .find(|goaway| !goaway.is_notice())
    }

    /// The highest stream that the server may still work on.
    pub(crate) fn last_stream(&self) -> u32 {
        self.goaways
            .iter()
            .map(|goaway| goaway.last)
            .min()
            .unwrap_or(MAX_31)
    }
}

/// One stream.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) exchange: Exchange,
    pub(crate) id: u32,
    /// The number of its connection in the flow's log.
    pub(crate) conn: usize,
    /// The code of the RST_STREAM that ended it.
    pub(crate) reset: Option<u32>,
    /// Trailers came.
    pub(crate) has_trailers: bool,
    pub(crate) grpc_status: Option<u32>,
    /// When the head of the answer was read.
    pub(crate) head_at: Option<Instant>,
    /// The first bytes of the answer's body, as they came.
    pub(crate) kept: Vec<(Instant, Vec<u8>)>,
    /// What of `keep` is left.
    pub(super) room: usize,
    pub(super) dialect: Dialect,
    retry_after: bool,
    /// END_STREAM came.
    pub(crate) whole: bool,
    /// What the server lets us send on it.
    pub(super) window: i64,
    /// Body that is not in a frame yet, and whether END_STREAM follows it.
    pub(super) unsent: Vec<u8>,
    pub(super) closes: bool,
    /// Our END_STREAM is in a frame.
    pub(super) closed: bool,
}

impl Call {
    pub(super) fn new(exchange: Exchange, id: u32, conn: usize, dialect: Dialect) -> Self {
        Self {
            exchange,
            id,
            conn,
            reset: None,
            has_trailers: false,
            grpc_status: None,
            head_at: None,
            kept: Vec::new(),
            room: 0,
            dialect,
            retry_after: false,
            whole: false,
            window: 0,
            unsent: Vec::new(),
            closes: false,
            closed: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.exchange.ended_at.is_none()
    }

    /// Something may still come or be sent: a tunnel goes on behind its head.
    pub(crate) fn is_live(&self) -> bool {
        self.is_open() || self.dialect == Dialect::Tunnel && !self.whole && self.reset.is_none()
    }

    /// Opened when the server had named its last stream already, which is before this one.
    pub(crate) fn is_above(&self, conn: &ConnLog) -> bool {
        self.id > conn.last_stream()
    }

    pub(super) fn take_head(&mut self, fields: &[Field], now: Instant) {
        let value = |wanted: &[u8]| {
            let field = fields.iter().find(|(name, _)| name == wanted);
            field.and_then(|(_, value)| std::str::from_utf8(value).ok())
        };
        self.exchange.first_byte_at.get_or_insert(now);
        let status = value(b":status").and_then(|text| text.parse::<u16>().ok());
        match (self.head_at, status) {
            (None, Some(100..200)) => return,
            (None, _) => {
                self.head_at = Some(now);
                self.exchange.status = status;
                self.retry_after = value(b"retry-after").is_some();
            }
            (Some(_), _) => self.has_trailers = true,
        }
        if let Some(status) = value(b"grpc-status").and_then(|text| text.parse().ok()) {
            self.grpc_status = Some(status);
        }
    }

    pub(super) fn take_body(&mut self, bytes: &[u8], now: Instant) {
        self.exchange.first_byte_at.get_or_insert(now);
        self.exchange.body_bytes += bytes.len() as u64;
        let kept = &bytes[..bytes.len().min(self.room)];
        if !kept.is_empty() && self.kept.len() < MAX_KEPT {
            self.room -= kept.len();
            self.kept.push((now, kept.to_vec()));
        }
    }

    fn end(&mut self, outcome: Outcome, now: Instant) {
        if self.is_open() {
            self.exchange.outcome = Some(outcome);
            self.exchange.ended_at = Some(now);
        }
    }

    /// Ends it if the answer is whole; `told` when the server had said that it goes.
    pub(super) fn settle_whole(&mut self, told: bool, usual: Usual, now: Instant) {
        let is_tunnel = self.dialect == Dialect::Tunnel && self.head_at.is_some();
        if !(self.whole || is_tunnel) {
            return;
        }
        let outcome = match (self.exchange.status, self.dialect, self.grpc_status) {
            (None, ..) => Outcome::Truncated,
            (Some(200), Dialect::Grpc, None) => Outcome::Truncated,
            (Some(_), Dialect::Grpc, None | Some(1..)) => Outcome::Error,
            (Some(503), ..) if self.retry_after && told => Outcome::Refused503,
            (Some(500..), ..) if usual == Usual::Good => Outcome::Error,
            _ if told => Outcome::ServedClose,
            _ => Outcome::Served,
        };
        self.end(outcome, now);
    }

    pub(super) fn settle_reset(&mut self, code: u32, now: Instant) {
        self.reset.get_or_insert(code);
        let outcome = if code == REFUSED_STREAM {
            Outcome::RefusedH2
        } else if self.exchange.first_byte_at.is_some() {
            Outcome::Truncated
        } else {
            Outcome::Reset
        };
        self.end(outcome, now);
    }

    /// Ends it if it is above the last stream of a GOAWAY: not processed, safe to send again.
    pub(super) fn settle_above(&mut self, conn: &ConnLog, now: Instant) {
        if self.is_above(conn) && self.exchange.first_byte_at.is_none() {
            self.end(Outcome::RefusedH2, now);
        }
    }

    /// The connection ended, or we stopped waiting.
    pub(super) fn settle_end(
        &mut self,
        conn: &ConnLog,
        end: End,
        round_trip: Duration,
        now: Instant,
    ) {
        if !self.is_open() {
            return;
        }
        self.settle_above(conn, now);
        let outcome = match (end, self.exchange.first_byte_at) {
            (End::GaveUp, _) => Outcome::Hung,
            (_, Some(_)) => Outcome::Truncated,
            (End::Fin, None) => Outcome::Eof,
            (End::Reset, None) => Outcome::Reset,
        };
        if self.is_open() && outcome == Outcome::Eof {
            let written = self.exchange.written_at;
            self.exchange.crossed =
                written.is_some_and(|at| now.saturating_duration_since(at) <= round_trip);
        }
        let unsent = self.exchange.written_at.is_none() && outcome != Outcome::Truncated;
        self.end(outcome, now);
        if unsent && self.exchange.outcome.is_some_and(Outcome::is_unanswered) {
            // The end came before the last byte was written: nothing was sent that could be lost.
            self.exchange.outcome = None;
        }
    }
}
