//! The users of a rollout: a bounded number of closed loops that always come back, as people and their programs do.
//! Not: what becomes of their requests (see `judge`).

use std::time::{Duration, Instant};

use crate::front::Rollout;
use crate::observe::engine::{Client as _, Engine};
use crate::observe::flow::{Flow, Script, Seen, Step};
use crate::observe::h2;
use crate::observe::link::Door;
use crate::observe::rng::Rng;
use crate::observe::tls::Alpn;
use crate::protocol::Protocol;
use crate::scenario::h2::load::Client as WideClient;
use crate::scenario::h2::requests as wide;
use crate::scenario::load::{Client, Habit, Kind, Think};
use crate::scenario::requests;
use crate::scenario::speech::tls_door;
use crate::target::Place;

/// Users that keep their connection.
pub(super) const KEEPING: usize = 12;
/// Users that connect anew for each request.
pub(super) const CONNECTING: usize = 4;
/// Each thinks so long between two requests: a hundred requests a second at most, all together.
pub(super) const THINK: Think = Think {
    from: Duration::from_millis(100),
    to: Duration::from_millis(220),
};
/// Users who gave up and were replaced, at most.
const MAX_REPLACED: usize = 2_000;

/// The users, and those of them who gave up on a connect.
pub(super) struct Crowd {
    place: Place,
    door: Door,
    protocol: Protocol,
    patience: Duration,
    rng: Rng,
    entered: u64,
    replaced: usize,
    /// Connects that were neither accepted nor refused: when begun, when given up.
    pub(super) hung_connects: Vec<(Instant, Instant)>,
}

impl Crowd {
    pub(super) fn enter(options: &Rollout, place: &Place, seed: u64, engine: &mut Engine) -> Self {
        let alpn = if options.protocol == Protocol::H2 {
            Alpn::Http2
        } else {
            Alpn::Http1
        };
        let mut crowd = Self {
            place: place.clone(),
            door: tls_door(place, alpn),
            protocol: options.protocol,
            patience: options.patience,
            rng: Rng::new(seed).fork(0x2011),
            entered: 0,
            replaced: 0,
            hung_connects: Vec::new(),
        };
        for user in 0..KEEPING + CONNECTING {
            let kind = if user < KEEPING {
                Kind::Keeping
            } else {
                Kind::Connecting
            };
            crowd.add(kind, engine);
        }
        crowd
    }

    fn add(&mut self, kind: Kind, engine: &mut Engine) {
        self.entered += 1;
        let rng = self.rng.fork(self.entered);
        let (place, door) = (self.place.clone(), self.door.clone());
        if self.protocol == Protocol::H2 {
            let make = move || wide::get(&place, &door, &place.url.path);
            let client = WideClient::new(Box::new(make), 1, Habit::ComeBack, THINK, rng);
            let doors = vec![self.door.clone()];
            engine
                .h2
                .push(h2::flow::Flow::new("users", doors, Faithful(client)));
        } else {
            let make = move || requests::get(&place, &place.url.path);
            let client = Client::new(Box::new(make), kind, Habit::ComeBack, THINK, rng);
            let flow = Flow::new("users", Faithful(client));
            engine.add(flow.through(self.door.clone()));
        }
    }

    /// Lets go whoever has waited for longer than users do, and lets others come in their place.
    pub(super) fn look_after(&mut self, engine: &mut Engine) {
        let now = Instant::now();
        let Some(bound) = now.checked_sub(self.patience) else {
            return;
        };
        let before = gone(engine);
        engine.give_up_on_those_since(bound);
        let dialling = |since: Option<Instant>| since.filter(|since| *since < bound);
        for flow in &mut engine.flows {
            if let Some(since) = dialling(flow.dialling_since).filter(|_| !flow.is_finished()) {
                self.hung_connects.push((since, now));
                flow.give_up(now);
            }
        }
        for flow in &mut engine.h2 {
            if let Some(since) = dialling(flow.dialling_since).filter(|_| !flow.is_finished()) {
                self.hung_connects.push((since, now));
                flow.give_up(now);
            }
        }
        for _ in before..gone(engine) {
            if self.replaced < MAX_REPLACED {
                self.replaced += 1;
                self.add(Kind::Keeping, engine);
            }
        }
    }
}

fn gone(engine: &Engine) -> usize {
    let flows = engine.flows.iter().filter(|flow| flow.is_finished());
    flows.count() + engine.h2.iter().filter(|flow| flow.is_finished()).count()
}

/// Whole good answers so far.
pub(super) fn answers(engine: &Engine) -> u64 {
    let flows = engine.flows.iter().flat_map(|flow| &flow.exchanges);
    let calls = engine.h2.iter().flat_map(|flow| &flow.calls);
    let exchanges = flows.chain(calls.map(|call| &call.exchange));
    let good = |outcome: crate::observe::outcome::Outcome| outcome.is_served();
    exchanges
        .filter(|exchange| exchange.outcome.is_some_and(good))
        .count() as u64
}

/// A closed-loop client that does not know of any stop, so that it comes back whatever it meets.
struct Faithful<C>(C);

impl<C: Script> Script for Faithful<C> {
    fn next(&mut self, seen: Seen) -> Option<Step> {
        self.0.next(Seen {
            stopped: false,
            ..seen
        })
    }
}

impl<C: h2::script::Script> h2::script::Script for Faithful<C> {
    fn next(&mut self, seen: &h2::script::Seen<'_>) -> Option<h2::script::Step> {
        self.0.next(&h2::script::Seen {
            stopped: false,
            ..*seen
        })
    }
}
