//! Owns the writing half of a client: opening streams, bodies within the server's windows, and when it was written.
//! Not: what is written when (see `script`), or frames themselves (see `frame`).

use std::time::{Duration, Instant};

use super::call::Call;
use super::flow::{Conn, Flow};
use super::frame::{self, Ends, MAX_FRAME};
use super::hpack;
use super::script::{Heed, Request};
use crate::observe::flow::{Waits, World, is_wait};
use crate::observe::outcome::{End, Exchange};
use crate::observe::wire::Look;

/// How far the bytes under way came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    Whole,
    /// The socket takes no more for now.
    Blocked,
    /// There is no connection to write to.
    Over,
}

impl Flow {
    /// Bytes on their way, whatever they are.
    pub(super) fn put(&mut self, bytes: &[u8], world: &World) -> Option<Waits> {
        if self.sending.is_none() {
            self.sending = Some((usize::MAX, Instant::now()));
            self.conn.as_mut()?.out.extend_from_slice(bytes);
        }
        (self.flush(world) == Flushed::Blocked).then_some(Waits::Writable)
    }

    /// The look: what a careful client does right before it writes; `None` where the connection is over.
    fn look(&mut self, world: &World) -> Option<Instant> {
        let looked_at = Instant::now();
        if self.conn.as_mut()?.link.look() != Look::Open {
            self.read_all(world);
        }
        let usable = self.conn.as_ref().is_some_and(Conn::is_usable);
        usable.then_some(looked_at)
    }

    pub(super) fn open(&mut self, request: &Request, world: &World) -> Option<Waits> {
        if self.sending.is_none() {
            let log = self.conns.last()?;
            let open = self
                .calls
                .iter()
                .rev()
                .take(1_000)
                .filter(|call| call.conn + 1 == self.conns.len() && call.is_open());
            if open.count() >= log.max_streams as usize {
                return Some(Waits::Bytes);
            }
            let looked_at = self.look(world)?;
            let told = self.conns.last().is_some_and(|log| !log.goaways.is_empty());
            if told && request.heed == Heed::GoAway {
                return None;
            }
            self.begin(request, world);
            self.sending = Some((self.calls.len() - 1, looked_at));
        }
        self.pump(world)
    }

    fn begin(&mut self, request: &Request, world: &World) {
        let (Some(conn), Some(log)) = (&mut self.conn, self.conns.last()) else {
            return;
        };
        let now = Instant::now();
        let planned_at = self
            .offset
            .and_then(|offset| world.stopped_at.map(|t| t + offset));
        let exchange = Exchange {
            is_post: self.is_post,
            is_first: conn.next_id == 1,
            planned_at,
            begun_at: now,
            opened_at: log.opened_at,
            written_at: None,
            look_gap: Duration::ZERO,
            first_byte_at: None,
            ended_at: None,
            outcome: None,
            status: None,
            body_bytes: 0,
            crossed: false,
        };
        let mut call = Call::new(
            exchange,
            conn.next_id,
            self.conns.len() - 1,
            request.dialect,
        );
        conn.next_id += 2;
        call.room = request.keep;
        call.window = conn.first_window;
        call.unsent.clone_from(&request.body);
        call.closes = request.ends == Ends::Stream;
        call.closed = call.closes && request.body.is_empty();
        let fields: Vec<(&str, &str)> = request
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let ends = if call.closed {
            Ends::Stream
        } else {
            Ends::Nothing
        };
        let head = frame::headers(call.id, &hpack::encode(&fields), ends);
        conn.out.extend(head);
        self.calls.push(call);
    }

    pub(super) fn send_more(&mut self, bytes: &[u8], ends: Ends, world: &World) -> Option<Waits> {
        if self.sending.is_none() {
            let looked_at = self.look(world)?;
            let index = self.calls.len().checked_sub(1)?;
            let call = &mut self.calls[index];
            if !call.is_live() || call.closed {
                return None;
            }
            call.unsent.extend_from_slice(bytes);
            call.closes = ends == Ends::Stream;
            self.sending = Some((index, looked_at));
        }
        self.pump(world)
    }

    /// Puts the body of the call under way into frames, as far as windows allow, and sends them.
    fn pump(&mut self, world: &World) -> Option<Waits> {
        let (index, looked_at) = self.sending?;
        let (Some(conn), Some(call)) = (&mut self.conn, self.calls.get_mut(index)) else {
            return None;
        };
        let is_live = call.is_live();
        while is_live && !call.closed && (!call.unsent.is_empty() || call.closes) {
            let allowed = call.window.min(conn.window).clamp(0, MAX_FRAME as i64) as usize;
            let count = call.unsent.len().min(allowed);
            if count == 0 && !call.unsent.is_empty() {
                break;
            }
            let part: Vec<u8> = call.unsent.drain(..count).collect();
            call.closed = call.unsent.is_empty() && call.closes;
            let ends = if call.closed {
                Ends::Stream
            } else {
                Ends::Nothing
            };
            conn.out.extend(frame::data(call.id, &part, ends));
            call.window -= count as i64;
            conn.window -= count as i64;
        }
        let waits_for_credit = is_live && !call.unsent.is_empty();
        match self.flush(world) {
            Flushed::Blocked => return Some(Waits::Writable),
            Flushed::Over => return None,
            Flushed::Whole if waits_for_credit => return Some(Waits::Bytes),
            Flushed::Whole => {}
        }
        let call = self.calls.get_mut(index)?;
        if call.closed && call.exchange.written_at.is_none() {
            let written_at = Instant::now();
            call.exchange.written_at = Some(written_at);
            call.exchange.look_gap = written_at - looked_at;
            if let Some(offset) = self.offset {
                call.exchange.planned_at = world.stopped_at.map(|t| t + offset);
            }
        }
        None
    }

    pub(super) fn flush(&mut self, world: &World) -> Flushed {
        loop {
            let Some(conn) = self.conn.as_mut().filter(|conn| conn.is_usable()) else {
                return Flushed::Over;
            };
            match conn.link.send(&conn.out) {
                Ok(_) if conn.out.is_empty() && !conn.link.has_backlog() => return Flushed::Whole,
                Ok(count) => {
                    conn.out.drain(..count);
                }
                Err(error) if is_wait(&error) => return Flushed::Blocked,
                Err(_) => {
                    // What came before the reset is read first: it may be a GOAWAY.
                    self.read_all(world);
                    self.ended(End::Reset, Instant::now(), world);
                    return Flushed::Over;
                }
            }
        }
    }
}
