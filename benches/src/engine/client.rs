//! One client: a connection, a request on it, and the look before every write.
//!
//! Owns: the client's phases. A request counts from its first byte; a close that the look or an event
//! shows before that byte is no loss. Not here: the socket
//! (`connection`), which request comes next (`script`), timers and the loop (parent).

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::Token;

use super::World;
use super::connection::{Connection, Look, Progress};
use crate::http1::Response;
use crate::outcome::{Answer, End, Evidence, Outcome, Sent};
use crate::rng::Rng;
use crate::script::{AfterClose, AfterRefusal, Exchange, Reading, Reuse, Script};
use crate::tally::{Age, Ended};

/// Pause after a connect that failed otherwise than by a refusal.
const FAILED_PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Resting before the next request, with or without a connection.
    Thinking,
    /// The connect is under way.
    Connecting,
    /// Connected, the first byte waits for its time.
    Holding,
    /// Sending: this piece, from this offset.
    Writing {
        piece: usize,
        offset: usize,
        pausing: bool,
    },
    /// The request is out.
    Reading { pausing: bool },
    /// Done for this round.
    Retired,
}

pub(super) struct Client {
    id: usize,
    script: Script,
    rng: Rng,
    phase: Phase,
    connection: Option<Connection>,
    exchange: Exchange,
    response: Response,
    written_at: Instant,
    idle: Duration,
    timer: u64,
}

impl Client {
    pub(super) fn new(id: usize, script: Script) -> Self {
        let mut rng = Rng::new(script.seed);
        let exchange = script.next(&mut rng);
        Self {
            id,
            rng,
            phase: Phase::Thinking,
            connection: None,
            exchange,
            response: Response::new(),
            written_at: Instant::now(),
            idle: Duration::ZERO,
            timer: 0,
            script,
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.phase == Phase::Retired
    }

    /// Arms the first request, after the client's place in the ramp.
    pub(super) fn start(&mut self, started: Instant, world: &mut World) {
        self.arm(started + self.script.start, world);
    }

    /// A timer fired; old ones are ignored.
    pub(super) fn time(&mut self, generation: u64, world: &mut World) {
        if generation != self.timer {
            return;
        }
        match self.phase {
            Phase::Thinking => self.begin(world),
            Phase::Holding => self.look_and_write(world),
            Phase::Writing { piece, offset, .. } => {
                self.phase = Phase::Writing {
                    piece,
                    offset,
                    pausing: false,
                };
                self.write(world);
            }
            Phase::Reading { .. } => {
                self.phase = Phase::Reading { pausing: false };
                self.read(world);
            }
            // A connect waits as long as the round does: a SYN may have to be sent again, after 1 s and 2 s more.
            Phase::Connecting | Phase::Retired => {}
        }
    }

    /// The socket has news; events are edges, so each phase takes what there is.
    pub(super) fn wake(&mut self, world: &mut World) {
        match self.phase {
            Phase::Thinking => {
                if self.is_closed() {
                    self.see_closed(world);
                    self.leave_if_told(world);
                }
            }
            Phase::Holding => {
                if self.is_closed() {
                    self.see_closed(world);
                    if !self.leave_if_told(world) {
                        self.rest(world);
                    }
                }
            }
            Phase::Connecting => self.check_connect(world),
            Phase::Writing { pausing, .. } => {
                // An early answer or an end shows here; otherwise there may be room for more.
                if self.read_some(world, usize::MAX) && !pausing {
                    self.write(world);
                }
            }
            Phase::Reading { pausing: false } => self.read(world),
            Phase::Reading { pausing: true } | Phase::Retired => {}
        }
    }

    /// The round is over: whatever still waits, hangs.
    pub(super) fn give_up(&mut self, world: &mut World) {
        match self.phase {
            Phase::Connecting => world.tally.connects_hung += 1,
            Phase::Writing { .. } | Phase::Reading { .. } => self.count(End::GaveUp, world),
            Phase::Thinking | Phase::Holding | Phase::Retired => {}
        }
        self.retire();
    }

    fn begin(&mut self, world: &mut World) {
        if self.connection.is_some() {
            self.look_and_write(world);
        } else {
            self.connect(world);
        }
    }

    fn connect(&mut self, world: &mut World) {
        let buffer = self.script.receive_buffer();
        match Connection::open(&world.registry, Token(self.id), world.address, buffer) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.phase = Phase::Connecting;
                // On loopback the handshake is over when the call returns: write as soon as a thread of its own would.
                self.check_connect(world);
            }
            Err(error) => self.connect_failed(error.kind(), world),
        }
    }

    fn check_connect(&mut self, world: &mut World) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        match connection.progress() {
            Progress::Pending => return,
            Progress::Failed(kind) => return self.connect_failed(kind, world),
            Progress::Connected => {}
        }
        connection.busy_until = world.polled_before.max(connection.since);
        world.tally.connect(connection.since);
        if self.exchange.hold.is_zero() {
            self.look_and_write(world);
        } else {
            self.phase = Phase::Holding;
            self.arm(Instant::now() + self.exchange.hold, world);
        }
    }

    fn connect_failed(&mut self, kind: ErrorKind, world: &mut World) {
        self.connection = None;
        let now = Instant::now();
        let pause = match kind {
            // Accepted by the kernel and reset before the client could even write.
            ErrorKind::ConnectionReset => {
                world
                    .tally
                    .see_closed(Age::Fresh, Duration::ZERO, self.script.promise);
                FAILED_PAUSE
            }
            ErrorKind::ConnectionRefused => {
                world.tally.refuse(now, world.signalled_at);
                match self.script.after_refusal {
                    AfterRefusal::Retry(pause) if world.exited_at.is_none() => pause,
                    _ => return self.retire(),
                }
            }
            _ => {
                world.tally.local_failures += 1;
                FAILED_PAUSE
            }
        };
        self.phase = Phase::Thinking;
        self.arm(now + pause, world);
    }

    /// The look, then the first write with nothing in between.
    fn look_and_write(&mut self, world: &mut World) {
        self.response = Response::new();
        self.phase = Phase::Writing {
            piece: 0,
            offset: 0,
            pausing: false,
        };
        let Some(connection) = &self.connection else {
            return;
        };
        if connection.look() == Look::Clear {
            self.written_at = Instant::now();
            self.idle = self
                .written_at
                .saturating_duration_since(connection.busy_until);
            self.write(world);
        } else {
            self.see_closed(world);
            if !self.leave_if_told(world) {
                self.connect(world);
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.look() == Look::Closed)
    }

    /// Drops a connection that was seen closed before anything was written on it.
    fn see_closed(&mut self, world: &mut World) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let idle = Instant::now().saturating_duration_since(connection.busy_until);
        world
            .tally
            .see_closed(connection.age, idle, self.script.promise);
    }

    fn write(&mut self, world: &mut World) {
        let Phase::Writing {
            mut piece,
            mut offset,
            ..
        } = self.phase
        else {
            return;
        };
        let Some(connection) = &mut self.connection else {
            return;
        };
        loop {
            match connection
                .socket
                .write(&self.exchange.pieces[piece][offset..])
            {
                Ok(written) => offset += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.phase = Phase::Writing {
                        piece,
                        offset,
                        pausing: false,
                    };
                    return;
                }
                Err(_) => {
                    self.phase = Phase::Writing {
                        piece,
                        offset,
                        pausing: false,
                    };
                    // An answer may have come before the reset; it is still in the buffer then.
                    if self.read_some(world, usize::MAX) {
                        self.finish(End::Reset, world);
                    }
                    return;
                }
            }
            if offset < self.exchange.pieces[piece].len() {
                continue;
            }
            (piece, offset) = (piece + 1, 0);
            if piece == self.exchange.pieces.len() {
                self.phase = Phase::Reading { pausing: false };
                return;
            }
            if !self.exchange.gap.is_zero() {
                self.phase = Phase::Writing {
                    piece,
                    offset,
                    pausing: true,
                };
                self.arm(Instant::now() + self.exchange.gap, world);
                return;
            }
        }
    }

    fn read(&mut self, world: &mut World) {
        match self.exchange.reading {
            Reading::AtOnce => {
                self.read_some(world, usize::MAX);
            }
            Reading::Sips { bytes, pause } => {
                let before = self.response.received();
                let still_open = self.read_some(world, bytes);
                if still_open && self.response.received() - before >= bytes as u64 {
                    self.phase = Phase::Reading { pausing: true };
                    self.arm(Instant::now() + pause, world);
                }
            }
        }
    }

    /// Reads at most `most` bytes; false when the exchange is over.
    fn read_some(&mut self, world: &mut World, most: usize) -> bool {
        let mut left = most;
        while left > 0 {
            let Some(connection) = &mut self.connection else {
                return false;
            };
            let room = left.min(world.buffer.len());
            match connection.socket.read(&mut world.buffer[..room]) {
                Ok(0) => {
                    self.response.end_of_file();
                    self.finish(End::Fin, world);
                    return false;
                }
                Ok(read) => {
                    left -= read;
                    self.response.take(&world.buffer[..read]);
                    if self.response.is_over() {
                        self.finish(End::Open, world);
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.finish(End::Reset, world);
                    return false;
                }
            }
        }
        true
    }

    /// Counts the exchange and goes on to what follows it.
    fn finish(&mut self, end: End, world: &mut World) {
        self.count(end, world);
        let reusable = end == End::Open
            && self.response.is_complete()
            && !self.response.closes()
            && self.exchange.reuse == Reuse::Kept
            && matches!(self.phase, Phase::Reading { .. });
        if reusable {
            let connection = self
                .connection
                .as_mut()
                .expect("an answer came on a connection");
            connection.age = Age::Reused;
            connection.before = self.exchange.label;
            connection.busy_until = world.polled_before.max(self.written_at);
        } else {
            self.connection = None;
        }
        if reusable || !self.leave_if_told(world) {
            self.rest(world);
        }
    }

    fn count(&mut self, end: End, world: &mut World) {
        let Some(connection) = &self.connection else {
            return;
        };
        let sent = match self.phase {
            Phase::Writing {
                piece: 0,
                offset: 0,
                ..
            } => Sent::Nothing,
            Phase::Writing { .. } => Sent::Part,
            _ => Sent::Whole,
        };
        let answer = if self.response.is_complete() {
            Answer::Whole(self.exchange.meaning(&self.response))
        } else if self.response.received() > 0 {
            Answer::Partial
        } else {
            Answer::None
        };
        // Bytes that are no response, on a connection still open, are an answer to something else.
        let outcome = match (self.response.is_over(), answer) {
            (true, Answer::Partial) => Outcome::Unexpected,
            _ => Outcome::classify(Evidence { sent, answer, end }),
        };
        if outcome == Outcome::ServedClose && self.exchange.reuse == Reuse::Kept {
            world.tally.told_close += 1;
        }
        let ended = Ended {
            label: self.exchange.label,
            outcome,
            age: connection.age,
            before: connection.before,
            promise: self.script.promise,
            idle: self.idle,
            written_at: self.written_at,
            ended_at: Instant::now(),
            received: self.response.received(),
            port: connection.port,
        };
        world.tally.end(ended, world.signalled_at);
    }

    /// Draws the next exchange and rests before it; without a rest it begins at once, in the same event.
    fn rest(&mut self, world: &mut World) {
        self.exchange = self.script.next(&mut self.rng);
        self.phase = Phase::Thinking;
        if self.exchange.think.is_zero() {
            self.begin(world);
        } else {
            self.arm(Instant::now() + self.exchange.think, world);
        }
    }

    /// Retires a client that goes elsewhere once it is told to; true if it did.
    fn leave_if_told(&mut self, world: &World) -> bool {
        let leaves = world.signalled_at.is_some() && self.script.after_close == AfterClose::Leave;
        if leaves {
            self.retire();
        }
        leaves
    }

    fn arm(&mut self, at: Instant, world: &mut World) {
        self.timer += 1;
        world.timers.set(at, self.id, self.timer);
    }

    fn retire(&mut self) {
        self.phase = Phase::Retired;
        self.connection = None;
        self.timer += 1;
    }
}
