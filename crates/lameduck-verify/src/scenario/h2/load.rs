//! L-H2: closed-loop HTTP/2 clients across the signal, one stream at a time or a few.
//! Not: rounds and verdicts (see `rounds` and `load`).

use std::time::Duration;

use super::requests;
use crate::observe::engine::Engine;
use crate::observe::flow::When;
use crate::observe::h2::flow::Flow;
use crate::observe::h2::script::{Request, Script, Seen, Step};
use crate::observe::link::Door;
use crate::observe::rng::Rng;
use crate::scenario::bench::Bench;
use crate::scenario::load::{self, Habit, Load, Think, stop_under_load};
use crate::target::{Running, VerifyError};

/// Clients of one round.
const CLIENTS: usize = 32;
/// Every so many clients there is one that asks for so many things at a time.
const MANIFOLD: usize = 4;

/// Why the target can not be asked over HTTP/2.
pub(crate) fn lacks(bench: &Bench<'_>) -> Option<String> {
    (!bench.facts.speech.speaks_h2()).then(|| super::judge::LACKING.to_owned())
}

/// One round of `L-H2`, in plain text where that is spoken.
pub(crate) fn round(bench: &Bench<'_>, index: u64) -> Result<Load, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    let mut rng = bench.rng(0x42b2 + index);
    add_clients(
        bench,
        &running,
        &mut engine,
        &rng,
        CLIENTS,
        Habit::of(index),
    );
    let t = stop_under_load(bench, &running, &mut engine, &mut rng, index);
    Ok(load::count(&engine, t))
}

/// Adds clients at the first door where HTTP/2 is spoken, if there is one.
pub(crate) fn add_clients(
    bench: &Bench<'_>,
    running: &Running,
    engine: &mut Engine,
    rng: &Rng,
    count: usize,
    habit: Habit,
) {
    if let Some(door) = bench.facts.speech.h2_doors(&running.place).first() {
        add_clients_at(bench, running, engine, rng, count, habit, door);
    }
}

/// Adds clients at `door`.
pub(crate) fn add_clients_at(
    bench: &Bench<'_>,
    running: &Running,
    engine: &mut Engine,
    rng: &Rng,
    count: usize,
    habit: Habit,
    door: &Door,
) {
    let think = Think::for_quiet(bench.options.target.quiet);
    for client in 0..count {
        let make = {
            let (facts, place, door) = (bench.facts.clone(), running.place.clone(), door.clone());
            move || requests::usual(&facts, &place, &door)
        };
        let width = if client.is_multiple_of(MANIFOLD) {
            MANIFOLD as u32
        } else {
            1
        };
        let script = Client::new(Box::new(make), width, habit, think, rng.fork(client as u64));
        let flow = Flow::new("load", vec![door.clone()], script)
            .posting(bench.posts())
            .with_usual(bench.facts.usual);
        engine.h2.push(flow);
    }
}

/// Asks, one or a few streams at a time, thinks, and asks again; goes elsewhere or comes back after a GOAWAY.
pub(crate) struct Client {
    make: Box<dyn FnMut() -> Request + Send>,
    /// Streams at a time.
    width: u32,
    habit: Habit,
    think: Think,
    rng: Rng,
    next: Next,
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Think,
    Connect,
    Greet,
    Open(u32),
    Await,
}

impl Client {
    pub(crate) fn new(
        make: Box<dyn FnMut() -> Request + Send>,
        width: u32,
        habit: Habit,
        think: Think,
        rng: Rng,
    ) -> Self {
        Self {
            make,
            width,
            habit,
            think,
            rng,
            next: Next::Think,
            begun: false,
        }
    }
}

impl Script for Client {
    fn next(&mut self, seen: &Seen<'_>) -> Option<Step> {
        let (step, next) = match self.next {
            Next::Think => {
                // The first pause is spread over the whole span, so that clients do not march in step.
                let from = if self.begun {
                    self.think.from
                } else {
                    Duration::ZERO
                };
                self.begun = true;
                let pause = self.rng.between(from, self.think.to);
                (Step::Pause(When::For(pause)), Next::Connect)
            }
            Next::Connect if seen.welcome() => {
                self.next = Next::Open(0);
                return self.next(seen);
            }
            Next::Connect => {
                let told = seen.conn.is_some_and(|conn| !conn.goaways.is_empty());
                if seen.stopped && told && self.habit == Habit::GoElsewhere {
                    return None;
                }
                (Step::Connect(0), Next::Greet)
            }
            Next::Greet if seen.refused && seen.stopped => return None,
            Next::Greet if !seen.connected => {
                self.next = Next::Think;
                return self.next(seen);
            }
            Next::Greet => (Step::Greet, Next::Open(0)),
            Next::Open(opened) if opened < self.width => {
                (Step::Open((self.make)()), Next::Open(opened + 1))
            }
            Next::Open(_) => {
                self.next = Next::Await;
                return self.next(seen);
            }
            Next::Await => (Step::AwaitAnswers, Next::Think),
        };
        self.next = next;
        Some(step)
    }
}
