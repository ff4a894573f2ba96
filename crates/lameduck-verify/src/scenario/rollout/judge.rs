//! Owns the verdict on a rollout: what users saw of it through the front, held against what they saw before.
//! Not: the course of it (see the module above).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{FEWEST, Rolled, crowd, id};
use crate::catalogue;
use crate::front::{FrontView, GraceReport};
use crate::observe::outcome::{Exchange, Outcome, Tally};
use crate::options::{Options, TargetSpec};
use crate::protocol::Protocol;
use crate::scenario::bench::{Bench, finding, quote, time};
use crate::scenario::load::{self, Load, is_our_own};
use crate::verdict::{Finding, Report, Series, Verdict};

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
    series: Series,
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
            series: Series::default(),
        };
        let mut early = 0;
        for flow in &rolled.engine.flows {
            flow.exchanges.iter().for_each(|exchange| met.take(exchange, t));
            early += flow.refused_connects.iter().filter(|(_, at)| *at < t).count();
            early += flow.failed_handshakes.iter().filter(|(_, at)| *at < t).count();
            met.take_failed(&flow.failed_connects);
        }
        for flow in &rolled.engine.h2 {
            let calls = flow.calls.iter().map(|call| &call.exchange);
            calls.for_each(|exchange| met.take(exchange, t));
            early += flow.refused_connects.iter().filter(|(_, at)| *at < t).count();
            early += flow.failed_handshakes.iter().filter(|(_, at)| *at < t).count();
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
        self.series.add(exchange, t);
        let Some(ended) = exchange.ended_at else { return };
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
            finding(&options, seed, entry.id, Verdict::NotApplicable, reason.to_owned())
        })
        .collect();
    let place = catalogue::list().iter().position(|entry| entry.id == id);
    checks.insert(place.unwrap_or(0), judged);
    let mut view = met.view;
    view.declared = true;
    Report {
        users: vec![view],
        ..blank(&rolled, checks)
    }
}

fn judge(rolled: &Rolled<'_>, met: &Met, options: &Options) -> Finding {
    let (verdict, detail) = verdict(rolled, met);
    let tally = &met.load.at_stake;
    let mut found = finding(options, rolled.seed, id(rolled.options.protocol), verdict, detail)
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
    found.series = Some(met.series.clone());
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
            tally.count(Outcome::RefusedConnect) + tally.count(Outcome::HandshakeFailed)
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
        time(options.within),
        quote(&options.stop),
        quote(&options.until)
    ));
    text
}
