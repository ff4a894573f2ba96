//! Owns what one scripted HTTP/2 client does and what it saw: steps in, calls and connection logs out.
//! Not: waiting (see `engine`), or what a stream's end means (see `call`). A flow never blocks.

use std::fmt;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::call::{Call, ConnLog};
use super::frame::{self, FrameReader};
use super::script::{Manners, Script, Seen, Step};
use super::write::Flushed;
use crate::observe::engine::Client;
use crate::observe::flow::{Waits, When, World};
use crate::observe::link::{Door, Link, Shake};
use crate::observe::outcome::{End, Usual};
use crate::observe::tls::Reach;
use crate::observe::wire::Dial;

/// Streams that one client opens at most.
const MAX_CALLS: usize = 20_000;
/// Connections that one client opens at most.
const MAX_CONNS: usize = 4_000;

/// One client: its script, its connection, and all that it saw.
pub(crate) struct Flow {
    /// The group that judges it.
    pub(crate) group: &'static str,
    /// Its place in a sweep: the offset from the signal.
    pub(crate) offset: Option<Duration>,
    pub(crate) is_post: bool,
    pub(crate) usual: Usual,
    /// Right before the signal its connection was open and it waited for something.
    pub(crate) was_poised: bool,
    pub(crate) calls: Vec<Call>,
    pub(crate) conns: Vec<ConnLog>,
    /// Refused connects: when begun, when refused.
    pub(crate) refused_connects: Vec<(Instant, Instant)>,
    /// Connects that failed for a reason other than refusal, with the errno.
    pub(crate) failed_connects: Vec<(Instant, i32)>,
    /// TLS handshakes that never became whole: when dialled, when over.
    pub(crate) failed_handshakes: Vec<(Instant, Instant)>,
    pub(super) manners: Manners,
    doors: Vec<Door>,
    script: Box<dyn Script>,
    step: Option<Step>,
    reached_at: Instant,
    /// When the connect now under way was begun, if one is.
    pub(crate) dialling_since: Option<Instant>,
    pub(super) conn: Option<Conn>,
    /// The call that the present step is sending, and when it looked before.
    pub(super) sending: Option<(usize, Instant)>,
    refused: bool,
    finished: bool,
}

/// The present connection.
pub(super) struct Conn {
    pub(super) link: Link,
    pub(super) is_open: bool,
    pub(super) is_secured: bool,
    pub(super) is_over: bool,
    pub(super) reader: FrameReader,
    /// Frames of ours that the socket has not taken yet.
    pub(super) out: Vec<u8>,
    /// What the server is owed, while it has not had our preface: nothing may come before that.
    early: Option<Vec<u8>>,
    pub(super) held_pings: Vec<[u8; 8]>,
    /// Where its calls begin among those of the flow.
    pub(super) first_call: usize,
    pub(super) next_id: u32,
    /// What the server lets us send in all, and at first on each stream.
    pub(super) window: i64,
    pub(super) first_window: i64,
}

impl Conn {
    fn new(link: Link, first_call: usize) -> Self {
        Self {
            link,
            is_open: false,
            is_secured: false,
            is_over: false,
            reader: FrameReader::default(),
            out: Vec::new(),
            early: Some(Vec::new()),
            held_pings: Vec::new(),
            first_call,
            next_id: 1,
            window: 65_535,
            first_window: 65_535,
        }
    }

    /// Answers a frame of the server, behind our preface; never where none is sent.
    pub(super) fn reply(&mut self, frame: Vec<u8>) {
        self.early.as_mut().unwrap_or(&mut self.out).extend(frame);
    }

    pub(super) fn is_usable(&self) -> bool {
        self.is_open && self.is_secured && !self.is_over
    }
}

impl Flow {
    pub(crate) fn new(
        group: &'static str,
        doors: Vec<Door>,
        script: impl Script + 'static,
    ) -> Self {
        Self {
            group,
            offset: None,
            is_post: false,
            usual: Usual::Good,
            was_poised: false,
            calls: Vec::new(),
            conns: Vec::new(),
            refused_connects: Vec::new(),
            failed_connects: Vec::new(),
            failed_handshakes: Vec::new(),
            manners: Manners::default(),
            doors,
            script: Box::new(script),
            step: None,
            reached_at: Instant::now(),
            dialling_since: None,
            conn: None,
            sending: None,
            refused: false,
            finished: false,
        }
    }

    pub(crate) fn at_offset(mut self, offset: Duration) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(crate) fn with_usual(mut self, usual: Usual) -> Self {
        self.usual = usual;
        self
    }

    pub(crate) fn with_manners(mut self, manners: Manners) -> Self {
        self.manners = manners;
        self
    }

    pub(crate) fn posting(mut self, is_post: bool) -> Self {
        self.is_post = is_post;
        self
    }

    /// Its connection is open and it waits, for the signal or for the server.
    pub(crate) fn is_poised(&self) -> bool {
        let waits = matches!(
            self.step,
            Some(
                Step::Pause(When::AfterStop(_) | When::Eve)
                    | Step::AwaitAnswers
                    | Step::AwaitGoAway
                    | Step::AwaitFinalGoAway
                    | Step::AwaitEnd
            )
        );
        waits && self.conn.as_ref().is_some_and(Conn::is_usable)
    }

    /// It has nothing left to do, or its connection ended.
    pub(crate) fn is_over(&self) -> bool {
        self.finished || self.conn.as_ref().is_some_and(|conn| conn.is_over)
    }

    /// Its first door is a TLS one.
    pub(crate) fn is_tls(&self) -> bool {
        self.doors.first().is_some_and(Door::is_tls)
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        let present = self.conns.len();
        self.calls
            .iter()
            .rev()
            .take_while(|call| call.conn + 1 == present)
            .any(Call::is_open)
    }

    fn finish(&mut self) {
        self.conn = None;
        self.finished = true;
    }

    fn choose(&mut self, world: &World) -> Option<Step> {
        let seen = Seen {
            stopped: world.stopped_at.is_some(),
            connected: self.conn.as_ref().is_some_and(Conn::is_usable),
            refused: self.refused,
            conn: self.conns.last(),
            calls: &self.calls,
        };
        self.script.next(&seen)
    }

    fn go_on(&mut self, world: &World) -> Waits {
        // One step may end at once and lead to the next; the bound keeps one flow from starving the rest.
        for _ in 0..16 {
            if self.finished {
                return Waits::Nothing;
            }
            let now = Instant::now();
            if self.step.is_none() {
                let full = self.calls.len() >= MAX_CALLS || self.conns.len() >= MAX_CONNS;
                if full || world.is_closing_time && !self.is_in_flight() {
                    self.finish();
                    return Waits::Nothing;
                }
                self.step = self.choose(world);
                self.sending = None;
                self.reached_at = now;
            }
            let Some(step) = self.step.take() else {
                self.finish();
                return Waits::Nothing;
            };
            if let Some(waits) = self.work(&step, world, now) {
                self.step = Some(step);
                return if self.flush(world) == Flushed::Blocked {
                    Waits::Writable
                } else {
                    waits
                };
            }
        }
        Waits::Until(Instant::now())
    }

    /// Works on a step; `None` when it is over.
    fn work(&mut self, step: &Step, world: &World, now: Instant) -> Option<Waits> {
        let connected = self.conn.as_ref().is_some_and(Conn::is_usable);
        let last_live = self.calls.last().is_some_and(Call::is_live);
        match step {
            Step::Connect(door) => self.connect(*door, world, now),
            Step::Pause(When::For(pause)) => {
                let due = self.reached_at + *pause;
                (now < due).then_some(Waits::Until(due))
            }
            Step::Pause(When::Eve) => (!world.is_eve).then_some(Waits::Bytes),
            Step::Pause(When::AfterStop(offset)) => match world.stopped_at.map(|t| t + *offset) {
                None => Some(Waits::Bytes),
                Some(due) => (now < due).then_some(Waits::Until(due)),
            },
            Step::Close => {
                self.flush(world);
                self.conn = None;
                None
            }
            _ if !connected => None,
            Step::Greet => {
                let mut greeting = self.greeting();
                let early = self.conn.as_mut().and_then(|conn| conn.early.take());
                greeting.extend(early.unwrap_or_default());
                self.put(&greeting, world)
            }
            Step::Bytes(bytes) => self.put(bytes, world),
            Step::Open(request) => self.open(request, world),
            Step::Send { bytes, ends } => self.send_more(bytes, *ends, world),
            Step::Credit(more) => {
                let stream = self.calls.last().map_or(0, |call| call.id);
                let mut bytes = frame::window_update(0, *more);
                if stream > 0 && last_live {
                    bytes.extend(frame::window_update(stream, *more));
                }
                self.put(&bytes, world)
            }
            Step::AnswerPings => {
                let conn = self.conn.as_mut()?;
                let pongs: Vec<u8> = conn.held_pings.drain(..).flat_map(frame::pong).collect();
                self.put(&pongs, world)
            }
            Step::AwaitAnswers => self.is_in_flight().then_some(Waits::Bytes),
            Step::AwaitBody(count) => {
                let has = |call: &Call| call.exchange.body_bytes >= *count;
                (last_live && !self.calls.last().is_some_and(has)).then_some(Waits::Bytes)
            }
            Step::AwaitGoAway => self
                .conns
                .last()?
                .goaways
                .is_empty()
                .then_some(Waits::Bytes),
            Step::AwaitFinalGoAway => {
                let seen = self.conns.last()?.final_goaway();
                seen.is_none().then_some(Waits::Bytes)
            }
            Step::AwaitEnd => Some(Waits::Bytes),
        }
    }

    fn greeting(&self) -> Vec<u8> {
        let mut bytes = frame::PREFACE.to_vec();
        bytes.extend(frame::settings_of(&[
            (frame::HEADER_TABLE_SIZE, 0),
            (frame::ENABLE_PUSH, 0),
            (frame::INITIAL_WINDOW_SIZE, self.manners.window),
        ]));
        bytes
    }

    fn connect(&mut self, door: usize, world: &World, now: Instant) -> Option<Waits> {
        let door = self.doors.get(door).cloned().unwrap_or_default();
        let dial = match self.dialling_since {
            Some(_) if self.conn.as_ref().is_some_and(|conn| conn.is_open) => Dial::Established,
            Some(_) => self
                .conn
                .as_ref()
                .map_or(Dial::Failed(0), |conn| conn.link.dialled()),
            None => match Link::dial(&door, world.addr) {
                Ok((link, dial)) => {
                    self.conn = Some(Conn::new(link, self.calls.len()));
                    self.dialling_since = Some(now);
                    dial
                }
                Err(error) => Dial::Failed(error.raw_os_error().unwrap_or(0)),
            },
        };
        if dial == Dial::Pending {
            return Some(Waits::Writable);
        }
        let now = Instant::now();
        self.refused = dial != Dial::Established;
        match dial {
            Dial::Established | Dial::Pending => return self.connected(now, world),
            Dial::Refused => {
                let begun = self.dialling_since.unwrap_or(now);
                self.refused_connects.push((begun, now));
            }
            Dial::Failed(errno) => self.failed_connects.push((now, errno)),
        }
        self.dialling_since = None;
        self.conn = None;
        None
    }

    /// TCP stands; TLS may have to be waited for.
    fn connected(&mut self, now: Instant, world: &World) -> Option<Waits> {
        let conn = self.conn.as_mut()?;
        if !conn.is_open {
            conn.is_open = true;
            self.conns.push(ConnLog::new(now));
        }
        let shake = if conn.is_over {
            Shake::There
        } else {
            conn.link.shake(Reach::Done)
        };
        match shake {
            Shake::AwaitsBytes => return Some(Waits::Bytes),
            Shake::AwaitsRoom => return Some(Waits::Writable),
            Shake::Broken => self.ended(End::Reset, now, world),
            Shake::There => conn.is_secured = true,
        }
        self.dialling_since = None;
        None
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
        let conn = self.conn.as_mut().filter(|conn| !conn.is_over);
        conn.is_some_and(|conn| conn.link.has_unread())
    }

    fn fd(&self) -> Option<RawFd> {
        let conn = self.conn.as_ref().filter(|conn| !conn.is_over);
        conn.map(|conn| conn.link.fd())
    }

    fn note_eve(&mut self) {
        self.was_poised = self.is_poised();
    }

    fn waits_since(&self, instant: Instant) -> bool {
        let waits =
            |call: &Call| call.is_open() && call.exchange.written_at.is_some_and(|at| at < instant);
        self.is_in_flight() && self.calls.iter().any(waits)
    }

    /// What is unanswered now is `hung`.
    fn give_up(&mut self, now: Instant) {
        if let (Some(conn), Some(log)) = (&self.conn, self.conns.last())
            && conn.is_open
            && !conn.is_over
            && conn.link.is_handshaking()
        {
            self.failed_handshakes.push((log.opened_at, now));
        }
        self.settle_all(End::GaveUp, Duration::ZERO, now);
        self.finish();
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("group", &self.group)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
