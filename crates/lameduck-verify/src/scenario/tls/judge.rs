//! Owns the verdicts over TLS of the second drain: TLS-1 to TLS-4.
//! Not: making the drain (see `clients` and `second`).

use std::time::{Duration, Instant};

use crate::declared::LatePolicy;
use crate::observe::flow::Flow;
use crate::observe::outcome::{End, Outcome, Tally};
use crate::scenario::attention::Watch;
use crate::scenario::bench::Bench;
use crate::scenario::drain::SWEEP;
use crate::scenario::judge::{in_words, lateness_bound, offset_in_words, refused_note};
use crate::scenario::second::{Held, Seconded};
use crate::verdict::{Finding, Verdict};

pub(super) const LACKING: &str =
    "no TLS door is known; --tls-url or {tls_port} in the command would give one";
/// At least so many of the eight offsets need a sample in time.
const OFFSETS_NEEDED: usize = 6;
/// An honest client is delayed when its handshake and first answer take so much longer than usual.
const DELAYED: Duration = Duration::from_millis(700);
/// Clients without TLS wait for no handshake: when they waited for this part of the bound, the machine or the target was slow
/// for all.
const SLOW_FOR_ALL: u32 = 4;
/// But who waited for so many times as long as they waited for something else besides.
const APART: u32 = 8;
/// A handshake and a request take so many turns of our own loop, each of which may come late.
const TURNS: u32 = 6;

/// Judges all of them.
pub(crate) fn judge(bench: &Bench<'_>, passes: &[Seconded]) -> Vec<Finding> {
    if !bench.facts.speech.tls {
        return ["TLS-1", "TLS-2", "TLS-3", "TLS-4"]
            .map(|id| bench.lacking(id, LACKING))
            .into();
    }
    vec![
        Shaking::of(passes, bench.options.target.late).judge(bench),
        stalled(bench, passes),
        farewells(bench, passes),
        undelayed(bench, passes),
    ]
}

/// Every sweep that was asked for has enough samples in time, or has failed already.
pub(crate) fn is_covered(bench: &Bench<'_>, passes: &[Seconded]) -> bool {
    if !bench.facts.speech.tls || !bench.wants("TLS-1") {
        return true;
    }
    let shaking = Shaking::of(passes, bench.options.target.late);
    shaking.poised == 0 || shaking.worst.is_some() || shaking.is_covered()
}

fn of_group<'p>(
    passes: &'p [Seconded],
    group: &'static str,
) -> impl Iterator<Item = (&'p Seconded, &'p Flow)> {
    passes.iter().flat_map(move |pass| {
        let flows = pass.engine.group(group);
        flows.map(move |flow| (pass, flow))
    })
}

/// What became of handshakes that were under way at the signal.
#[derive(Debug, Default)]
struct Shaking {
    tally: Tally,
    poised: u64,
    unserved: u64,
    /// Refused in the way that the target declares for late requests.
    refused: u64,
    late_policy: LatePolicy,
    late: u64,
    covered: [bool; SWEEP.len()],
    worst: Option<(Duration, Outcome)>,
}

impl Shaking {
    fn of(passes: &[Seconded], late_policy: LatePolicy) -> Self {
        let mut shaking = Self {
            late_policy,
            ..Self::default()
        };
        for (pass, flow) in of_group(passes, "tls-shaking") {
            if flow.was_poised {
                shaking.take(flow, pass.t());
            }
        }
        shaking
    }

    fn take(&mut self, flow: &Flow, t: Instant) {
        self.poised += 1;
        let offset = flow.offset.unwrap_or_default();
        let outcome = match flow.exchanges.first() {
            Some(exchange) => {
                self.tally.add(exchange);
                // Behind a handshake, a client that finds the connection ended has been turned away by its end.
                exchange.outcome.unwrap_or(Outcome::Eof)
            }
            None => {
                self.tally.add_outcome(Outcome::HandshakeFailed);
                Outcome::HandshakeFailed
            }
        };
        // Only its going on is ours; how long the rest takes is the target's affair. One that was ended before is in
        // time too.
        let in_time = flow
            .resumed_at
            .is_none_or(|at| at <= t + offset + lateness_bound(offset));
        self.refused += u64::from(self.late_policy.is_refusal(outcome));
        // Who went on too late may have met the end of a patience that is no fault.
        if in_time && !self.late_policy.is_kept_by(outcome) {
            self.unserved += 1;
            self.worst.get_or_insert((offset, outcome));
        }
        match SWEEP.iter().position(|known| *known == offset) {
            Some(index) if in_time => self.covered[index] = true,
            _ => self.late += 1,
        }
    }

    fn is_covered(&self) -> bool {
        self.covered.iter().filter(|covered| **covered).count() >= OFFSETS_NEEDED
    }

    fn judge(self, bench: &Bench<'_>) -> Finding {
        let poised = self.poised;
        let (verdict, detail) = if poised == 0 {
            (
                Verdict::NotApplicable,
                "no handshake could be kept under way until the signal".to_owned(),
            )
        } else if let Some((offset, outcome)) = self.worst {
            let when = offset_in_words(offset);
            let how = in_words(outcome);
            (
                Verdict::Fail,
                format!(
                    "{} of {poised} not served; one that went on {when} after the signal {how}",
                    self.unserved
                ),
            )
        } else if !self.is_covered() {
            let detail = format!(
                "this machine was too busy: {} of {poised} handshakes went on too late",
                self.late
            );
            (Verdict::Inconclusive, detail)
        } else {
            let detail = format!(
                "{poised} of {poised} became whole, {} were served{}",
                poised - self.refused,
                refused_note(self.refused)
            );
            (Verdict::Pass, detail)
        };
        bench
            .finding("TLS-1", verdict, detail)
            .with_requests(self.tally)
            .with_figure("handshakes", poised)
            .with_figure("late", self.late)
    }
}

fn stalled(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let mut held = Held::default();
    for (pass, flow) in of_group(passes, "tls-stalled").filter(|(_, flow)| flow.was_poised) {
        let end = flow.end().map(|(at, _)| at);
        held.take(bench, &pass.departure, end);
    }
    held.judge(bench, "TLS-2", "stalled handshake")
}

/// How connections ended that had a whole handshake.
#[derive(Debug, Default)]
struct Farewells {
    notified: u64,
    bare: u64,
    reset: u64,
}

impl Farewells {
    fn take(&mut self, end: Option<End>, notified: bool) {
        match end {
            Some(End::Fin) if notified => self.notified += 1,
            Some(End::Fin) => self.bare += 1,
            Some(End::Reset) => self.reset += 1,
            Some(End::GaveUp) | None => {}
        }
    }
}

fn farewells(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let mut seen = Farewells::default();
    for (pass, flow) in of_group(passes, "tls-idle").filter(|(_, flow)| flow.was_poised) {
        let cut = cut_by_exit(bench, pass, flow.end().map(|(at, _)| at));
        if !cut {
            seen.take(flow.end().map(|(_, end)| end), flow.was_notified());
        }
    }
    for group in ["h2-idle", "h2-in-flight"] {
        for pass in passes {
            for flow in pass
                .h2(group)
                .filter(|flow| flow.was_poised && flow.is_tls())
            {
                let Some(log) = flow.conns.last() else {
                    continue;
                };
                if !cut_by_exit(bench, pass, log.end.map(|(at, _)| at)) {
                    seen.take(log.end.map(|(_, end)| end), log.notified);
                }
            }
        }
    }
    let Farewells {
        notified,
        bare,
        reset,
    } = seen;
    let all = notified + bare + reset;
    let (verdict, detail) = if all == 0 {
        (
            Verdict::NotApplicable,
            "no TLS connection was closed by the target itself".to_owned(),
        )
    } else if bare > 0 {
        (
            Verdict::Fail,
            format!(
                "{bare} of {all} connections ended by a bare FIN: a client can not tell that from an attack"
            ),
        )
    } else if reset > 0 {
        (
            Verdict::Fail,
            format!("{reset} of {all} connections were reset"),
        )
    } else {
        (
            Verdict::Pass,
            format!("{all} of {all} closes began with close_notify"),
        )
    };
    bench
        .finding("TLS-3", verdict, detail)
        .with_figure("close_notify", notified)
        .with_figure("bare_fin", bare)
        .with_figure("reset", reset)
}

/// The kernel ended it, when a forced exit or the kill did: that is no orderly close.
fn cut_by_exit(bench: &Bench<'_>, pass: &Seconded, end: Option<Instant>) -> bool {
    let mut held = Held::default();
    held.take(bench, &pass.departure, end);
    held.held > 0
}

/// How long honest newcomers waited beside bad ones.
#[derive(Debug, Default)]
struct Waits {
    served: u64,
    delayed: u64,
    slowest: Duration,
}

impl Waits {
    fn of(passes: &[Seconded], bound: Duration) -> Self {
        let mut waits = Self::default();
        for (pass, flow) in of_group(passes, "tls-newcomers") {
            // Whoever was never served, and had not waited for long when the signal came, was not delayed but dropped: that
            // is for TLS-1, A3 and A5.
            let unserved_counts = |opened: Instant| opened + bound < pass.t();
            for exchange in &flow.exchanges {
                let Some(ended) = exchange.ended_at else {
                    continue;
                };
                let is_served = exchange.outcome.is_some_and(Outcome::is_served);
                waits.served += u64::from(is_served);
                if is_served || unserved_counts(exchange.opened_at) {
                    waits.add(exchange.opened_at, ended, bound);
                }
            }
            for (dialled, ended) in &flow.failed_handshakes {
                if unserved_counts(*dialled) {
                    waits.add(*dialled, *ended, bound);
                }
            }
        }
        waits
    }

    fn add(&mut self, from: Instant, to: Instant, bound: Duration) {
        let took = to.saturating_duration_since(from);
        self.slowest = self.slowest.max(took);
        self.delayed += u64::from(took > bound);
    }
}

fn undelayed(bench: &Bench<'_>, passes: &[Seconded]) -> Finding {
    let bound = DELAYED + bench.facts.speech.tls_took * 4;
    let Waits {
        served,
        delayed,
        slowest,
    } = Waits::of(passes, bound);
    // Those of TLS-1 are in the middle of theirs until after the signal: to a server they look like the stalled ones.
    let bad = ["tls-stalled", "tls-hostile", "tls-shaking"]
        .into_iter()
        .flat_map(|group| of_group(passes, group));
    let bad = bad.filter(|(_, flow)| !flow.marks.is_empty()).count();
    let millis = slowest.as_secs_f64() * 1e3;
    let watches: Vec<Watch> = passes
        .iter()
        .map(|pass| Watch::from(&pass.departure))
        .collect();
    let late = bench.held_up(&watches).longest;
    let plain = longest_wait(passes, "plain-newcomers");
    let (verdict, detail) = if delayed > 0 && late * TURNS > bound {
        let detail = format!(
            "this machine was too busy: {delayed} honest clients waited for more than {} ms, but our own side was late by up to {} ms",
            bound.as_millis(),
            late.as_millis()
        );
        (Verdict::Inconclusive, detail)
    } else if delayed > 0 && plain * SLOW_FOR_ALL > bound && slowest < plain * APART {
        let detail = format!(
            "this machine or the target was too busy: {delayed} honest clients waited for more than {} ms, but those without TLS for up to {} ms",
            bound.as_millis(),
            plain.as_millis()
        );
        (Verdict::Inconclusive, detail)
    } else if delayed > 0 {
        let detail = format!(
            "{delayed} honest clients waited for more than {} ms while {bad} others stalled, took their time or spoke no TLS",
            bound.as_millis()
        );
        (Verdict::Fail, detail)
    } else if served == 0 {
        (
            Verdict::Fail,
            format!(
                "no honest client was served while {bad} others stalled, took their time or spoke no TLS"
            ),
        )
    } else {
        let detail = format!(
            "{served} new clients served within {millis:.0} ms while {bad} others stalled, took their time or spoke no TLS"
        );
        (Verdict::Pass, detail)
    };
    bench
        .finding("TLS-4", verdict, detail)
        .with_figure("bad_clients", bad)
        .with_figure("served", served)
        .with_figure("slowest_ms", slowest)
        .with_figure("slowest_without_tls_ms", plain)
        .with_figure("own_lateness_ms", late)
}

/// From the connect to the answer, of those who were answered.
fn longest_wait(passes: &[Seconded], group: &'static str) -> Duration {
    let exchanges = of_group(passes, group).flat_map(|(_, flow)| &flow.exchanges);
    let waits = exchanges.filter_map(|exchange| {
        let is_served = exchange.outcome.is_some_and(Outcome::is_served);
        let ended = exchange.ended_at.filter(|_| is_served)?;
        Some(ended.saturating_duration_since(exchange.opened_at))
    });
    waits.max().unwrap_or_default()
}
