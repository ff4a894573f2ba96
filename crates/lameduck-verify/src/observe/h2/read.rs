//! Owns the reading half of a client: what each frame of the server does to its calls and to the log.
//! Not: the words in which streams end (see `call`).

use std::time::{Duration, Instant};

use super::call::{Call, GoAway};
use super::flow::{Conn, Flow};
use super::frame::{self, Frame, MAX_31};
use super::hpack;
use super::script::{Credit, Pings};
use crate::observe::flow::{World, is_wait};
use crate::observe::outcome::End;

/// GOAWAYs and PINGs that are kept for one connection; later ones are acted on, not kept.
const MAX_LOGGED: usize = 32;
/// Most bytes of ours that may wait for the socket: a server that asks and does not read is none to talk to.
const MAX_WAITING: usize = 1024 * 1024;
/// Most bytes read from one connection in one go.
const READ_SIZE: usize = 16 * 1024;

impl Flow {
    pub(super) fn read_all(&mut self, world: &World) {
        let mut buffer = [0; READ_SIZE];
        // Bounded: a peer that sends without end gets its turn again in the next round.
        for _ in 0..16 {
            let open = |conn: &&mut Conn| conn.is_open && !conn.is_over;
            let Some(conn) = self.conn.as_mut().filter(open) else {
                return;
            };
            match conn.link.receive(&mut buffer) {
                Ok(0) => return self.ended(End::Fin, Instant::now(), world),
                Ok(count) => {
                    conn.reader.push(&buffer[..count]);
                    self.take_frames(world);
                }
                Err(error) if is_wait(&error) => break,
                Err(_) => return self.ended(End::Reset, Instant::now(), world),
            }
        }
    }

    fn take_frames(&mut self, world: &World) {
        let now = Instant::now();
        loop {
            let Some(conn) = &mut self.conn else { return };
            let taken = match conn.reader.next() {
                Ok(None) => return,
                Ok(Some(frame)) => self.take(frame, now),
                Err(bad) => Err(bad.to_string()),
            };
            if let Err(why) = taken {
                if let Some(log) = self.conns.last_mut() {
                    log.malformed.get_or_insert(why);
                }
                return self.ended(End::Reset, now, world);
            }
        }
    }

    fn take(&mut self, frame: Frame, now: Instant) -> Result<(), String> {
        if self
            .conn
            .as_ref()
            .is_some_and(|conn| conn.out.len() > MAX_WAITING)
        {
            return Err("it asks for answers and does not read them".to_owned());
        }
        match frame {
            Frame::Headers { stream, block, end } => {
                let fields = hpack::decode(&block).map_err(|bad| bad.to_string())?;
                self.take_part(stream, end, now, |call| call.take_head(&fields, now));
            }
            Frame::Data {
                stream,
                bytes,
                counted,
                end,
            } => {
                if self.manners.credit == Credit::AtOnce && counted > 0 {
                    let stream = (!end).then_some(stream);
                    self.reply(frame::window_update(0, counted));
                    self.reply(
                        stream.map_or_else(Vec::new, |id| frame::window_update(id, counted)),
                    );
                }
                self.take_part(stream, end, now, |call| call.take_body(&bytes, now));
            }
            Frame::Reset { stream, code } => {
                if let Some(call) = self.call(stream) {
                    call.settle_reset(code, now);
                }
            }
            Frame::Settings(pairs) => self.take_settings(&pairs),
            Frame::Ping(payload) => self.take_ping(payload, now),
            Frame::GoAway { last, code } => self.take_goaway(GoAway {
                at: now,
                last,
                code,
            }),
            Frame::WindowUpdate { stream: 0, more } => {
                if let Some(conn) = &mut self.conn {
                    conn.window = (conn.window + i64::from(more)).min(i64::from(MAX_31));
                }
            }
            Frame::WindowUpdate { stream, more } => {
                if let Some(call) = self.call(stream) {
                    call.window = (call.window + i64::from(more)).min(i64::from(MAX_31));
                }
            }
            Frame::SettingsAck | Frame::Pong | Frame::Other => {}
        }
        Ok(())
    }

    /// A part of an answer.
    fn take_part(&mut self, stream: u32, end: bool, now: Instant, take: impl FnOnce(&mut Call)) {
        let told = self.conns.last().is_some_and(|log| !log.goaways.is_empty());
        let usual = self.usual;
        if let Some(call) = self.call(stream) {
            take(call);
            call.whole |= end;
            call.settle_whole(told, usual, now);
        }
    }

    fn take_settings(&mut self, pairs: &[(u16, u32)]) {
        for (id, value) in pairs {
            match *id {
                frame::MAX_CONCURRENT_STREAMS => {
                    if let Some(log) = self.conns.last_mut() {
                        log.max_streams = *value;
                    }
                }
                frame::ENABLE_CONNECT_PROTOCOL => {
                    if let Some(log) = self.conns.last_mut() {
                        log.offers_connect = *value == 1;
                    }
                }
                frame::INITIAL_WINDOW_SIZE => {
                    let Some(conn) = &mut self.conn else { return };
                    let change = i64::from(*value) - conn.first_window;
                    conn.first_window = i64::from(*value);
                    self.present().for_each(|call| call.window += change);
                }
                _ => {}
            }
        }
        if let Some(log) = self.conns.last_mut() {
            log.greeted = true;
        }
        self.reply(frame::settings_ack());
    }

    fn take_ping(&mut self, payload: [u8; 8], now: Instant) {
        if let Some(log) = self.conns.last_mut()
            && log.pings.len() < MAX_LOGGED
        {
            log.pings.push(now);
        }
        match (self.manners.pings, &mut self.conn) {
            (Pings::AtOnce, _) => self.reply(frame::pong(payload)),
            (Pings::Held, Some(conn)) if conn.held_pings.len() < MAX_LOGGED => {
                conn.held_pings.push(payload);
            }
            (Pings::Held | Pings::Never, _) => {}
        }
    }

    fn take_goaway(&mut self, goaway: GoAway) {
        let Some(log) = self.conns.last_mut() else {
            return;
        };
        if log.goaways.len() == MAX_LOGGED {
            // The newest one names the last stream.
            log.goaways.pop();
        }
        log.goaways.push(goaway);
        let log = log.clone();
        self.present()
            .for_each(|call| call.settle_above(&log, goaway.at));
    }

    fn reply(&mut self, frame: Vec<u8>) {
        if let Some(conn) = &mut self.conn {
            conn.reply(frame);
        }
    }

    /// The calls of the present connection.
    fn present(&mut self) -> impl Iterator<Item = &mut Call> {
        let first = self
            .conn
            .as_ref()
            .map_or(usize::MAX, |conn| conn.first_call);
        self.calls.iter_mut().skip(first)
    }

    /// Our streams have odd ids, counted up.
    fn call(&mut self, stream: u32) -> Option<&mut Call> {
        let index = stream.checked_sub(1)? / 2;
        self.present()
            .nth(index as usize)
            .filter(|call| call.id == stream)
    }

    /// The connection ended, or is of no more use.
    pub(super) fn ended(&mut self, end: End, now: Instant, world: &World) {
        let Some(conn) = self.conn.as_mut().filter(|conn| !conn.is_over) else {
            return;
        };
        conn.is_over = true;
        if let Some(log) = self.conns.last_mut() {
            log.end = Some((now, end));
            log.notified = end == End::Fin && conn.link.was_notified();
            if conn.link.is_handshaking() {
                self.failed_handshakes.push((log.opened_at, now));
            }
        }
        self.settle_all(end, world.round_trip, now);
    }

    /// Every stream of the present connection ends by now.
    pub(super) fn settle_all(&mut self, end: End, round_trip: Duration, now: Instant) {
        let (Some(conn), Some(log)) = (&self.conn, self.conns.last()) else {
            return;
        };
        for call in self.calls.iter_mut().skip(conn.first_call) {
            call.settle_end(log, end, round_trip, now);
        }
    }
}
