//! Owns one raw connection of a client that speaks for itself: connect, look, write, read, as its talker says.
//! Not: what is said (see the talkers of `scenario`), waiting (see `engine`), or closed-loop HTTP (see `flow`).

use std::any::Any;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::engine::Client;
use super::flow::{Waits, World, is_wait};
use super::outcome::End;
use super::wire::{Dial, Look, Wire};

/// Most bytes read from one connection in one go.
const READ_SIZE: usize = 16 * 1024;
/// Reads in a row before others get their turn.
const READS_IN_A_ROW: usize = 16;

/// Marks kept for one talk; what comes later is not in the report's lanes.
const MAX_MARKS: usize = 24;

/// What happened to a talk, for the lanes of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TalkMark {
    Connected,
    Refused,
    Wrote,
    /// The first bytes after a write, or after the connect.
    Heard,
    Ended(End),
}

/// How the connection of a talker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Never begun, or hung up by us.
    None,
    Open,
    Refused,
    /// The connect failed otherwise, with the errno.
    Failed(i32),
    Ended(End),
}

/// What a talker knows when it chooses what to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) now: Instant,
    pub(crate) line: Line,
    pub(crate) stopped_at: Option<Instant>,
    /// The signal is about to be sent, or was.
    pub(crate) is_eve: bool,
    /// Clients finish what they began and begin nothing new.
    pub(crate) is_closing_time: bool,
}

/// What a talker does next.
#[derive(Debug)]
pub(crate) enum Act {
    Connect,
    /// Writes all of it; the talker is told by `wrote`, or finds the line ended.
    Send(Vec<u8>),
    /// Nothing, until something was heard, or until then.
    Wait(Option<Instant>),
    /// Closes the connection in order and goes on.
    HangUp,
    /// Closes the connection with a RST and goes on: what hostile clients do.
    Abort,
    Finish,
}

/// What one client says and hears. Asked again after everything that happens, so it keeps its own place.
pub(crate) trait Talker: Any + Send {
    fn act(&mut self, scene: &Scene) -> Act;

    fn hear(&mut self, bytes: &[u8], at: Instant);

    /// The peer ended the connection, or we stopped waiting.
    fn ended(&mut self, end: End, at: Instant);

    /// All bytes of the last `Send` were taken by the kernel; `look_gap` is the time since the look before them.
    fn wrote(&mut self, at: Instant, look_gap: Duration) {
        let _ = (at, look_gap);
    }

    /// How many bytes it is willing to read now; 0 is deaf.
    fn appetite(&self, now: Instant) -> usize {
        let _ = now;
        usize::MAX
    }

    /// It is where its scenario wants it when the signal comes.
    fn is_poised(&self) -> bool;
}

/// Bytes on their way out.
struct Sending {
    bytes: Vec<u8>,
    done: usize,
    looked_at: Instant,
}

/// One talker and its connection.
pub(crate) struct Talk {
    /// The group that judges it.
    pub(crate) group: &'static str,
    /// Right before the signal it was where its scenario wanted it.
    pub(crate) was_poised: bool,
    pub(crate) marks: Vec<(Instant, TalkMark)>,
    talker: Box<dyn Talker>,
    receive_buffer: Option<usize>,
    is_bystander: bool,
    wire: Option<Wire>,
    line: Line,
    is_dialling: bool,
    sending: Option<Sending>,
    finished: bool,
}

impl Talk {
    pub(crate) fn new(group: &'static str, talker: impl Talker) -> Self {
        Self {
            group,
            was_poised: false,
            marks: Vec::new(),
            talker: Box::new(talker),
            receive_buffer: None,
            is_bystander: false,
            wire: None,
            line: Line::None,
            is_dialling: false,
            sending: None,
            finished: false,
        }
    }

    /// Small, so that what it has not read is the target's to keep.
    pub(crate) fn with_receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Nobody waits for it to finish: it may be deaf, and never see the end.
    pub(crate) fn unawaited(mut self) -> Self {
        self.is_bystander = true;
        self
    }

    /// It has nothing left to do that anybody waits for.
    pub(crate) fn is_settled(&self) -> bool {
        self.finished || self.is_bystander
    }

    /// The talker, if it is a `T`.
    pub(crate) fn talker<T: Talker>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.talker;
        any.downcast_ref()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The peer does not take what it writes, or is slow to.
    pub(crate) fn is_writing(&self) -> bool {
        self.sending.is_some() && self.line == Line::Open
    }

    /// Bytes that it is about to write, and those that the peer's kernel has not taken yet.
    pub(crate) fn untaken(&self) -> usize {
        let unsent = self.sending.as_ref();
        let unsent = unsent.map_or(0, |sending| sending.bytes.len() - sending.done);
        unsent + self.wire.as_ref().map_or(0, Wire::unacknowledged)
    }

    pub(crate) fn is_poised(&self) -> bool {
        self.talker.is_poised()
    }

    /// Goes as far as it can without waiting.
    fn go_on(&mut self, world: &World) -> Waits {
        // One act may end at once and lead to the next; the bound keeps one talk from starving the rest.
        for _ in 0..8 {
            if self.finished {
                return Waits::Nothing;
            }
            if self.is_dialling && !self.has_dialled() {
                return Waits::Writable;
            }
            if self.sending.is_some() {
                match self.write() {
                    Some(waits) => return waits,
                    None => continue,
                }
            }
            let looked_at = Instant::now();
            self.look(looked_at);
            let scene = Scene {
                now: looked_at,
                line: self.line,
                stopped_at: world.stopped_at,
                is_eve: world.is_eve,
                is_closing_time: world.is_closing_time,
            };
            match self.talker.act(&scene) {
                Act::Connect => self.dial(world),
                Act::Send(bytes) => {
                    self.sending = Some(Sending {
                        bytes,
                        done: 0,
                        looked_at,
                    });
                }
                Act::Wait(until) => return until.map_or(Waits::Bytes, Waits::Until),
                Act::HangUp => self.hang_up(),
                Act::Abort => {
                    if let Some(wire) = &self.wire {
                        wire.reset_on_close();
                    }
                    self.hang_up();
                }
                Act::Finish => {
                    self.hang_up();
                    self.finished = true;
                }
            }
        }
        Waits::Until(Instant::now())
    }

    /// What a careful client does right before it writes: everything that has arrived is heard first.
    fn look(&mut self, now: Instant) {
        if self.line == Line::Open
            && self.talker.appetite(now) > 0
            && self
                .wire
                .as_ref()
                .is_some_and(|wire| wire.look() != Look::Open)
        {
            self.read_all();
        }
    }

    fn dial(&mut self, world: &World) {
        self.hang_up();
        match Wire::dial_with(world.addr, self.receive_buffer) {
            Ok((wire, dial)) => {
                self.wire = Some(wire);
                self.is_dialling = true;
                self.take_dial(dial);
            }
            Err(error) => self.line = Line::Failed(error.raw_os_error().unwrap_or(0)),
        }
    }

    fn has_dialled(&mut self) -> bool {
        let dial = self
            .wire
            .as_ref()
            .map_or(Dial::Failed(0), |wire| wire.dialled());
        self.take_dial(dial);
        !self.is_dialling
    }

    fn take_dial(&mut self, dial: Dial) {
        self.line = match dial {
            Dial::Pending => return,
            Dial::Established => Line::Open,
            Dial::Refused => Line::Refused,
            Dial::Failed(errno) => Line::Failed(errno),
        };
        self.is_dialling = false;
        if self.line == Line::Open {
            self.note(TalkMark::Connected);
        } else {
            self.wire = None;
        }
        if self.line == Line::Refused {
            self.note(TalkMark::Refused);
        }
    }

    /// Writes on; `None` when it is over, one way or the other.
    fn write(&mut self) -> Option<Waits> {
        let (Some(wire), Some(sending), Line::Open) = (&self.wire, &mut self.sending, self.line)
        else {
            self.sending = None;
            return None;
        };
        match wire.send(&sending.bytes[sending.done..]) {
            Ok(count) => sending.done += count,
            Err(error) if is_wait(&error) => return Some(Waits::Writable),
            Err(_) => {
                self.read_all();
                if self.line == Line::Open {
                    self.end(End::Reset);
                }
                return None;
            }
        }
        if sending.done < sending.bytes.len() {
            return Some(Waits::Writable);
        }
        let at = Instant::now();
        let gap = at - sending.looked_at;
        self.sending = None;
        self.note(TalkMark::Wrote);
        self.talker.wrote(at, gap);
        None
    }

    /// Reads what is there, as far as the talker wants it.
    fn read_all(&mut self) {
        let mut buffer = [0; READ_SIZE];
        for _ in 0..READS_IN_A_ROW {
            let room = self.talker.appetite(Instant::now()).min(buffer.len());
            let (Some(wire), Line::Open, 1..) = (&self.wire, self.line, room) else {
                return;
            };
            match wire.receive(&mut buffer[..room]) {
                Ok(0) => return self.end(End::Fin),
                Ok(count) => {
                    self.note(TalkMark::Heard);
                    self.talker.hear(&buffer[..count], Instant::now());
                }
                Err(error) if is_wait(&error) => return,
                Err(_) => return self.end(End::Reset),
            }
        }
    }

    fn end(&mut self, end: End) {
        self.line = Line::Ended(end);
        self.sending = None;
        self.note(TalkMark::Ended(end));
        self.talker.ended(end, Instant::now());
    }

    /// Repeats say nothing new: a long answer is heard once, an upload written once.
    fn note(&mut self, mark: TalkMark) {
        let repeated = self.marks.last().is_some_and(|(_, last)| *last == mark);
        if self.marks.len() < MAX_MARKS && !repeated {
            self.marks.push((Instant::now(), mark));
        }
    }

    fn hang_up(&mut self) {
        self.wire = None;
        self.line = Line::None;
        self.is_dialling = false;
        self.sending = None;
    }
}

impl Client for Talk {
    fn is_finished(&self) -> bool {
        self.finished
    }

    fn advance(&mut self, world: &World) -> Waits {
        self.go_on(world)
    }

    fn read(&mut self, _: &World) {
        self.read_all();
    }

    fn has_unread(&mut self) -> bool {
        false
    }

    fn fd(&self) -> Option<RawFd> {
        let open = self.is_dialling || self.line == Line::Open;
        // A deaf client is left out altogether: poll would report a hang-up again and again.
        let listens =
            self.is_dialling || self.sending.is_some() || self.talker.appetite(Instant::now()) > 0;
        self.wire.as_ref().filter(|_| open && listens).map(Wire::fd)
    }

    fn note_eve(&mut self) {
        self.was_poised = self.is_poised();
    }

    /// Those who speak for themselves are asked to the end.
    fn waits_since(&self, _: Instant) -> bool {
        false
    }

    fn give_up(&mut self, _: Instant) {
        if self.line == Line::Open {
            self.end(End::GaveUp);
        }
        self.hang_up();
        self.finished = true;
    }
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Talk")
            .field("group", &self.group)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}
