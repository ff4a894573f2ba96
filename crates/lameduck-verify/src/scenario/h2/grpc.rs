//! H2-09: gRPC calls in flight, and a retrying channel that knows two instances while one of them leaves.
//! Not: gRPC itself; a call is a request with a prefix and trailers.

use std::time::{Duration, Instant};

use super::requests;
use crate::observe::engine::Engine;
use crate::observe::flow::When;
use crate::observe::h2::flow::Flow;
use crate::observe::h2::script::{Request, Script, Seen, Step, Steps};
use crate::observe::link::Door;
use crate::observe::outcome::{Outcome, Tally};
use crate::options::Options;
use crate::scenario::attention::Watch;
use crate::scenario::bench::{Bench, await_departure};
use crate::target::{Place, Running, VerifyError};
use crate::verdict::{Finding, Verdict};

/// Calls that are in flight at the signal.
const IN_FLIGHT: usize = 4;
/// Channels that call without end.
const CHANNELS: u32 = 6;
/// Calls on one instance before the other has its turn.
const TURN: u32 = 3;
/// Between two calls of a channel.
const THINK: Duration = Duration::from_millis(15);
/// Calls are under way for so long before the signal.
const RUN_UP: Duration = Duration::from_millis(250);
/// Channels go on for so long after the instance is gone.
const AFTERMATH: Duration = Duration::from_millis(150);

/// Launches that it takes.
pub(crate) fn launches(options: &Options) -> u32 {
    if options.target.copies() > 1 { 2 } else { 1 }
}

pub(crate) fn run(bench: &Bench<'_>) -> Result<Finding, VerifyError> {
    let speech = bench.facts.speech;
    if bench.options.target.grpc.is_none() {
        return Ok(bench.lacking(
            "H2-09",
            "no gRPC call is declared; --grpc-path would name one",
        ));
    }
    if !speech.grpc {
        return Ok(bench.lacking("H2-09", "the declared gRPC call is not answered"));
    }
    let leaving = bench.launch()?;
    let staying = if bench.options.target.copies() > 1 {
        Some(bench.launch()?)
    } else {
        None
    };
    let mut engine = bench.engine(&leaving);
    open(bench, &leaving, staying.as_ref(), &mut engine);
    engine.run(Instant::now() + RUN_UP, |_| leaving.exit().is_some());
    engine.note_eve();
    engine.run(Instant::now(), |_| false);
    let t = leaving.stop(&bench.options.stop);
    engine.note_stop(t);
    let over = t + bench.options.patience();
    engine.run(over, |_| leaving.exit().is_some());
    engine.run((Instant::now() + AFTERMATH).min(over), |_| false);
    engine.note_closing_time();
    let departure = await_departure(&mut engine, &leaving, t, bench.options.patience());
    let finding = judge(bench, &engine, t, staying.is_some());
    Ok(bench.weigh(finding, &[Watch::from(&departure)]))
}

fn open(bench: &Bench<'_>, leaving: &Running, staying: Option<&Running>, engine: &mut Engine) {
    let Some(call) = bench.options.target.grpc.clone() else {
        return;
    };
    let door_of = |place: &Place| -> Door {
        // Plain where there is a choice; at an address of its own, because the engine knows one instance only.
        match bench.facts.speech.h2_doors(place).into_iter().next() {
            Some(Door::Tls(door)) => Door::Tls(door),
            _ => Door::Plain(place.url.addr),
        }
    };
    let here = door_of(&leaving.place);
    let message = call.slow_message.as_ref().unwrap_or(&call.message);
    for _ in 0..IN_FLIGHT {
        let mut steps = vec![Step::Connect(0), Step::Greet];
        if call.slow_message.is_none() {
            steps.push(Step::Pause(When::Eve));
        }
        let request = requests::grpc(&leaving.place, &here, &call.path, message);
        steps.extend([Step::Open(request), Step::AwaitAnswers]);
        let flow = Flow::new("grpc-in-flight", vec![here.clone()], Steps::new(steps));
        engine.h2.push(flow.posting(true));
    }
    let Some(staying) = staying else { return };
    for index in 0..CHANNELS {
        let there = door_of(&staying.place);
        let places = [leaving.place.clone(), staying.place.clone()];
        let doors = vec![here.clone(), there];
        let (makers, call) = (doors.clone(), call.clone());
        let make = move |instance: usize| {
            requests::grpc(
                &places[instance],
                &makers[instance],
                &call.path,
                &call.message,
            )
        };
        let channel = Channel::new(Box::new(make), THINK * index / CHANNELS);
        let flow = Flow::new("grpc-channel", doors, channel);
        engine.h2.push(flow.posting(true));
    }
}

fn judge(bench: &Bench<'_>, engine: &Engine, t: Instant, has_second: bool) -> Finding {
    let (mut tally, mut in_flight, mut calls, mut retried) =
        (Tally::default(), 0_u64, 0_u64, 0_u64);
    let mut worst: Option<(&str, Outcome)> = None;
    for flow in &engine.h2 {
        let is_channel = flow.group == "grpc-channel";
        for call in &flow.calls {
            if !call.exchange.is_at_stake(t) {
                continue;
            }
            tally.add(&call.exchange);
            let Some(outcome) = call.exchange.outcome else {
                continue;
            };
            if is_channel && outcome == Outcome::RefusedH2 {
                retried += 1;
                continue;
            }
            calls += u64::from(is_channel);
            in_flight += u64::from(!is_channel);
            if !outcome.is_served() {
                let which = if is_channel {
                    "of the channel"
                } else {
                    "in flight"
                };
                worst.get_or_insert((which, outcome));
            }
        }
    }
    let (verdict, detail) = match worst {
        Some((which, outcome)) => {
            let how = match outcome {
                Outcome::Truncated => "ended without a grpc-status in its trailers",
                Outcome::Error => "ended with a grpc-status other than 0",
                other => crate::scenario::judge::in_words(other),
            };
            (Verdict::Fail, format!("a call {which} {how}"))
        }
        None if in_flight == 0 => (
            Verdict::NotApplicable,
            "no call was in flight at the signal".to_owned(),
        ),
        None if has_second => (
            Verdict::Pass,
            format!(
                "{in_flight} calls in flight ended with trailers; {calls} calls of {CHANNELS} channels with a second instance served, {retried} of them tried again"
            ),
        ),
        None => (
            Verdict::Pass,
            format!(
                "{in_flight} calls in flight ended with trailers (channels were not tried: the target may run once only)"
            ),
        ),
    };
    bench
        .finding("H2-09", verdict, detail)
        .with_requests(tally)
        .with_figure("in_flight", in_flight)
        .with_figure("channel_calls", calls)
        .with_figure("retried", retried)
}

/// A channel with two instances: takes turns, and sends a refused call to the other one, as gRPC's clients do for
/// calls that were not processed.
struct Channel {
    make: Box<dyn Fn(usize) -> Request + Send>,
    instance: usize,
    made: u32,
    place: u8,
    pause: Duration,
}

impl Channel {
    fn new(make: Box<dyn Fn(usize) -> Request + Send>, pause: Duration) -> Self {
        Self {
            make,
            instance: 0,
            made: 0,
            place: 0,
            pause,
        }
    }

    fn turn(&mut self) {
        self.instance = 1 - self.instance;
        self.made = 0;
        self.place = 1;
    }
}

impl Script for Channel {
    fn next(&mut self, seen: &Seen<'_>) -> Option<Step> {
        let step = match self.place {
            0 => Step::Pause(When::For(std::mem::replace(&mut self.pause, THINK))),
            1 if self.made > 0 && seen.welcome() => {
                self.place = 3;
                return self.next(seen);
            }
            1 => Step::Connect(self.instance),
            2 if !seen.connected => {
                // Refused, or ended at once: the other instance. A moment later, so that two dead ones are no storm.
                self.turn();
                self.place = 0;
                return self.next(seen);
            }
            2 => Step::Greet,
            3 => {
                self.made += 1;
                Step::Open((self.make)(self.instance))
            }
            4 => Step::AwaitAnswers,
            _ => {
                let last = seen.calls.last().and_then(|call| call.exchange.outcome);
                if self.made >= TURN || !seen.welcome() {
                    self.turn();
                }
                // A refused call is sent again at once.
                self.place = u8::from(last == Some(Outcome::RefusedH2));
                return self.next(seen);
            }
        };
        self.place += 1;
        Some(step)
    }
}
