//! Owns the verdict on a rollout: what users saw of it through the front, held against what they saw before.
//! Not: the course of it (see the module above).

use std::time::{Duration, Instant};

use super::{FEWEST, Rolled, crowd, id};
use crate::catalogue;
use crate::front::{FrontView, GraceReport};
use crate::observe::outcome::{Exchange, Outcome};
use crate::options::{Options, TargetSpec};
use crate::protocol::Protocol;
use crate::scenario::again::{in_words, quote};
use crate::scenario::bench::finding;
use crate::scenario::load::{self, Load, is_our_own};
use crate::verdict::{
    ExitReport, Finding, Instrument, Output, PhaseSpan, Phases, Rate, Report, SCHEMA, SignalReport,
    TargetReport, Verdict, overall,
};

/// Where more than one request of so many fails before anything is begun, later failures say nothing.
const USUAL_FAILURES: u64 = 100;

/// What users met, before T and after.
struct Met {
    load: Load,
    view: FrontView,
    failed_before: u64,
    sent_before: u64,
    unreachable: u64,
    latency_before: Vec<Duration>,
    latency_after: Vec<Duration>,
}

impl Met {
    fn of(rolled: &Rolled<'_>) -> Self {
        let t = rolled.t;
        let mut met = Self {
            load: load::count(&rolled.engine, t),
            view: rolled.sightings.measured(rolled.options.front),
            failed_before: 0,
            sent_before: 0,
            unreachable: 0,
            latency_before: Vec::new(),
            latency_after: Vec::new(),
        };
        let mut early = 0;
        for flow in &rolled.engine.flows {
            flow.exchanges
                .iter()
                .for_each(|exchange| met.take(exchange, t));
            early += flow
                .refused_connects
                .iter()
                .filter(|(_, at)| *at < t)
                .count();
            early += flow
                .failed_handshakes
                .iter()
                .filter(|(_, at)| *at < t)
                .count();
            met.take_failed(&flow.failed_connects);
        }
        for flow in &rolled.engine.h2 {
            let calls = flow.calls.iter().map(|call| &call.exchange);
            calls.for_each(|exchange| met.take(exchange, t));
            early += flow
                .refused_connects
                .iter()
                .filter(|(_, at)| *at < t)
                .count();
            early += flow
                .failed_handshakes
                .iter()
                .filter(|(_, at)| *at < t)
                .count();
            met.take_failed(&flow.failed_connects);
        }
        let before = &met.load.before;
        met.sent_before = before.sent() + early as u64;
        met.failed_before = met.sent_before - before.served();
        met.latency_before.sort_unstable();
        met.latency_after.sort_unstable();
        met
    }

    fn take(&mut self, exchange: &Exchange, t: Instant) {
        let Some(ended) = exchange.ended_at else {
            return;
        };
        if exchange.outcome.is_some_and(Outcome::is_served) {
            let latencies = if exchange.is_at_stake(t) {
                &mut self.latency_after
            } else {
                &mut self.latency_before
            };
            latencies.push(ended.saturating_duration_since(exchange.begun_at));
        }
    }

    fn take_failed(&mut self, failed: &[(Instant, i32)]) {
        let theirs = failed.iter().filter(|(_, errno)| !is_our_own(*errno));
        self.unreachable += theirs.count() as u64;
    }

    /// Failures that no care of the client's could have met: a request that crossed with an announced close may be
    /// sent again, and refusals of HTTP/2 are made to be.
    fn failures(&self, hung: usize) -> u64 {
        let tally = &self.load.at_stake;
        let seen = [
            Outcome::RefusedConnect,
            Outcome::Refused503,
            Outcome::Error,
            Outcome::HandshakeFailed,
        ];
        let refused: u64 = seen.iter().map(|outcome| tally.count(*outcome)).sum();
        tally.lost - tally.crossed + refused + self.unreachable + hung as u64
    }
}

pub(super) fn report(rolled: Rolled<'_>) -> Report {
    let met = Met::of(&rolled);
    let options = as_options(&rolled);
    let seed = rolled.seed;
    let judged = judge(&rolled, &met, &options);
    let id = id(rolled.options.protocol);
    let others = catalogue::list().into_iter().filter(|entry| entry.id != id);
    let mut checks: Vec<Finding> = others
        .map(|entry| {
            let reason = "through a front, only the load of its users can be judged";
            finding(
                &options,
                seed,
                entry.id,
                Verdict::NotApplicable,
                reason.to_owned(),
            )
        })
        .collect();
    let place = catalogue::list().iter().position(|entry| entry.id == id);
    checks.insert(place.unwrap_or(0), judged);
    let tally = met.load.at_stake.clone();
    let stops = &met.load.series.stops;
    Report {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        contract: 1,
        seed: format!("{seed:x}"),
        target: target(&rolled),
        method: method(&rolled),
        verdict: overall(&checks),
        lost: tally.lost,
        crossed: tally.crossed,
        rate: Rate::of(tally.lost, tally.sent(), stops),
        requests: tally,
        users: vec![met.view],
        grace: GraceReport::default(),
        checks,
        timeline: Vec::new(),
        connections: Vec::new(),
        connections_left_out: 0,
        instrument: Instrument::default(),
        compared: Vec::new(),
        phases: phases(&rolled),
        signal: SignalReport {
            name: format!("`{}`", rolled.options.stop).into(),
            from_pid: std::process::id(),
        },
        exit: ExitReport::default(),
    }
}

fn target(rolled: &Rolled<'_>) -> TargetReport {
    let options = rolled.options;
    let plain = rolled.place.url.addr;
    let addr = rolled.place.tls.as_ref().map_or(plain, |url| url.addr);
    TargetReport {
        label: options.url.clone(),
        command: Vec::new(),
        addr: addr.to_string(),
        ready_ms: 0.0,
        launches: 0,
        facts: vec!["nothing was started: the instances behind the front are its own".to_owned()],
        // A front's `Server` field may be its own or that of what stands behind it.
        server: None,
        output: Output::default(),
    }
}

fn method(rolled: &Rolled<'_>) -> Vec<String> {
    let options = rolled.options;
    vec![
        format!(
            "{} users of {} asked GET {} through the front, {} of them on a new connection each time, {} to {} ms apart",
            crowd::KEEPING + crowd::CONNECTING,
            if options.protocol == Protocol::H2 {
                "HTTP/2"
            } else {
                "HTTP/1.1"
            },
            rolled.place.url.path,
            crowd::CONNECTING,
            crowd::THINK.from.as_millis(),
            crowd::THINK.to.as_millis()
        ),
        format!(
            "T is when `{}` was started; it was over when `{}` succeeded",
            options.stop, options.until
        ),
    ]
}

fn phases(rolled: &Rolled<'_>) -> Phases {
    let span = |phase: &str, took: Duration| PhaseSpan {
        phase: phase.to_owned(),
        took_ms: took.as_secs_f64() * 1e3,
    };
    let watched = rolled.ended_at - rolled.t;
    let over = rolled.over_after.unwrap_or(watched);
    Phases {
        source: "observed".into(),
        spans: vec![
            span("stop command", rolled.stop_took),
            span("rolling out", over.saturating_sub(rolled.stop_took)),
            span("afterwards", watched.saturating_sub(over)),
        ],
    }
}

fn judge(rolled: &Rolled<'_>, met: &Met, options: &Options) -> Finding {
    let (verdict, detail) = verdict(rolled, met);
    let tally = &met.load.at_stake;
    let mut found = finding(
        options,
        rolled.seed,
        id(rolled.options.protocol),
        verdict,
        detail,
    )
    .with_requests(tally.clone())
    .with_figure("users", crowd::KEEPING + crowd::CONNECTING)
    .with_figure("answered_before", met.load.before.served())
    .with_figure("failed_before", met.failed_before)
    .with_figure("hung_connects", rolled.hung_connects.len())
    .with_figure("unreachable", met.unreachable)
    .with_figure("stop_took_ms", rolled.stop_took)
    .with_figure("watched_ms", rolled.ended_at - rolled.t);
    if let Some(over) = rolled.over_after {
        found = found.with_figure("over_after_ms", over);
    }
    for (when, latencies) in [
        ("before", &met.latency_before),
        ("after", &met.latency_after),
    ] {
        for (name, part) in [("median", 50), ("p99", 99), ("slowest", 100)] {
            if let Some(latency) = quantile(latencies, part) {
                let figure = format!("{name}_latency_{when}_ms");
                found.figures.insert(figure.into(), latency.into());
            }
        }
    }
    for (name, at) in [
        ("first_error_after_ms", met.view.first_error_ms),
        ("last_error_after_ms", met.view.last_error_ms),
    ] {
        if let Some(at) = at {
            found = found.with_figure(name, at);
        }
    }
    found.series = Some(met.load.series.clone());
    found.next = found.next.map(|_| again(rolled));
    found
}

fn verdict(rolled: &Rolled<'_>, met: &Met) -> (Verdict, String) {
    let tally = &met.load.at_stake;
    let failures = met.failures(rolled.hung_connects.len());
    let asked = met.view.requests;
    let took = rolled.ended_at - rolled.t;
    if met.failed_before * USUAL_FAILURES > met.sent_before || met.sent_before < FEWEST {
        let detail = format!(
            "{} of {} requests failed before anything was begun: what failed later ({failures} of {asked}) may have other causes",
            met.failed_before, met.sent_before
        );
        return (Verdict::Inconclusive, detail);
    }
    if failures > 0 {
        let (first, last) = (met.view.first_error_ms, met.view.last_error_ms);
        let when = match (first, last) {
            (Some(first), Some(last)) => format!(
                ", the first {:.2} s and the last {:.2} s after the rollout began",
                first / 1e3,
                last / 1e3
            ),
            _ => String::new(),
        };
        let detail = format!(
            "{failures} of {asked} requests of users failed: {} lost, {} server errors, {} refused{when}",
            tally.lost,
            tally.count(Outcome::Error) + tally.count(Outcome::Refused503),
            tally.count(Outcome::RefusedConnect)
                + tally.count(Outcome::HandshakeFailed)
                + met.unreachable
                + rolled.hung_connects.len() as u64
        );
        return (Verdict::Fail, detail);
    }
    if rolled.over_after.is_none() {
        let detail = format!(
            "no request failed, but the rollout was not over after {:.0} s: `{}` had not succeeded",
            rolled.options.within.as_secs_f64(),
            rolled.options.until
        );
        return (Verdict::Inconclusive, detail);
    }
    if met.load.tool_trouble > 0 || tally.discarded * 10 > tally.sent() || tally.served() == 0 {
        let detail = format!(
            "this machine could not keep up: {} connects failed here, {} requests were written late, {} were answered",
            met.load.tool_trouble,
            tally.discarded,
            tally.served()
        );
        return (Verdict::Inconclusive, detail);
    }
    let crossed = match tally.crossed {
        0 => String::new(),
        crossed => format!("; {crossed} crossed with the front's close of an idle connection"),
    };
    let detail = format!(
        "no request of {asked} failed in {:.1} s of rollout{crossed}",
        took.as_secs_f64()
    );
    (Verdict::Pass, detail)
}

fn quantile(sorted: &[Duration], part: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((sorted.len() * part / 100).min(last)).copied()
}

/// Options that say enough for a finding.
fn as_options(rolled: &Rolled<'_>) -> Options {
    let mut target = TargetSpec::command(vec![rolled.options.stop.clone()]);
    target.label.clone_from(&rolled.options.url);
    Options {
        front: rolled.options.front,
        ..Options::new(target)
    }
}

/// The command that watches such a rollout again.
fn again(rolled: &Rolled<'_>) -> String {
    let options = rolled.options;
    let mut text = format!("lameduck verify --url {}", quote(&options.url));
    if !options.front.is_none() {
        text.push_str(&format!(" --front {}", options.front));
    }
    if options.protocol == Protocol::H2 {
        text.push_str(" --protocol h2");
    }
    text.push_str(&format!(
        " --seed {:x} --within {} --stop {} --until {}",
        rolled.seed,
        in_words(options.within),
        quote(&options.stop),
        quote(&options.until)
    ));
    text
}
