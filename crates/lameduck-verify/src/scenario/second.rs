//! The second drain: HTTP/2 and TLS clients of every kind in one launch, one signal, many ids.
//! Owns the launch and who held it up; `h2` and `tls` own the clients and the verdicts.

use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::{Bench, Departure, await_departure};
use super::settling::Settling;
use super::vague::unplaced;
use super::{h2, tls};
use crate::observe::engine::Engine;
use crate::observe::flow::Flow;
use crate::observe::h2 as wire;
use crate::observe::urgency::Urgency;
use crate::target::VerifyError;
use crate::verdict::{Finding, Verdict};

pub(crate) const IDS: [&str; 13] = [
    "H2-01", "H2-02", "H2-03", "H2-04", "H2-05", "H2-06", "H2-07", "H2-08", "H2-10", "TLS-1",
    "TLS-2", "TLS-3", "TLS-4",
];
/// How long opening all connections may take.
const OPENING_BOUND: Duration = Duration::from_secs(5);
/// What is in flight is so old at T.
const AGE_AT_STOP: Duration = Duration::from_millis(300);
/// All writes of a sweep are over by then.
const SWEEP_SPAN: Duration = Duration::from_millis(120);
/// A drain whose samples came too late is made again, up to so many in all.
const MAX_PASSES: usize = 3;
/// Whoever is still connected so short before a forced exit was ended by it.
const AT_THE_END: Duration = Duration::from_millis(100);

/// What one drain showed.
#[derive(Debug)]
pub(crate) struct Seconded {
    pub(crate) engine: Engine,
    pub(crate) departure: Departure,
}

impl Seconded {
    pub(crate) fn t(&self) -> Instant {
        self.departure.t
    }

    pub(crate) fn h2(&self, group: &'static str) -> impl Iterator<Item = &wire::flow::Flow> {
        self.engine
            .h2
            .iter()
            .filter(move |flow| flow.group == group)
    }
}

/// Drains, until every sweep has its samples, and judges all that was asked for.
pub(crate) fn run(bench: &Bench<'_>) -> Result<Vec<Finding>, VerifyError> {
    let speech = bench.facts.speech;
    let mut passes = Vec::new();
    while (speech.speaks_h2() || speech.tls) && passes.len() < MAX_PASSES {
        passes.push(drain(bench)?);
        if tls::judge::is_covered(bench, &passes) && h2::judge::is_covered(bench, &passes) {
            break;
        }
    }
    let mut findings = h2::judge::judge(bench, &passes);
    findings.extend(tls::judge::judge(bench, &passes));
    findings.retain(|finding| bench.wants(&finding.id));
    let departures: Vec<Departure> = passes.iter().map(|pass| pass.departure).collect();
    let watches: Vec<Watch> = departures.iter().map(Watch::from).collect();
    let findings = bench.weigh_all(findings, &watches);
    Ok(unplaced(bench, findings, &departures))
}

fn drain(bench: &Bench<'_>) -> Result<Seconded, VerifyError> {
    let running = bench.launch()?;
    let mut engine = bench.engine(&running);
    tls::clients::open(bench, &running, &mut engine);
    h2::clients::open_waiting(bench, &running, &mut engine);
    let begun = Instant::now();
    let mut settling = Settling::new();
    engine.run(begun + OPENING_BOUND, |engine| {
        let is_awaited = |group: &str| !group.ends_with("newcomers");
        let flows = engine.flows.iter().filter(|flow| is_awaited(flow.group));
        let flows = flows.map(|flow| flow.is_poised() || is_over(flow));
        let streams = engine.h2.iter().filter(|flow| is_awaited(flow.group));
        let streams = streams.map(|flow| flow.is_poised() || flow.is_over());
        settling.is_over(flows.chain(streams), Instant::now())
    });
    // Requests run from now on, so that they still do at T; and honest clients come when the bad ones are there.
    h2::clients::open_busy(bench, &running, &mut engine);
    tls::clients::open_newcomers(bench, &running, &mut engine);
    let settled = Instant::now();
    let urgency = Urgency::raise();
    engine.run(settled + AGE_AT_STOP, |_| running.exit().is_some());
    engine.note_eve();
    engine.run(Instant::now(), |_| false);
    engine.note_stop(running.stop(&bench.options.stop));
    let t = engine.stopped_at().unwrap_or(begun);
    engine.run(t + SWEEP_SPAN, |_| false);
    drop(urgency);
    let departure = await_departure(&mut engine, &running, t, bench.options.patience());
    bench.album.add(&engine, t);
    Ok(Seconded { engine, departure })
}

fn is_over(flow: &Flow) -> bool {
    flow.is_finished() || flow.is_in_flight() || flow.end().is_some()
}

/// What became of clients that should not hold the exit.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) poised: u64,
    /// Still connected when the process was killed, or when its deadline cut them.
    pub(crate) held: u64,
    /// How long after the signal the last of the others was ended.
    pub(crate) last: Duration,
    killed: bool,
}

impl Held {
    pub(crate) fn take(&mut self, bench: &Bench<'_>, departure: &Departure, end: Option<Instant>) {
        self.poised += 1;
        let forced = bench.options.target.forced_exit;
        let is_held = match departure.exit {
            None => {
                // What ended after the grace period ended by the kill.
                let over = departure.t + bench.options.patience();
                end.is_none_or(|end| end >= over)
            }
            Some(exit) if forced.is_some() && exit.code() == forced => {
                end.is_none_or(|end| end + AT_THE_END >= exit.at)
            }
            Some(_) => false,
        };
        self.killed |= departure.exit.is_none();
        if is_held {
            self.held += 1;
        } else if let Some(end) = end {
            let after = end.saturating_duration_since(departure.t);
            self.last = self.last.max(after);
        }
    }

    /// `who` in words, for one and for many.
    pub(crate) fn judge(&self, bench: &Bench<'_>, id: &'static str, who: &str) -> Finding {
        let (poised, held) = (self.poised, self.held);
        let (verdict, detail) = if poised == 0 {
            (
                Verdict::NotApplicable,
                format!("the target ended every {who} before the signal"),
            )
        } else if held > 0 && self.killed {
            let detail = format!(
                "{held} of {poised} ({who}) were still open when the grace period was over, and so was the process"
            );
            (Verdict::Fail, detail)
        } else if held > 0 {
            let detail =
                format!("{held} of {poised} ({who}) were ended by nothing but the forced exit");
            (Verdict::Fail, detail)
        } else {
            let last = self.last.as_secs_f64() * 1e3;
            let detail =
                format!("{poised} of {poised} ended, the last {last:.0} ms after the signal");
            (Verdict::Pass, detail)
        };
        bench
            .finding(id, verdict, detail)
            .with_figure("connections", poised)
            .with_figure("held", held)
            .with_figure("last_end_ms", self.last)
    }
}
