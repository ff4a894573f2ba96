//! From the signal to the end: the process, the listener, the last answer, the idle connections.
//!
//! Owns: the cases, and what is read off each departure.

use std::time::Duration;

use super::{Bench, Failure, Figure};
use crate::compare::contender::{Contender, Staging};
use crate::compare::crowd::{Crowd, Departure, Farewell, Parting};
use crate::compare::link::Cover;
use crate::compare::listener::Probe;
use crate::compare::speech::Speech;
use crate::server::{Server, describe};

pub(super) const FIGURE: Figure = Figure {
    name: "departure",
    title: "From the signal to the end",
    about: "From SIGTERM (nginx: SIGQUIT) on, in milliseconds, with connections open that have been idle for 1.5 s or longer, \
            nothing or 20 requests of 300 ms in flight (sent 100 ms before the signal). lameduck runs with `--window none`, which leaves only the \
            2 ms of its sweep. The client is one thread; what is timed has an epoll of its own.",
    plotted: &[
        "exit, ms",
        "exit after the last answer, ms",
        "listener closed, ms",
    ],
    measure,
};

const SLOW: &str = "/slow?ms=300";
const IN_FLIGHT: usize = 20;
const BEFORE: Duration = Duration::from_millis(100);
/// How long all have been idle at least: lameduck closes nobody who had an answer a moment ago (250 ms), and parks after a second.
const IDLE_FOR: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(12);

const HTTP1: &[Contender] = &[
    Contender::Lameduck,
    Contender::Again,
    Contender::HyperUtil,
    Contender::Tokens,
    Contender::TokioGraceful,
    Contender::Axum,
    Contender::Nginx,
    Contender::Go,
];
const HTTP2: &[Contender] = &[
    Contender::Lameduck,
    Contender::Again,
    Contender::HyperUtil,
    Contender::Nginx,
    Contender::Go,
];

struct Case {
    speech: Speech,
    idle: usize,
    busy: usize,
    parting: Parting,
    contenders: &'static [Contender],
}

fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let crowd = bench.effort.crowd;
    let http1 = [
        (0, 0),
        (crowd, 0),
        (0, IN_FLIGHT),
        (crowd / 10, IN_FLIGHT),
        (crowd, IN_FLIGHT),
    ];
    let mut cases: Vec<Case> = http1
        .into_iter()
        .map(|(idle, busy)| Case {
            speech: Speech::Http1,
            idle,
            busy,
            parting: Parting::Stays,
            contenders: HTTP1,
        })
        .collect();
    for parting in [Parting::Closes, Parting::Stays] {
        cases.extend([100, 1_000].map(|idle| Case {
            speech: Speech::Http2,
            idle,
            busy: 0,
            parting,
            contenders: HTTP2,
        }));
    }
    cases.push(Case {
        speech: Speech::WebSocket,
        idle: crowd,
        busy: 0,
        parting: Parting::Closes,
        contenders: &[Contender::Lameduck],
    });
    for run in 0..bench.effort.runs {
        for case in &cases {
            let staging = Staging {
                speech: case.speech,
                cover: &Cover::Plain,
                single: None,
            };
            for contender in bench.turns(case.contenders, staging, run) {
                if contender == Contender::Nginx && case.busy > 0 && !bench.stage.has_slow_nginx() {
                    continue;
                }
                leave(bench, case, contender, staging, run)?;
            }
        }
    }
    Ok(())
}

fn leave(
    bench: &mut Bench,
    case: &Case,
    contender: Contender,
    staging: Staging<'_>,
    run: u32,
) -> Result<(), Failure> {
    let mut server = Server::start(&bench.stage.launch(contender, staging)?)?;
    let mut crowd = Crowd::new()?;
    crowd.admit(server.address(), case.speech, staging.cover, case.idle)?;
    if case.idle > 0 {
        std::thread::sleep(IDLE_FOR);
    }
    let probe = Probe::new(server.address())?;
    let mut listener = None;
    let farewell = Farewell {
        signal: contender.signal(),
        busy: (case.busy > 0).then_some((case.busy, SLOW)),
        before: BEFORE,
        parting: case.parting,
        patience: PATIENCE,
    };
    let departure = crowd.watch(&mut server, farewell, |since| {
        listener = Some(probe.watch(since, PATIENCE));
    })?;
    let gone = listener.and_then(|thread| thread.join().ok().flatten());
    let name = case.name();
    if let Some(status) = departure.status
        && !status.success()
    {
        return Err(format!("{}, {name}: {}", contender.name(), describe(status)).into());
    }
    for (measure, value) in case.readings(&departure, gone) {
        bench.add(
            measure,
            &name,
            contender.name(),
            run,
            value.as_secs_f64() * 1e3,
        )?;
    }
    Ok(())
}

impl Case {
    fn name(&self) -> String {
        let speech = match (self.speech, self.parting) {
            (Speech::Http1, _) => "",
            (Speech::Http2, Parting::Closes) => ", HTTP/2",
            (Speech::Http2, Parting::Stays) => ", HTTP/2 that never closes",
            (Speech::WebSocket, _) => ", WebSocket",
        };
        let busy = if self.busy > 0 {
            format!(", {} in flight", self.busy)
        } else {
            String::new()
        };
        format!("{} idle{speech}{busy}", self.idle)
    }

    /// What a departure says; the signal's clock, but for the exit after the last answer.
    fn readings(
        &self,
        departure: &Departure,
        listener: Option<Duration>,
    ) -> Vec<(&'static str, Duration)> {
        let mut readings = Vec::new();
        // Who never exits is shown at the end of patience.
        let exit = departure.exit.unwrap_or(PATIENCE);
        let last_answer = departure
            .answered
            .last()
            .filter(|_| departure.answered.len() == self.busy);
        if self.busy == 0 {
            readings.push(("exit, ms", exit));
        }
        if let Some(&last) = last_answer {
            readings.push(("exit after the last answer, ms", exit.saturating_sub(last)));
            readings.push(("last answer, ms", last));
        }
        readings.extend(listener.map(|gone| ("listener closed, ms", gone)));
        let first_and_last = |times: &[Duration]| Some((*times.first()?, *times.last()?));
        if let Some((first, last)) = first_and_last(&departure.told)
            && self.speech != Speech::Http1
        {
            readings.push(("first told to go, ms", first));
            if departure.told.len() == self.idle {
                readings.push(("all told to go, ms", last));
            }
        }
        if let Some((_, last)) = first_and_last(&departure.closed)
            && departure.closed.len() == self.idle
        {
            readings.push(("all idle closed, ms", last));
        }
        readings
    }
}
