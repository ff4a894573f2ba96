//! L-WS: closed-loop echo clients across a signal at a random instant.
//! Owns the client and what counts as lost; not the rounds (see `rounds`), nor the manners of the drain (see `client`).
//!
//! A message is *lost* when the client's look right before the write showed neither a Close nor an end, the message
//! was written whole, and then came neither its echo nor a Close: only a bare end. Behind a Close that came in order
//! it is `unprocessed-safe`: the client knows (RFC 6455 §1.4), as behind a `Connection: close`.

use std::time::{Duration, Instant};

use super::client::MASK;
use crate::observe::engine::Engine;
use crate::observe::outcome::{End, Exchange, Outcome, Usual, classify};
use crate::observe::response::ResponseReader;
use crate::observe::rng::Rng;
use crate::observe::talk::{Act, Line, Scene, Talk, Talker};
use crate::observe::ws::{FrameReader, Last, TEXT, close_frame, frame, pong_frame};
use crate::scenario::bench::Bench;
use crate::scenario::load::{Habit, Load, Think, is_our_own, stop_under_load};
use crate::scenario::requests;
use crate::target::{Place, Running, VerifyError};

const CLIENTS: usize = 32;
/// Exchanges kept of one client.
const MAX_EXCHANGES: usize = 5_000;
/// Connects that one client makes at most after the signal.
const MAX_RETURNS: u32 = 200;
/// How long the peer's end is waited for once both have said Close.
const END_BOUND: Duration = Duration::from_secs(1);

/// One round of `L-WS`.
pub(crate) fn round(bench: &Bench<'_>, index: u64) -> Result<Load, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    let mut rng = bench.rng(0x0ec0 + index);
    add_clients(
        bench,
        &running,
        &mut engine,
        &rng,
        CLIENTS,
        Habit::of(index),
    );
    let t = stop_under_load(bench, &running, &mut engine, &mut rng, index);
    let mut load = Load::stopped_at(t);
    count(&engine, t, &mut load);
    load.settle();
    // Handshakes alone say nothing about messages.
    load.rounds_unsettled = u32::from(!has_echoed_before(&engine, t));
    Ok(load)
}

/// Adds echo clients, where the target has a WebSocket.
pub(crate) fn add_clients(
    bench: &Bench<'_>,
    running: &Running,
    engine: &mut Engine,
    rng: &Rng,
    clients: usize,
    habit: Habit,
) {
    let Some(path) = &bench.facts.ws_path else {
        return;
    };
    let think = Think::for_quiet(bench.options.target.quiet);
    for client in 0..clients {
        let rng = rng.fork(0x3500 + client as u64);
        let place = running.place.clone();
        let path = place.fill(path);
        let looping = Loop::new(
            client,
            place,
            path,
            habit,
            think,
            rng,
            bench.facts.round_trip,
        );
        engine.add_talk(Talk::new("ws-load", looping));
    }
}

fn has_echoed_before(engine: &Engine, t: Instant) -> bool {
    let mut clients = engine
        .talks_of("ws-load")
        .filter_map(|talk| talk.talker::<Loop>());
    clients.any(|client| {
        let mut echoes = client.exchanges.iter().filter(|exchange| exchange.is_post);
        echoes.any(|echo| !echo.is_at_stake(t) && echo.outcome == Some(Outcome::Served))
    })
}

/// Adds what the echo clients met.
pub(crate) fn count(engine: &Engine, t: Instant, load: &mut Load) {
    for client in engine
        .talks_of("ws-load")
        .filter_map(|talk| talk.talker::<Loop>())
    {
        for exchange in &client.exchanges {
            load.add(exchange, t);
        }
        for _ in client.refused_at.iter().filter(|at| **at >= t) {
            load.at_stake.add_outcome(Outcome::RefusedConnect);
        }
        load.tool_trouble += client.tool_trouble;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// No connection, and none before then.
    Away(Option<Instant>),
    Dialling,
    Upgrading,
    /// Open; the next message is due then.
    Thinking(Instant),
    Waiting,
    /// Both have said Close, or the application at the other end sent something else: until then at most.
    Leaving(Instant),
}

/// One closed-loop echo client.
struct Loop {
    name: usize,
    place: Place,
    path: String,
    habit: Habit,
    think: Think,
    rng: Rng,
    round_trip: Duration,
    at: Stand,
    reader: ResponseReader,
    malformed: bool,
    frames: FrameReader,
    /// The message under way.
    message: String,
    next_number: u64,
    is_stopped: bool,
    returns: u32,
    opened_at: Option<Instant>,
    exchanges: Vec<Exchange>,
    refused_at: Vec<Instant>,
    tool_trouble: u64,
}

impl Loop {
    fn new(
        name: usize,
        place: Place,
        path: String,
        habit: Habit,
        think: Think,
        mut rng: Rng,
        round_trip: Duration,
    ) -> Self {
        // Clients do not march in step.
        let first = Instant::now() + rng.between(Duration::ZERO, think.to);
        Self {
            name,
            place,
            path,
            habit,
            think,
            rng,
            round_trip,
            at: Stand::Away(Some(first)),
            reader: ResponseReader::new(),
            malformed: false,
            frames: FrameReader::default(),
            message: String::new(),
            next_number: 0,
            is_stopped: false,
            returns: 0,
            opened_at: None,
            exchanges: Vec::new(),
            refused_at: Vec::new(),
            tool_trouble: 0,
        }
    }

    fn pause(&mut self, now: Instant) -> Instant {
        now + self.rng.between(self.think.from, self.think.to)
    }

    fn begin(&mut self, is_post: bool, now: Instant) {
        self.exchanges.push(Exchange {
            is_post,
            is_first: !is_post,
            planned_at: None,
            begun_at: now,
            opened_at: self.opened_at.unwrap_or(now),
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

    /// The exchange under way ends so.
    fn settle(&mut self, outcome: Outcome, at: Instant) {
        if let Some(exchange) = self.exchanges.last_mut()
            && exchange.ended_at.is_none()
        {
            let is_known = exchange.written_at.is_some() || !outcome.is_unanswered();
            exchange.outcome = is_known.then_some(outcome);
            exchange.ended_at = Some(at);
            exchange.crossed = outcome == Outcome::Eof
                && exchange.written_at.is_some_and(|written| {
                    at.saturating_duration_since(written) <= self.round_trip
                });
        }
    }

    /// The connection is over: elsewhere, or back after a while.
    fn leave(&mut self, now: Instant) {
        self.reader = ResponseReader::new();
        self.malformed = false;
        self.frames = FrameReader::default();
        self.opened_at = None;
        self.returns += u32::from(self.is_stopped);
        let stays_away = self.is_stopped && self.habit == Habit::GoElsewhere;
        let due = self.pause(now);
        self.at = Stand::Away((!stays_away && self.returns <= MAX_RETURNS).then_some(due));
    }

    fn away(&mut self, due: Option<Instant>, scene: &Scene) -> Act {
        if scene.line != Line::None {
            return Act::HangUp;
        }
        match due {
            Some(due) if !scene.is_closing_time && self.exchanges.len() < MAX_EXCHANGES => {
                if scene.now < due {
                    return Act::Wait(Some(due));
                }
                self.at = Stand::Dialling;
                Act::Connect
            }
            _ => Act::Finish,
        }
    }

    fn dialled(&mut self, scene: &Scene) -> Act {
        match scene.line {
            Line::Open => {
                self.opened_at = Some(scene.now);
                self.at = Stand::Upgrading;
                self.begin(false, scene.now);
                return Act::Send(requests::websocket(&self.place, &self.path));
            }
            Line::Refused => {
                self.refused_at.push(scene.now);
                if scene.stopped_at.is_some() {
                    return Act::Finish;
                }
            }
            Line::Failed(errno) => self.tool_trouble += u64::from(is_our_own(errno)),
            Line::None | Line::Ended(_) => {}
        }
        self.leave(scene.now);
        Act::Wait(None)
    }

    /// The handshake is answered, or the connection over.
    fn upgraded(&mut self, scene: &Scene) -> Act {
        let opened = self
            .reader
            .head()
            .is_some_and(|head| head.status == 101 && self.reader.is_complete());
        if opened {
            self.at = Stand::Thinking(self.pause(scene.now));
            return Act::Wait(None);
        }
        if self.reader.is_complete() || scene.line != Line::Open {
            self.leave(scene.now);
            return Act::HangUp;
        }
        Act::Wait(None)
    }

    fn think(&mut self, due: Instant, scene: &Scene) -> Act {
        if scene.line != Line::Open {
            self.leave(scene.now);
            return Act::HangUp;
        }
        if self.frames.farewell.is_some() {
            return self.say_close(scene.now);
        }
        if scene.is_closing_time {
            return self.say_close(scene.now);
        }
        if let Some(ping) = self.frames.ping.take() {
            return Act::Send(pong_frame(&ping, MASK));
        }
        if scene.now < due {
            return Act::Wait(Some(due));
        }
        self.message = format!("lameduck-verify {} {}", self.name, self.next_number);
        self.next_number += 1;
        self.begin(true, scene.now);
        self.at = Stand::Waiting;
        Act::Send(frame(TEXT, Last::Yes, self.message.as_bytes(), MASK))
    }

    fn say_close(&mut self, now: Instant) -> Act {
        let code = self
            .frames
            .farewell
            .as_ref()
            .and_then(|farewell| farewell.code)
            .unwrap_or(1000);
        self.at = Stand::Leaving(now + END_BOUND);
        Act::Send(close_frame(code, MASK))
    }

    fn hear_frames(&mut self, bytes: &[u8], at: Instant) {
        self.frames.push(bytes, at);
        while let Some(message) = self.frames.inbox.pop_front() {
            if self.at == Stand::Waiting && message.head == self.message.as_bytes() {
                self.settle(Outcome::Served, at);
                self.at = Stand::Thinking(self.pause(at));
            }
        }
        if self.frames.violation.is_some() {
            // What follows cannot be read: the end will say what became of the message.
            return;
        }
        if self.frames.farewell.is_some() {
            self.settle(Outcome::UnprocessedSafe, at);
            self.at = Stand::Thinking(at);
        }
    }
}

impl Talker for Loop {
    fn act(&mut self, scene: &Scene) -> Act {
        self.is_stopped = scene.stopped_at.is_some();
        match self.at {
            Stand::Away(due) => self.away(due, scene),
            Stand::Dialling => self.dialled(scene),
            Stand::Upgrading => self.upgraded(scene),
            Stand::Thinking(due) => self.think(due, scene),
            Stand::Waiting if scene.line == Line::Open => match self.frames.ping.take() {
                Some(ping) => Act::Send(pong_frame(&ping, MASK)),
                None => Act::Wait(None),
            },
            Stand::Leaving(until) if scene.line == Line::Open && scene.now < until => {
                Act::Wait(Some(until))
            }
            Stand::Waiting | Stand::Leaving(_) => {
                self.leave(scene.now);
                Act::HangUp
            }
        }
    }

    fn hear(&mut self, bytes: &[u8], at: Instant) {
        if let Some(exchange) = self.exchanges.last_mut() {
            exchange.first_byte_at.get_or_insert(at);
        }
        if self.reader.is_complete() {
            return self.hear_frames(bytes, at);
        }
        let Ok(taken) = self.reader.push(bytes) else {
            self.malformed = true;
            return;
        };
        if !self.reader.is_complete() {
            return;
        }
        let outcome = classify(&self.reader, self.malformed, None, Usual::Good);
        if let Some(head) = self.reader.head() {
            if let Some(exchange) = self.exchanges.last_mut() {
                exchange.status = Some(head.status);
            }
            // 101 says `Connection: upgrade`; it announces no close.
            self.settle(outcome.unwrap_or(Outcome::Served), at);
        }
        if taken < bytes.len() {
            self.hear_frames(&bytes[taken..], at);
        }
    }

    fn ended(&mut self, end: End, at: Instant) {
        let is_inside = self.at == Stand::Waiting && self.frames.is_inside_frame();
        let outcome = match (self.at, end) {
            (Stand::Upgrading, _) => {
                if end == End::Fin {
                    self.reader.end_of_stream();
                }
                classify(&self.reader, self.malformed, Some(end), Usual::Good)
            }
            (_, End::GaveUp) => Some(Outcome::Hung),
            _ if is_inside => Some(Outcome::Truncated),
            (_, End::Fin) => Some(Outcome::Eof),
            (_, End::Reset) => Some(Outcome::Reset),
        };
        self.settle(outcome.unwrap_or(Outcome::Reset), at);
    }

    fn wrote(&mut self, at: Instant, look_gap: Duration) {
        if let Some(exchange) = self.exchanges.last_mut()
            && exchange.ended_at.is_none()
            && exchange.written_at.is_none()
        {
            exchange.written_at = Some(at);
            exchange.look_gap = look_gap;
        }
    }

    fn is_poised(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Place;

    const OPENED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

    /// A client whose message is under way; what it hears then, and how the connection ends.
    fn outcome(heard: &[u8], end: End) -> Option<Outcome> {
        let spec = crate::options::TargetSpec::default();
        let place = Place::choose(&spec).unwrap();
        let think = Think::for_quiet(None);
        let rng = Rng::new(1);
        let path = "/ws".to_owned();
        let habit = Habit::ComeBack;
        let mut client = Loop::new(0, place, path, habit, think, rng, Duration::ZERO);
        let now = Instant::now();
        client.at = Stand::Upgrading;
        client.begin(false, now);
        client.wrote(now, Duration::ZERO);
        client.hear(OPENED, now);
        assert_eq!(client.exchanges[0].outcome, Some(Outcome::Served));
        client.message = "hello".to_owned();
        client.begin(true, now);
        client.at = Stand::Waiting;
        client.wrote(now, Duration::ZERO);
        client.hear(heard, now);
        client.ended(end, now);
        client.exchanges[1].outcome
    }

    #[test]
    fn only_a_bare_end_loses_a_message() {
        let echo = b"\x81\x05hello";
        let close = b"\x88\x02\x03\xe9";
        let other = b"\x81\x05other";
        let cases: [(&[u8], End, Outcome); 7] = [
            (echo, End::Fin, Outcome::Served),
            (echo, End::Reset, Outcome::Served),
            (close, End::Reset, Outcome::UnprocessedSafe),
            (other, End::Fin, Outcome::Eof),
            (&echo[..4], End::Fin, Outcome::Truncated),
            (&[], End::Reset, Outcome::Reset),
            (&[], End::GaveUp, Outcome::Hung),
        ];
        for (heard, end, expected) in cases {
            assert_eq!(outcome(heard, end), Some(expected), "{heard:?} {end:?}");
        }
    }
}
