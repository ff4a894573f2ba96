//! Owns what one scripted client does and what it saw: steps in, exchanges and marks out.
//! Not: waiting (see `engine`). A flow never blocks; it says what it waits for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::engine::Client;
use super::link::{Door, Link, Shake};
use super::outcome::{End, Exchange, Outcome, Usual, classify};
use super::response::ResponseReader;
pub(crate) use super::script::{Part, Script, Seen, Step, Steps, When};
use super::tls::Reach;
use super::wire::{Dial, Look};

/// What happened on a connection, for the lanes of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Connected,
    /// The TLS handshake is over.
    Secured,
    Refused,
    ConnectFailed,
    Wrote(Part),
    Answered(u16, Outcome),
    /// close_notify, under TLS; `Fin` follows it at once.
    Notified,
    Fin,
    Reset,
    Closed,
}

/// Marks kept for one flow; later ones are counted only.
const MAX_MARKS: usize = 24;
/// Requests that one client sends at most.
const MAX_EXCHANGES: usize = 20_000;
/// Most bytes read from one connection in one go.
const READ_SIZE: usize = 16 * 1024;

/// One client: its script, its connection, and all that it saw.
pub(crate) struct Flow {
    /// The group that judges it.
    pub(crate) group: &'static str,
    /// Its place in a sweep: the offset from the signal.
    pub(crate) offset: Option<Duration>,
    pub(crate) is_post: bool,
    pub(crate) usual: Usual,
    /// Right before the signal it was where its scenario wanted it.
    pub(crate) was_poised: bool,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) marks: Vec<(Instant, Mark)>,
    pub(crate) marks_dropped: u64,
    /// Refused connects: when begun, when refused.
    pub(crate) refused_connects: Vec<(Instant, Instant)>,
    /// A connect was neither accepted nor refused when we stopped waiting.
    pub(crate) gave_up_dialling: bool,
    /// Connects that failed for a reason other than refusal, with the errno.
    pub(crate) failed_connects: Vec<(Instant, i32)>,
    /// TLS handshakes that the peer ended, or that were under way when we stopped waiting: when dialled, when over.
    pub(crate) failed_handshakes: Vec<(Instant, Instant)>,
    /// When a handshake that had been held back went on to its end.
    pub(crate) resumed_at: Option<Instant>,
    /// When the connect now under way was begun, if one is.
    pub(crate) dialling_since: Option<Instant>,
    door: Door,
    /// The handshake that belongs to a `Connect` is under way.
    shaking: bool,
    script: Box<dyn Script>,
    step: Option<Step>,
    reached_at: Instant,
    conn: Option<Conn>,
    refused: bool,
    finished: bool,
}

struct Conn {
    link: Link,
    /// When it was established.
    opened_at: Option<Instant>,
    ended: Option<End>,
    said_close: bool,
    answered: u32,
    reader: ResponseReader,
    malformed: bool,
    open: Option<usize>,
    sent_of_step: usize,
}

/// What the engine tells a flow about the world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub(crate) addr: SocketAddr,
    pub(crate) stopped_at: Option<Instant>,
    /// The signal is about to be sent.
    pub(crate) is_eve: bool,
    /// Clients make an end of it: nothing new is begun.
    pub(crate) is_closing_time: bool,
    pub(crate) round_trip: Duration,
}

/// What a flow waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    Nothing,
    Until(Instant),
    Writable,
    Bytes,
}

impl Flow {
    pub(crate) fn new(group: &'static str, script: impl Script + 'static) -> Self {
        Self {
            group,
            offset: None,
            is_post: false,
            usual: Usual::Good,
            was_poised: false,
            exchanges: Vec::new(),
            marks: Vec::new(),
            marks_dropped: 0,
            refused_connects: Vec::new(),
            gave_up_dialling: false,
            failed_connects: Vec::new(),
            failed_handshakes: Vec::new(),
            resumed_at: None,
            dialling_since: None,
            door: Door::Usual,
            shaking: false,
            script: Box::new(script),
            step: None,
            reached_at: Instant::now(),
            conn: None,
            refused: false,
            finished: false,
        }
    }

    pub(crate) fn at_offset(mut self, offset: Duration) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(crate) fn through(mut self, door: Door) -> Self {
        self.door = door;
        self
    }

    pub(crate) fn with_usual(mut self, usual: Usual) -> Self {
        self.usual = usual;
        self
    }

    pub(crate) fn posting(mut self, is_post: bool) -> Self {
        self.is_post = is_post;
        self
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The connection's end was announced by a close_notify.
    pub(crate) fn was_notified(&self) -> bool {
        self.marks.iter().any(|(_, mark)| *mark == Mark::Notified)
    }

    /// It reached a step that waits for the stop signal, with its connection still of use.
    pub(crate) fn is_poised(&self) -> bool {
        matches!(self.step, Some(Step::Pause(When::AfterStop(_) | When::Eve)))
            && self.seen(None).usable
    }

    /// It has a request that was begun and is not over.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.exchanges
            .last()
            .is_some_and(|exchange| exchange.ended_at.is_none())
    }

    /// How the connection ended, if it did, and when.
    pub(crate) fn end(&self) -> Option<(Instant, End)> {
        self.marks.iter().rev().find_map(|(at, mark)| match mark {
            Mark::Fin => Some((*at, End::Fin)),
            Mark::Reset => Some((*at, End::Reset)),
            _ => None,
        })
    }

    fn seen(&self, stopped_at: Option<Instant>) -> Seen {
        let usable = self.conn.as_ref().is_some_and(|conn| {
            conn.opened_at.is_some() && conn.ended.is_none() && !conn.said_close
        });
        let last = self.exchanges.last().and_then(|exchange| exchange.outcome);
        Seen {
            stopped: stopped_at.is_some(),
            usable,
            refused: self.refused,
            last,
        }
    }

    fn mark(&mut self, at: Instant, mark: Mark) {
        if self.marks.len() < MAX_MARKS {
            self.marks.push((at, mark));
        } else {
            // The end of a connection is what checks ask for: it replaces the last mark.
            if matches!(mark, Mark::Fin | Mark::Reset) {
                self.marks.pop();
                self.marks.push((at, mark));
            }
            self.marks_dropped += 1;
        }
    }

    /// Goes as far as it can without waiting.
    fn go_on(&mut self, world: &World) -> Waits {
        // One step may end at once and lead to the next; the bound keeps one flow from starving the rest.
        for _ in 0..8 {
            if self.finished {
                return Waits::Nothing;
            }
            let now = Instant::now();
            if self.step.is_none() {
                if (world.is_closing_time && !self.is_in_flight())
                    || self.exchanges.len() >= MAX_EXCHANGES
                {
                    self.finish(now);
                    return Waits::Nothing;
                }
                match self.script.next(self.seen(world.stopped_at)) {
                    Some(step) => {
                        self.step = Some(step);
                        self.reached_at = now;
                    }
                    None => {
                        self.finish(now);
                        return Waits::Nothing;
                    }
                }
            }
            match self.work(world, now) {
                Some(waits) => return waits,
                None => self.step = None,
            }
        }
        Waits::Until(Instant::now())
    }

    /// Works on the present step; `None` when it is over.
    fn work(&mut self, world: &World, now: Instant) -> Option<Waits> {
        match self.step.as_ref()? {
            Step::Connect if self.shaking => self.shake(Reach::Done, world),
            Step::Connect => {
                let waits = self.connect(world, now);
                self.shaking = waits.is_none() && self.door.is_tls() && self.conn.is_some();
                if self.shaking {
                    self.shake(Reach::Done, world)
                } else {
                    waits
                }
            }
            Step::Dial => self.connect(world, now),
            Step::Shake(reach) => {
                let reach = *reach;
                if reach == Reach::Done {
                    self.resumed_at.get_or_insert(now);
                }
                self.shake(reach, world)
            }
            Step::Send { .. } => self.send(world, now),
            Step::Pause(When::For(pause)) => {
                let due = self.reached_at + *pause;
                (now < due).then_some(Waits::Until(due))
            }
            Step::Pause(When::Eve) => (!world.is_eve).then_some(Waits::Bytes),
            Step::Pause(When::AfterStop(offset)) => match world.stopped_at.map(|t| t + *offset) {
                None => Some(Waits::Bytes),
                Some(due) => (now < due).then_some(Waits::Until(due)),
            },
            Step::AwaitAnswer => self.is_in_flight().then_some(Waits::Bytes),
            Step::AwaitEnd => self
                .conn
                .as_ref()
                .is_some_and(|conn| conn.ended.is_none())
                .then_some(Waits::Bytes),
            Step::Close => {
                self.hang_up(now);
                None
            }
        }
    }

    fn connect(&mut self, world: &World, now: Instant) -> Option<Waits> {
        let (begun, dial) = match self.dialling_since {
            Some(begun) => {
                let conn = self.conn.as_ref();
                (
                    begun,
                    conn.map_or(Dial::Failed(0), |conn| conn.link.dialled()),
                )
            }
            None => (now, self.dial(world, now)),
        };
        if dial == Dial::Pending {
            return Some(Waits::Writable);
        }
        let now = Instant::now();
        self.dialling_since = None;
        self.refused = dial != Dial::Established;
        match dial {
            Dial::Established | Dial::Pending => {
                if let Some(conn) = &mut self.conn {
                    conn.opened_at = Some(now);
                }
                self.mark(now, Mark::Connected);
                return None;
            }
            Dial::Refused => {
                self.refused_connects.push((begun, now));
                self.mark(now, Mark::Refused);
            }
            Dial::Failed(errno) => {
                self.failed_connects.push((now, errno));
                self.mark(now, Mark::ConnectFailed);
            }
        }
        self.conn = None;
        None
    }

    fn dial(&mut self, world: &World, now: Instant) -> Dial {
        self.hang_up(now);
        match Link::dial(&self.door, world.addr) {
            Ok((link, dial)) => {
                self.conn = Some(Conn::new(link));
                self.dialling_since = Some(now);
                dial
            }
            Err(error) => Dial::Failed(error.raw_os_error().unwrap_or(0)),
        }
    }

    fn shake(&mut self, reach: Reach, world: &World) -> Option<Waits> {
        let waits = self.shake_on(reach, world);
        self.shaking &= waits.is_some();
        waits
    }

    fn shake_on(&mut self, reach: Reach, world: &World) -> Option<Waits> {
        let conn = self.conn.as_mut().filter(|conn| conn.ended.is_none())?;
        match conn.link.shake(reach) {
            Shake::There => {
                if reach == Reach::Done {
                    self.mark(Instant::now(), Mark::Secured);
                }
                None
            }
            Shake::AwaitsBytes => Some(Waits::Bytes),
            Shake::AwaitsRoom => Some(Waits::Writable),
            Shake::Broken => {
                self.ended(End::Reset, Instant::now(), world);
                None
            }
        }
    }

    fn send(&mut self, world: &World, now: Instant) -> Option<Waits> {
        let Some(Step::Send { bytes, part }) = self.step.take() else {
            return None;
        };
        let waits = self.send_part(&bytes, part, world, now);
        if waits.is_some() {
            self.step = Some(Step::Send { bytes, part });
        }
        waits
    }

    fn send_part(
        &mut self,
        bytes: &[u8],
        part: Part,
        world: &World,
        now: Instant,
    ) -> Option<Waits> {
        let planned_at = self
            .offset
            .and_then(|offset| world.stopped_at.map(|t| t + offset));
        if part != Part::Last && self.conn.as_ref().is_none_or(|conn| conn.open.is_none()) {
            self.open_exchange(now, planned_at);
        }
        let Some(conn) = &mut self.conn else {
            return None;
        };
        let looked_at = Instant::now();
        // The look: what a careful pool does right before it writes.
        match conn.link.look() {
            Look::Open => {}
            Look::Bytes | Look::Fin | Look::Reset => {
                self.read_all(world);
                if self
                    .conn
                    .as_ref()
                    .is_none_or(|conn| conn.ended.is_some() || conn.open.is_none())
                {
                    return None;
                }
            }
        }
        let Some(conn) = &mut self.conn else {
            return None;
        };
        match conn.link.send(&bytes[conn.sent_of_step..]) {
            Ok(count) => conn.sent_of_step += count,
            Err(error) if is_wait(&error) => return Some(Waits::Writable),
            Err(_) => {
                self.ended(End::Reset, Instant::now(), world);
                return None;
            }
        }
        if conn.sent_of_step < bytes.len() || conn.link.has_backlog() {
            return Some(Waits::Writable);
        }
        conn.sent_of_step = 0;
        let open = conn.open;
        let written_at = Instant::now();
        self.mark(written_at, Mark::Wrote(part));
        if part != Part::First
            && let Some(exchange) = open.and_then(|index| self.exchanges.get_mut(index))
        {
            exchange.planned_at = planned_at;
            exchange.written_at = Some(written_at);
            exchange.look_gap = written_at - looked_at;
        }
        None
    }

    fn open_exchange(&mut self, now: Instant, planned_at: Option<Instant>) {
        let Some(conn) = &mut self.conn else { return };
        conn.reader = ResponseReader::new();
        conn.malformed = false;
        conn.sent_of_step = 0;
        conn.open = Some(self.exchanges.len());
        self.exchanges.push(Exchange {
            is_post: self.is_post,
            is_first: conn.answered == 0,
            planned_at,
            begun_at: now,
            opened_at: conn.opened_at.unwrap_or(now),
            written_at: None,
            look_gap: Duration::ZERO,
            first_byte_at: None,
            ended_at: None,
            outcome: None,
            status: None,
            body_bytes: 0,
            crossed: false,
        });
    }

    /// Reads all that is there; called when the descriptor is readable.
    fn read_all(&mut self, world: &World) {
        let mut buffer = [0; READ_SIZE];
        // Bounded: a peer that sends without end gets its turn again in the next round.
        for _ in 0..16 {
            let Some(conn) = &mut self.conn else { return };
            if conn.opened_at.is_none() || conn.ended.is_some() {
                return;
            }
            match conn.link.receive(&mut buffer) {
                Ok(0) => return self.ended(End::Fin, Instant::now(), world),
                Ok(count) => self.take(&buffer[..count], Instant::now()),
                Err(error) if is_wait(&error) => return,
                Err(_) => return self.ended(End::Reset, Instant::now(), world),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], now: Instant) {
        let Some(conn) = &mut self.conn else { return };
        let Some(exchange) = conn.open.and_then(|index| self.exchanges.get_mut(index)) else {
            return;
        };
        exchange.first_byte_at.get_or_insert(now);
        conn.malformed |= conn.reader.push(bytes).is_err();
        self.settle(None, now);
    }

    fn ended(&mut self, end: End, now: Instant, world: &World) {
        if let Some(conn) = &mut self.conn {
            conn.ended = Some(end);
            // Under TLS, a FIN without close_notify may be anybody's: nothing is complete by it.
            if end == End::Fin && conn.link.was_notified() {
                conn.reader.end_of_stream();
                if self.door.is_tls() {
                    self.mark(now, Mark::Notified);
                }
            }
        }
        self.note_failed_handshake(now);
        self.settle(Some(end), now);
        if let Some(exchange) = self.exchanges.last_mut()
            && end == End::Fin
            && exchange.outcome == Some(Outcome::Eof)
            && let Some(written) = exchange.written_at
        {
            exchange.crossed = now.saturating_duration_since(written) <= world.round_trip;
        }
        self.mark(
            now,
            if end == End::Fin {
                Mark::Fin
            } else {
                Mark::Reset
            },
        );
    }

    fn note_failed_handshake(&mut self, now: Instant) {
        if let Some(conn) = &self.conn
            && conn.link.is_handshaking()
            && let Some(opened) = conn.opened_at
        {
            self.failed_handshakes.push((opened, now));
        }
    }

    /// Gives the open exchange its outcome, if it has one by now.
    fn settle(&mut self, end: Option<End>, now: Instant) {
        let Some(conn) = &mut self.conn else { return };
        let Some(exchange) = conn.open.and_then(|index| self.exchanges.get_mut(index)) else {
            return;
        };
        let Some(outcome) = classify(&conn.reader, conn.malformed, end, self.usual) else {
            return;
        };
        let head = conn.reader.head();
        exchange.outcome = Some(outcome);
        exchange.ended_at = Some(now);
        exchange.status = head.map(|head| head.status);
        exchange.body_bytes = conn.reader.body_bytes();
        if exchange.written_at.is_none() && outcome.is_unanswered() {
            // The end came before the last byte was written: nothing was sent that could be lost.
            exchange.outcome = None;
        }
        let status = exchange.status.unwrap_or(0);
        conn.said_close |= head.is_some_and(|head| head.close);
        conn.answered += 1;
        conn.open = None;
        if conn.reader.is_complete() {
            self.mark(now, Mark::Answered(status, outcome));
        }
    }

    fn finish(&mut self, now: Instant) {
        self.hang_up(now);
        self.finished = true;
    }

    fn hang_up(&mut self, now: Instant) {
        if let Some(conn) = self.conn.take()
            && conn.ended.is_none()
            && conn.opened_at.is_some()
        {
            self.mark(now, Mark::Closed);
        }
    }
}

impl Client for Flow {
    fn is_finished(&self) -> bool {
        self.finished
    }

    fn advance(&mut self, world: &World) -> Waits {
        self.go_on(world)
    }

    fn read(&mut self, world: &World) {
        self.read_all(world);
    }

    fn has_unread(&mut self) -> bool {
        self.conn
            .as_mut()
            .is_some_and(|conn| conn.ended.is_none() && conn.link.has_unread())
    }

    fn fd(&self) -> Option<std::os::fd::RawFd> {
        self.conn
            .as_ref()
            .filter(|conn| conn.ended.is_none())
            .map(|conn| conn.link.fd())
    }

    fn note_eve(&mut self) {
        self.was_poised = self.is_poised();
    }

    fn waits_since(&self, instant: Instant) -> bool {
        self.is_in_flight()
            && self
                .exchanges
                .last()
                .and_then(|exchange| exchange.written_at)
                .is_some_and(|at| at < instant)
    }

    /// What is unanswered now is `hung`.
    fn give_up(&mut self, now: Instant) {
        self.gave_up_dialling = self.dialling_since.is_some();
        if self.conn.as_ref().is_some_and(|conn| conn.ended.is_none()) {
            self.note_failed_handshake(now);
        }
        self.settle(Some(End::GaveUp), now);
        self.finish(now);
    }
}

impl Conn {
    fn new(link: Link) -> Self {
        Self {
            link,
            opened_at: None,
            ended: None,
            said_close: false,
            answered: 0,
            reader: ResponseReader::new(),
            malformed: false,
            open: None,
            sent_of_step: 0,
        }
    }
}

pub(crate) fn is_wait(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
    )
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("group", &self.group)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
