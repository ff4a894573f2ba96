//! The main scenario: one drain with every class of connection open, then one signal.
//! Owns opening them and keeping what was seen; `judge` decides H1-01 to H1-06 and A1 from it.

use std::time::{Duration, Instant};

use super::bench::{Bench, Departure, await_departure};
use super::facts::Means;
use super::probes::{ProbeLog, Probes};
use super::requests;
use super::settling::Settling;
use crate::observe::engine::Engine;
use crate::observe::flow::{Flow, Part, Script, Seen, Step, Steps, When};
use crate::observe::urgency::Urgency;
use crate::target::{Running, VerifyError};
use crate::verdict::Output;

/// When sweeps write, after T (contract, version 1).
pub(crate) const SWEEP: [Duration; 8] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];
/// All writes of a sweep are over by then.
const SWEEP_SPAN: Duration = Duration::from_millis(120);
/// Connections for each offset of a sweep.
pub(crate) const SWEEP_WIDTH: usize = 4;
/// Requests in flight at T.
pub(crate) const IN_FLIGHT: usize = 6;
/// Idle connections that are left alone.
const LEFT_ALONE: usize = 4;
/// Requests in the socket buffers at T.
const BUFFERED: usize = 16;
/// How long opening all connections may take.
const OPENING_BOUND: Duration = Duration::from_secs(5);
/// How old the requests in flight are at T.
const AGE_AT_STOP: Duration = Duration::from_millis(300);

/// What one drain showed.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) engine: Engine,
    pub(crate) departure: Departure,
    pub(crate) output: Output,
    pub(crate) probes: Option<ProbeLog>,
}

/// Starts a target, opens everything, tells it to stop, and watches until it is gone.
pub(crate) fn drain(bench: &Bench<'_>) -> Result<Drained, VerifyError> {
    drain_it(bench, &bench.launch()?)
}

/// The same with a target that runs already.
pub(crate) fn drain_it(bench: &Bench<'_>, running: &Running) -> Result<Drained, VerifyError> {
    let probes = Probes::watch(bench.options, running)?;
    let mut engine = bench.engine(running);
    open(bench, running, &mut engine);
    let bound = Instant::now() + OPENING_BOUND;
    let begun = Instant::now();
    let mut settling = Settling::new();
    engine.run(bound, |engine| {
        let awaited = |flow: &&Flow| !matches!(flow.group, "in-flight" | "newcomers");
        let flows = engine.flows.iter().filter(awaited);
        let each = flows.map(|flow| flow.is_poised() || flow.is_finished());
        settling.is_over(each, Instant::now())
    });
    let urgency = Urgency::raise();
    engine.run(begun + AGE_AT_STOP, |_| running.exit().is_some());
    engine.note_eve();
    engine.run(Instant::now(), |_| false);
    engine.note_stop(running.stop(&bench.options.stop));
    let t = engine.stopped_at().unwrap_or(begun);
    engine.run(t + SWEEP_SPAN, |_| false);
    drop(urgency);
    let mut departure = await_departure(&mut engine, running, t, bench.options.patience());
    bench.sightings.take(&engine, t);
    let probes = probes.map(Probes::finish);
    let said_no = probes.as_ref().and_then(|log| log.drain.first_false);
    departure.note_effect(said_no.map(|(at, _)| at));
    let output = running.output(departure.exit.is_some());
    bench.album.add(&engine, t);
    Ok(Drained {
        engine,
        departure,
        output,
        probes,
    })
}

fn open(bench: &Bench<'_>, running: &Running, engine: &mut Engine) {
    let opener = Opener { bench, running };
    for index in 0..IN_FLIGHT {
        engine.add(in_flight(bench, running, index));
    }
    for offset in SWEEP {
        for _ in 0..SWEEP_WIDTH {
            opener.sweep(engine, offset);
        }
    }
    for _ in 0..BUFFERED {
        engine.add(opener.buffered());
    }
    if bench.facts.keeps_connections {
        for _ in 0..LEFT_ALONE {
            engine.add(opener.left_alone());
        }
    }
    for index in 0..4_u32 {
        let request = requests::usual(&bench.facts, &running.place);
        let newcomer = Newcomer::new(request, Duration::from_millis(5) * index);
        let flow = Flow::new("newcomers", newcomer).posting(bench.posts());
        engine.add(flow.with_usual(bench.facts.usual));
    }
}

/// Makes the clients of the drain.
struct Opener<'a> {
    bench: &'a Bench<'a>,
    running: &'a Running,
}

impl Opener<'_> {
    fn flow(&self, group: &'static str, steps: Vec<Step>) -> Flow {
        Flow::new(group, Steps::new(steps))
            .posting(self.bench.posts())
            .with_usual(self.bench.facts.usual)
    }

    fn ask(&self) -> [Step; 2] {
        let bytes = requests::usual(&self.bench.facts, &self.running.place);
        [
            Step::Send {
                bytes,
                part: Part::Whole,
            },
            Step::AwaitAnswer,
        ]
    }

    /// Connected, and one request answered already: an idle keep-alive connection.
    fn warm(&self) -> Vec<Step> {
        let mut steps = vec![Step::Connect];
        steps.extend(self.ask());
        steps
    }

    /// One client of each sweep.
    fn sweep(&self, engine: &mut Engine, offset: Duration) {
        let pause = Step::Pause(When::AfterStop(offset));
        let whole = |mut steps: Vec<Step>| {
            steps.push(pause.clone());
            steps.extend(self.ask());
            steps
        };
        let halves = |mut steps: Vec<Step>| {
            let (first, last) = requests::in_halves(&self.bench.facts, &self.running.place);
            steps.extend([
                Step::Send {
                    bytes: first,
                    part: Part::First,
                },
                pause.clone(),
                Step::Send {
                    bytes: last,
                    part: Part::Last,
                },
                Step::AwaitAnswer,
            ]);
            steps
        };
        engine.add(
            self.flow("silent", whole(vec![Step::Connect]))
                .at_offset(offset),
        );
        engine.add(
            self.flow("half-fresh", halves(vec![Step::Connect]))
                .at_offset(offset),
        );
        if self.bench.facts.keeps_connections {
            engine.add(self.flow("idle", whole(self.warm())).at_offset(offset));
            engine.add(
                self.flow("half-reused", halves(self.warm()))
                    .at_offset(offset),
            );
        }
    }

    /// A request written right before the signal. One that is written after it, however soon, is for H1-02 and H1-04:
    /// the target may have been told before it came.
    fn buffered(&self) -> Flow {
        let mut steps = if self.bench.facts.keeps_connections {
            self.warm()
        } else {
            vec![Step::Connect]
        };
        steps.push(Step::Pause(When::Eve));
        steps.extend(self.ask());
        self.flow("buffered", steps).at_offset(Duration::ZERO)
    }

    fn left_alone(&self) -> Flow {
        let mut steps = self.warm();
        steps.extend([Step::Pause(When::AfterStop(Duration::ZERO)), Step::AwaitEnd]);
        self.flow("left-alone", steps)
    }
}

/// How long requests in flight run: across the end of a window, well inside the grace period.
pub(crate) fn in_flight_time(grace: Duration) -> Duration {
    (grace * 2 / 5).min(Duration::from_millis(1_500))
}

/// A request in flight at T; after its answer, if nothing said `close`, another one on the same connection.
fn in_flight(bench: &Bench<'_>, running: &Running, index: usize) -> Flow {
    let time = in_flight_time(bench.options.grace);
    let (first, last) = requests::in_flight(&bench.facts, &running.place, time);
    let mut steps = vec![Step::Connect];
    match last {
        None => steps.push(Step::Send {
            bytes: first,
            part: Part::Whole,
        }),
        Some(last) => steps.extend([
            Step::Send {
                bytes: first,
                part: Part::First,
            },
            Step::Pause(When::AfterStop(time - AGE_AT_STOP.min(time))),
            Step::Send {
                bytes: last,
                part: Part::Last,
            },
        ]),
    }
    steps.push(Step::AwaitAnswer);
    let gap = [0, 500, 1_000, 2_000, 5_000, 10_000][index % 6];
    steps.push(Step::Pause(When::For(Duration::from_micros(gap))));
    let again = requests::usual(&bench.facts, &running.place);
    steps.extend([
        Step::Send {
            bytes: again,
            part: Part::Whole,
        },
        Step::AwaitAnswer,
    ]);
    let posts = bench.posts() && !matches!(bench.facts.means, Means::Slow(_));
    Flow::new("in-flight", Steps::new(steps))
        .posting(posts)
        .with_usual(bench.facts.usual)
}

/// A client without a connection, again and again, until the door is shut.
#[derive(Debug)]
pub(crate) struct Newcomer {
    request: Vec<u8>,
    place: u8,
    first_pause: Duration,
    rounds_after_stop: u32,
    refusals: u32,
}

/// Newcomers ask so often after T before they only knock, so that they do not keep a quiet-based window open.
const ASKING_ROUNDS: u32 = 6;
/// Refused so often, a newcomer has seen enough.
const ENOUGH_REFUSALS: u32 = 6;

impl Newcomer {
    pub(crate) fn new(request: Vec<u8>, first_pause: Duration) -> Self {
        Self {
            request,
            place: 0,
            first_pause,
            rounds_after_stop: 0,
            refusals: 0,
        }
    }
}

impl Script for Newcomer {
    fn next(&mut self, seen: Seen) -> Option<Step> {
        let step = match self.place {
            0 => Step::Pause(When::For(std::mem::replace(
                &mut self.first_pause,
                Duration::from_millis(20),
            ))),
            1 => Step::Connect,
            2 if seen.refused => {
                self.refusals += u32::from(seen.stopped);
                if self.refusals >= ENOUGH_REFUSALS {
                    return None;
                }
                self.place = 0;
                return self.next(Seen {
                    refused: false,
                    ..seen
                });
            }
            2 if self.rounds_after_stop > ASKING_ROUNDS && self.refusals == 0 => Step::Close,
            2 => Step::Send {
                bytes: self.request.clone(),
                part: Part::Whole,
            },
            3 => Step::AwaitAnswer,
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
