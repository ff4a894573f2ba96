//! Owns the HTTP/2 clients of the second drain: one kind for each promise.
//! Not: when the signal is sent (see `second`), or what they prove (see `judge`).

use std::time::Duration;

use super::requests;
use crate::observe::engine::Engine;
use crate::observe::flow::When;
use crate::observe::h2::flow::Flow;
use crate::observe::h2::script::{
    Credit, Heed, Manners, Pings, Request, Script, Seen, Step, Steps,
};
use crate::observe::h2::{Ends, PREFACE};
use crate::observe::link::Door;
use crate::scenario::bench::Bench;
use crate::scenario::drain::{SWEEP, in_flight_time};
use crate::target::Running;

/// Clients of each kind, at each door.
const FEW: usize = 3;
/// Streams on one connection (contract, H2-08).
pub(crate) const HUNDRED: usize = 100;
/// A response that is read slowly has so many bytes.
const SLOW_BYTES: u32 = 512 * 1024;
/// It is read in parts of so many bytes…
const SLOW_PART: u32 = 32 * 1024;
/// …so far apart.
const SLOW_PACE: Duration = Duration::from_millis(80);
/// A newcomer comes again after so long.
const COME_AGAIN: Duration = Duration::from_millis(20);
/// So often after the signal: more would keep a window open that waits for quiet.
const ASKING_ROUNDS: u32 = 6;

/// Opens those who can wait for the signal as long as it takes, at every door where HTTP/2 is spoken.
pub(crate) fn open_waiting(bench: &Bench<'_>, running: &Running, engine: &mut Engine) {
    for opener in Opener::at_all_doors(bench, running) {
        opener.open_idle(engine);
        opener.open_crossing(engine);
        opener.open_reading(engine);
        opener.open_holding(engine);
    }
}

/// Opens those whose requests run, so that they still do at the signal; and those who come and go.
pub(crate) fn open_busy(bench: &Bench<'_>, running: &Running, engine: &mut Engine) {
    for opener in Opener::at_all_doors(bench, running) {
        opener.open_in_flight(engine);
        opener.open_newcomers(engine);
    }
}

struct Opener<'a> {
    bench: &'a Bench<'a>,
    running: &'a Running,
    door: Door,
}

impl<'a> Opener<'a> {
    fn at_all_doors(bench: &'a Bench<'a>, running: &'a Running) -> impl Iterator<Item = Self> {
        let doors = bench.facts.speech.h2_doors(&running.place);
        doors.into_iter().map(move |door| Self {
            bench,
            running,
            door,
        })
    }

    fn usual(&self) -> Request {
        requests::usual(&self.bench.facts, &self.running.place, &self.door)
    }

    fn flow(&self, group: &'static str, script: impl Script + 'static) -> Flow {
        Flow::new(group, vec![self.door.clone()], script)
            .posting(self.bench.posts())
            .with_usual(self.bench.facts.usual)
    }

    fn steps(&self, group: &'static str, steps: Vec<Step>) -> Flow {
        self.flow(group, Steps::new(steps))
    }

    /// Connected and greeted, and one request answered already.
    fn warm(&self) -> Vec<Step> {
        vec![
            Step::Connect(0),
            Step::Greet,
            Step::Open(self.usual()),
            Step::AwaitAnswers,
        ]
    }

    /// A stream that is open across the signal, then what follows.
    fn busy(&self, after: Vec<Step>) -> Vec<Step> {
        let time = in_flight_time(self.bench.options.grace);
        let (facts, place) = (&self.bench.facts, &self.running.place);
        let (request, rest) = requests::in_flight(facts, place, &self.door, time);
        let mut steps = vec![Step::Connect(0), Step::Greet, Step::Open(request)];
        match rest {
            None => steps.extend(after),
            Some(rest) => {
                steps.push(Step::Pause(When::AfterStop(time / 4)));
                steps.push(Step::Send {
                    bytes: rest,
                    ends: Ends::Stream,
                });
                steps.extend(after);
            }
        }
        steps
    }

    /// H2-01: told to go while idle.
    fn open_idle(&self, engine: &mut Engine) {
        for _ in 0..FEW {
            let mut steps = self.warm();
            steps.push(Step::AwaitEnd);
            engine.h2.push(self.steps("h2-idle", steps));
        }
        let fresh = vec![Step::Connect(0), Step::Greet, Step::AwaitEnd];
        engine.h2.push(self.steps("h2-idle", fresh));
    }

    /// A request that goes on although it was told not to.
    fn rude(&self) -> Step {
        Step::Open(Request {
            heed: Heed::Nothing,
            ..self.usual()
        })
    }

    /// H2-01, H2-02, H2-04, H2-08: told to go while busy.
    fn open_in_flight(&self, engine: &mut Engine) {
        for _ in 0..FEW {
            let steps = self.busy(vec![Step::AwaitAnswers, Step::AwaitEnd]);
            engine.h2.push(self.steps("h2-in-flight", steps));
            let above = vec![Step::AwaitFinalGoAway, self.rude(), Step::AwaitEnd];
            engine.h2.push(self.steps("h2-above", self.busy(above)));
        }
        if let Some(call) = &self.bench.options.target.grpc
            && self.bench.facts.speech.grpc
        {
            let message = call.slow_message.as_ref().unwrap_or(&call.message);
            let place = &self.running.place;
            for _ in 0..FEW {
                let request = requests::grpc(place, &self.door, &call.path, message);
                let mut steps = vec![Step::Connect(0), Step::Greet];
                if call.slow_message.is_none() {
                    steps.push(Step::Pause(When::Eve));
                }
                steps.extend([Step::Open(request), Step::AwaitAnswers, Step::AwaitEnd]);
                engine.h2.push(self.steps("h2-grpc", steps));
            }
        }
        engine.h2.push(self.steps("h2-hundred", self.hundred()));
    }

    /// Many streams at once on one connection.
    fn hundred(&self) -> Vec<Step> {
        let time = in_flight_time(self.bench.options.grace);
        let (facts, place) = (&self.bench.facts, &self.running.place);
        let mut steps = vec![Step::Connect(0), Step::Greet];
        for index in 0..HUNDRED {
            let (request, rest) = requests::in_flight(facts, place, &self.door, time);
            let Some(rest) = rest else {
                steps.push(Step::Open(request));
                continue;
            };
            // Only the stream opened last can be written to later: so these are sent whole, right before the signal.
            if index == 0 {
                steps.push(Step::Pause(When::Eve));
            }
            steps.push(Step::Open(Request {
                body: [request.body, rest].concat(),
                ends: Ends::Stream,
                ..request
            }));
        }
        steps.extend([Step::AwaitAnswers, Step::AwaitEnd]);
        steps
    }

    /// H2-03: streams opened while the server goes.
    fn open_crossing(&self, engine: &mut Engine) {
        for _ in 0..FEW {
            let mut steps = self.warm();
            steps.extend([
                Step::AwaitGoAway,
                self.rude(),
                Step::AwaitAnswers,
                Step::AnswerPings,
                Step::AwaitEnd,
            ]);
            let held = Manners {
                pings: Pings::Held,
                ..Manners::default()
            };
            engine
                .h2
                .push(self.steps("h2-between", steps).with_manners(held));
        }
        for offset in SWEEP {
            for _ in 0..2 {
                let mut steps = self.warm();
                steps.extend([
                    Step::Pause(When::AfterStop(offset)),
                    Step::Open(self.usual()),
                    Step::AwaitAnswers,
                ]);
                engine
                    .h2
                    .push(self.steps("h2-sweep", steps).at_offset(offset));
            }
        }
    }

    /// H2-10: connections opened while the server goes.
    fn open_newcomers(&self, engine: &mut Engine) {
        for index in 0..4_u32 {
            let pause = Duration::from_millis(5) * index;
            let newcomer = Newcomer::new(self.usual(), pause);
            engine.h2.push(self.flow("h2-newcomers", newcomer));
        }
    }

    /// H2-07: responses that wait for credit.
    fn open_reading(&self, engine: &mut Engine) {
        let frugal = |window| Manners {
            credit: Credit::ByStep,
            window,
            ..Manners::default()
        };
        for _ in 0..FEW {
            let steps = vec![
                Step::Connect(0),
                Step::Greet,
                Step::Open(self.usual()),
                Step::Pause(When::AfterStop(Duration::from_millis(40))),
                Step::Credit(1),
                Step::Pause(When::For(Duration::from_millis(300))),
                Step::Credit(SLOW_BYTES),
                Step::AwaitAnswers,
                Step::AwaitEnd,
            ];
            let flow = self.steps("h2-credit", steps);
            engine.h2.push(flow.with_manners(frugal(0)));
        }
        let Some(template) = self.bench.options.target.large_path.as_deref() else {
            return;
        };
        if self.bench.facts.large_path.is_none() {
            return;
        }
        let place = &self.running.place;
        let path = place
            .fill(template)
            .replace("{bytes}", &SLOW_BYTES.to_string());
        let mut steps = vec![
            Step::Connect(0),
            Step::Greet,
            Step::Open(requests::get(place, &self.door, &path)),
            Step::Pause(When::AfterStop(Duration::ZERO)),
        ];
        for part in 1..=SLOW_BYTES / SLOW_PART {
            steps.extend([
                Step::Pause(When::For(SLOW_PACE)),
                Step::Credit(SLOW_PART),
                Step::AwaitBody(u64::from(part * SLOW_PART)),
            ]);
        }
        steps.extend([Step::AwaitAnswers, Step::AwaitEnd]);
        engine.h2.push(
            self.steps("h2-credit", steps)
                .with_manners(frugal(SLOW_PART)),
        );
    }

    /// H2-05, H2-06: those who say nothing, or not enough.
    fn open_holding(&self, engine: &mut Engine) {
        let silent = Manners {
            pings: Pings::Never,
            ..Manners::default()
        };
        let mut steps = self.warm();
        steps.push(Step::AwaitEnd);
        let flow = self.steps("h2-silent", steps);
        engine.h2.push(flow.with_manners(silent));
        // A frame's head that promises more than comes.
        let half_frame = [0, 0, 64, 1, 4, 0, 0, 0, 1, 0x82];
        let said: [&[u8]; 3] = [&[], &PREFACE[..10], PREFACE];
        for bytes in said {
            let steps = vec![
                Step::Connect(0),
                Step::Bytes(bytes.to_vec()),
                Step::AwaitEnd,
            ];
            engine.h2.push(self.steps("h2-half", steps));
        }
        let steps = vec![
            Step::Connect(0),
            Step::Greet,
            Step::Bytes(half_frame.to_vec()),
            Step::AwaitEnd,
        ];
        engine.h2.push(self.steps("h2-half", steps));
    }
}

/// A client without a connection, again and again, until the door is shut.
#[derive(Debug)]
struct Newcomer {
    request: Request,
    place: u8,
    pause: Duration,
    rounds_after_stop: u32,
}

impl Newcomer {
    fn new(request: Request, pause: Duration) -> Self {
        Self {
            request,
            place: 0,
            pause,
            rounds_after_stop: 0,
        }
    }
}

impl Script for Newcomer {
    fn next(&mut self, seen: &Seen<'_>) -> Option<Step> {
        let step = match self.place {
            0 if self.rounds_after_stop > ASKING_ROUNDS => return None,
            0 => Step::Pause(When::For(std::mem::replace(&mut self.pause, COME_AGAIN))),
            1 => Step::Connect(0),
            2 if seen.refused && seen.stopped => return None,
            2 if !seen.connected => {
                self.place = 0;
                return self.next(seen);
            }
            2 => Step::Greet,
            3 => Step::Open(self.request.clone()),
            4 => Step::AwaitAnswers,
            _ => {
                self.rounds_after_stop += u32::from(seen.stopped);
                self.place = 0;
                return Some(Step::Close);
            }
        };
        self.place += 1;
        Some(step)
    }
}
