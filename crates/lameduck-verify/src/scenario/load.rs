//! L-H1: closed-loop clients across a signal at a random instant, in fresh processes, round after round.
//! Not: sweeps at chosen instants (see `drain`), or the verdict of loads (see `lost`).

use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::{Bench, await_departure};
use super::requests;
use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Part, Script, Seen, Step, When};
use crate::observe::link::Door;
use crate::observe::outcome::{Exchange, Outcome, Tally};
use crate::observe::rng::Rng;
use crate::target::{Running, VerifyError};
use crate::verdict::{Series, StopLoss};

/// Clients that keep their connection.
pub(crate) const KEEPING: usize = 64;
/// Clients that connect anew for each request.
pub(crate) const CONNECTING: usize = 8;
/// How long the clients may take to begin: TLS handshakes take a while on a busy machine.
const WARM_UP: Duration = Duration::from_secs(2);
/// The signal comes at a random instant of this span after the clients began.
const STOP_FROM: Duration = Duration::from_millis(300);
const STOP_TO: Duration = Duration::from_millis(450);
/// Rounds in which clients keep asking as long as they are answered.
const FAITHFUL_ROUNDS: u64 = 2;
/// In the others they leave so long after the signal.
const LEAVE_AFTER: Duration = Duration::from_millis(1_500);
/// Between two looks for a first effect of a stop that is no signal.
const LOOK_FOR_EFFECT: Duration = Duration::from_millis(20);

/// How long clients think between two requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Think {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Think {
    /// 50 ms on average; never more than half of a declared quiet time, which the contract asks for.
    pub(crate) fn for_quiet(quiet: Option<Duration>) -> Self {
        match quiet {
            Some(quiet) => Self {
                from: quiet * 2 / 5,
                to: quiet / 2,
            },
            None => Self {
                from: Duration::ZERO,
                to: Duration::from_millis(100),
            },
        }
    }

    /// Crossings can be avoided by a window: they count as failures.
    pub(crate) fn is_within(self, quiet: Option<Duration>) -> bool {
        quiet.is_some_and(|quiet| self.to <= quiet / 2)
    }
}

/// What all rounds came to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Load {
    pub(crate) rounds: u32,
    /// Requests that the signal could have harmed.
    pub(crate) at_stake: Tally,
    /// Requests that were over before the signal.
    pub(crate) before: Tally,
    pub(crate) rounds_with_loss: u32,
    pub(crate) rounds_unsettled: u32,
    /// Of the lost ones: on a connection that was just opened.
    pub(crate) lost_on_fresh: u64,
    /// Connected, then reset or closed before the request could be written.
    pub(crate) dropped_connects: u64,
    pub(crate) tool_trouble: u64,
    pub(crate) streams: EventStreams,
    /// The stop of each round.
    pub(super) watches: Vec<Watch>,
    /// What was lost in each round on connections that were idle before, without a byte of an answer.
    pub(super) reused_lost_in_each: Vec<u64>,
    reused_lost: u64,
    /// The requests around T, for people to look at.
    pub(crate) series: Series,
}

/// Event streams that were open at the signal: a figure beside the requests, since H1-14 judges how they end.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct EventStreams {
    pub(super) open: u64,
    pub(super) cut: u64,
}

impl EventStreams {
    pub(crate) fn add(&mut self, exchange: &Exchange) {
        self.open += 1;
        self.cut += u64::from(exchange.outcome.is_some_and(Outcome::is_unanswered));
    }
}

/// One round of `L-H1`.
pub(crate) fn round(bench: &Bench<'_>, index: u64) -> Result<Load, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    let mut rng = bench.rng(0x10ad + index);
    add_clients(bench, &running, &mut engine, &rng, Crowd::of(index));
    let t = stop_under_load(bench, &running, &mut engine, &mut rng, index);
    Ok(count(&engine, t))
}

/// How many clients there are and what they do when they are told to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) keeping: usize,
    pub(crate) connecting: usize,
    pub(crate) habit: Habit,
}

impl Crowd {
    pub(crate) fn of(index: u64) -> Self {
        Self {
            keeping: KEEPING,
            connecting: CONNECTING,
            habit: Habit::of(index),
        }
    }
}

/// Adds the closed-loop clients of HTTP/1.1.
pub(crate) fn add_clients(
    bench: &Bench<'_>,
    running: &Running,
    engine: &mut Engine,
    rng: &Rng,
    crowd: Crowd,
) {
    add_clients_at(bench, running, engine, rng, crowd, &Door::Usual);
}

/// The same at `door`.
pub(crate) fn add_clients_at(
    bench: &Bench<'_>,
    running: &Running,
    engine: &mut Engine,
    rng: &Rng,
    crowd: Crowd,
    door: &Door,
) {
    let think = Think::for_quiet(bench.options.target.quiet);
    for client in 0..crowd.keeping + crowd.connecting {
        let kind = if client < crowd.keeping {
            Kind::Keeping
        } else {
            Kind::Connecting
        };
        let make = {
            let (facts, place) = (bench.facts.clone(), running.place.clone());
            move || requests::usual(&facts, &place)
        };
        let rng = rng.fork(client as u64);
        let script = Client::new(Box::new(make), kind, crowd.habit, think, rng);
        let flow = Flow::new("load", script)
            .posting(bench.posts())
            .with_usual(bench.facts.usual);
        engine.add(flow.through(door.clone()));
    }
}

/// Every client that asks has had an answer: handshakes are over, and all are in their loops.
fn has_everybody_begun(engine: &Engine) -> bool {
    let answered =
        |exchange: Option<&Exchange>| exchange.is_some_and(|first| first.ended_at.is_some());
    let mut flows = engine.flows.iter();
    // Hostile clients of HTTP/2 ask nothing.
    let mut wide = engine.h2.iter().filter(|flow| flow.group != "hostile");
    flows.all(|flow| flow.is_finished() || answered(flow.exchanges.first()))
        && wide.all(|flow| answered(flow.calls.first().map(|call| &call.exchange)))
}

/// Lets the clients work, sends the signal at a random instant, and lets them work on until the target is gone.
/// Returns T.
pub(crate) fn stop_under_load(
    bench: &Bench<'_>,
    running: &Running,
    engine: &mut Engine,
    rng: &mut Rng,
    index: u64,
) -> Instant {
    engine.run(Instant::now() + WARM_UP, |engine| {
        running.exit().is_some() || has_everybody_begun(engine)
    });
    let begun = Instant::now();
    let stop_after = rng.between(STOP_FROM, STOP_TO);
    engine.run(begun + stop_after, |_| running.exit().is_some());
    engine.note_stop(running.stop(&bench.options.stop));
    let t = engine.stopped_at().unwrap_or(begun);
    // A target that serves whoever keeps asking never gets done: in most rounds clients leave after a while, as
    // they do where a balancer sends them elsewhere; in the first ones they stay until the grace period is over.
    if index >= FAITHFUL_ROUNDS {
        let known_at = await_effect(running, engine, t + bench.options.grace / 2);
        let leave_at = known_at + LEAVE_AFTER.min(bench.options.grace / 2);
        engine.run(leave_at, |engine| {
            running.exit().is_some() || engine.all_finished()
        });
        if running.exit().is_none() {
            engine.note_closing_time();
        }
    }
    let _ = await_departure(engine, running, t, bench.options.patience());
    bench.sightings.take(engine, t);
    t
}

/// After a command or a call the target may not know for a while: until it shows, for so long at most.
fn await_effect(running: &Running, engine: &mut Engine, deadline: Instant) -> Instant {
    let t = engine.stopped_at().unwrap_or_else(Instant::now);
    if !running.is_told_vaguely() {
        return t;
    }
    let is_over = |running: &Running| running.exit().is_some() || running.is_untold();
    // Looking through all exchanges takes a while: not at every turn of the engine.
    while Instant::now() < deadline && !is_over(running) && engine.first_effect(t).is_none() {
        engine.run(Instant::now() + LOOK_FOR_EFFECT, |_| is_over(running));
    }
    Instant::now()
}

pub(crate) fn count(engine: &Engine, t: Instant) -> Load {
    let mut load = Load::stopped_at(t);
    for flow in &engine.flows {
        for exchange in &flow.exchanges {
            load.add(exchange, t);
        }
        load.add_connects(&flow.refused_connects, &flow.failed_connects, t);
        load.add_handshakes(&flow.failed_handshakes, t);
    }
    for flow in &engine.h2 {
        for call in &flow.calls {
            load.add(&call.exchange, t);
        }
        load.add_connects(&flow.refused_connects, &flow.failed_connects, t);
        load.add_handshakes(&flow.failed_handshakes, t);
    }
    load.settle();
    load
}

/// The error is about this machine, not about the target.
pub(crate) fn is_our_own(errno: i32) -> bool {
    matches!(
        errno,
        libc::EADDRNOTAVAIL | libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM
    )
}

impl Load {
    /// One round, which is over.
    pub(crate) fn stopped_at(t: Instant) -> Self {
        Self {
            rounds: 1,
            watches: vec![Watch::since(t)],
            ..Self::default()
        }
    }

    /// Says of one round whether it lost something, and whether it had answers before the signal.
    pub(crate) fn settle(&mut self) {
        self.rounds_with_loss = u32::from(self.at_stake.lost > 0);
        // Loads that made up one round had one stop.
        self.watches.truncate(1);
        self.reused_lost_in_each = vec![self.reused_lost];
        self.rounds_unsettled = u32::from(self.before.served() == 0);
        self.series.add_stop(StopLoss {
            at_stake: self.at_stake.sent(),
            lost: self.at_stake.lost,
        });
    }

    pub(crate) fn add(&mut self, exchange: &Exchange, t: Instant) {
        self.series.add(exchange, t);
        if !exchange.is_at_stake(t) {
            self.before.add(exchange);
            return;
        }
        self.at_stake.add(exchange);
        self.lost_on_fresh += u64::from(exchange.is_lost() && exchange.is_first);
        let unheard = exchange.is_lost() && exchange.first_byte_at.is_none();
        self.reused_lost += u64::from(unheard && !exchange.is_first);
        self.dropped_connects += u64::from(exchange.is_first && exchange.written_at.is_none());
    }

    fn add_connects(
        &mut self,
        refused: &[(Instant, Instant)],
        failed: &[(Instant, i32)],
        t: Instant,
    ) {
        for (from, at) in refused.iter().filter(|(_, at)| *at >= t) {
            self.series.add_refusal(*from, *at, t);
            self.at_stake.add_outcome(Outcome::RefusedConnect);
        }
        let ours = failed.iter().filter(|(_, errno)| is_our_own(*errno));
        self.tool_trouble += ours.count() as u64;
    }

    /// Accepted, and ended before the handshake was whole: dropped, though nothing was written.
    fn add_handshakes(&mut self, failed: &[(Instant, Instant)], t: Instant) {
        for _ in failed.iter().filter(|(_, at)| *at >= t) {
            self.at_stake.add_outcome(Outcome::HandshakeFailed);
            self.dropped_connects += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.at_stake.merge(&other.at_stake);
        self.before.merge(&other.before);
        self.rounds_with_loss += other.rounds_with_loss;
        self.rounds_unsettled += other.rounds_unsettled;
        self.lost_on_fresh += other.lost_on_fresh;
        self.dropped_connects += other.dropped_connects;
        self.tool_trouble += other.tool_trouble;
        self.streams.open += other.streams.open;
        self.streams.cut += other.streams.cut;
        self.watches.extend(&other.watches);
        self.reused_lost_in_each.extend(&other.reused_lost_in_each);
        self.reused_lost += other.reused_lost;
        self.series.merge(&other.series);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Keeping,
    Connecting,
}

/// What clients do that are told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    ComeBack,
    GoElsewhere,
}

impl Habit {
    /// In every other round, clients that are told `close` go elsewhere, as behind a balancer; else they come back.
    pub(crate) fn of(index: u64) -> Self {
        if index.is_multiple_of(2) {
            Self::ComeBack
        } else {
            Self::GoElsewhere
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Think,
    Connect,
    Send,
    Await,
    Answered,
}

/// One closed-loop client.
pub(crate) struct Client {
    make: Box<dyn FnMut() -> Vec<u8> + Send>,
    kind: Kind,
    habit: Habit,
    think: Think,
    rng: Rng,
    next: Next,
    begun: bool,
}

impl Client {
    pub(crate) fn new(
        make: Box<dyn FnMut() -> Vec<u8> + Send>,
        kind: Kind,
        habit: Habit,
        think: Think,
        rng: Rng,
    ) -> Self {
        Self {
            make,
            kind,
            habit,
            think,
            rng,
            next: Next::Think,
            begun: false,
        }
    }
}

impl Script for Client {
    fn next(&mut self, seen: Seen) -> Option<Step> {
        let (step, next) = match self.next {
            Next::Think => {
                // The first pause is spread over the whole span, so that clients do not march in step.
                let from = if self.begun {
                    self.think.from
                } else {
                    Duration::ZERO
                };
                self.begun = true;
                (
                    Step::Pause(When::For(self.rng.between(from, self.think.to))),
                    Next::Connect,
                )
            }
            Next::Connect if seen.usable && self.kind == Kind::Keeping => {
                self.next = Next::Send;
                return self.next(seen);
            }
            Next::Connect => (Step::Connect, Next::Send),
            Next::Send if seen.refused && seen.stopped => return None,
            Next::Send if !seen.usable => {
                self.next = Next::Think;
                return self.next(seen);
            }
            Next::Send => (
                Step::Send {
                    bytes: (self.make)(),
                    part: Part::Whole,
                },
                Next::Await,
            ),
            Next::Await => (Step::AwaitAnswer, Next::Answered),
            Next::Answered => {
                let told = seen.last == Some(Outcome::ServedClose) && self.kind == Kind::Keeping;
                if seen.stopped && told && self.habit == Habit::GoElsewhere {
                    return None;
                }
                self.next = Next::Think;
                return self.next(seen);
            }
        };
        self.next = next;
        Some(step)
    }
}
