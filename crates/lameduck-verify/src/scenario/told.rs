//! A1: balancers are told before the door shuts, and liveness stays true.
//! Not: asking the pages (see `probes`), or the drain (see `drain`).

use std::time::{Duration, Instant};

use super::attention::Watch;
use super::bench::Bench;
use super::drain::Drained;
use super::probes::ProbeLog;
use crate::verdict::{Finding, Verdict};

pub(super) fn judge(bench: &Bench<'_>, passes: &[Drained]) -> Finding {
    let Some((pass, log)) = passes
        .iter()
        .find_map(|pass| pass.probes.as_ref().map(|log| (pass, log)))
    else {
        return bench.lacking(
            "A1",
            "the target declares no page that tells balancers it is leaving",
        );
    };
    let t = pass.departure.t;
    let (refused, told) = (first_refusal(pass), log.drain.first_false.map(|(at, _)| at));
    let (verdict, detail) = compare(pass, log);
    let mut finding = bench.finding("A1", verdict, detail);
    if verdict == Verdict::Pass
        && let (Some(told), Some(refused)) = (told, refused)
    {
        // The door may have shut as long before we found it shut as we were away, and then before the page said no.
        let held_up = bench.held_up(&[Watch { t, until: refused }]);
        if held_up.blurs() && refused.saturating_duration_since(told) <= held_up.longest {
            finding = finding.left_open(held_up);
        }
    }
    if let Some(told) = told {
        finding = finding.with_figure("false_after_ms", told.saturating_duration_since(t));
    }
    if let Some(refused) = refused {
        finding = finding.with_figure(
            "first_refused_after_ms",
            refused.saturating_duration_since(t),
        );
    }
    finding
}

/// What the pages said, held against when the door shut.
fn compare(pass: &Drained, log: &ProbeLog) -> (Verdict, String) {
    let t = pass.departure.t;
    let since = |at: Instant| at.saturating_duration_since(t);
    let refused = first_refusal(pass);
    let told = log.drain.first_false.map(|(at, _)| at);
    let dead_early = |at: Instant| {
        pass.departure
            .exit
            .is_none_or(|exit| at + Duration::from_millis(250) < exit.at)
    };
    let lives = log.liveness.as_ref().is_none_or(|page| {
        page.first_false.is_none() && !page.first_silent.is_some_and(dead_early)
    });
    let late =
        matches!((log.drain.last_true, refused), (Some(still), Some(refused)) if still > refused);
    if log.drain.last_true.is_none() {
        (
            Verdict::Differs,
            "the declared page never answered 2xx, not even before the signal".to_owned(),
        )
    } else if late {
        (
            Verdict::Differs,
            "the page still said yes when connects were refused already".to_owned(),
        )
    } else if told.is_none() {
        (
            Verdict::Differs,
            "the page never said no; it only vanished with the process".to_owned(),
        )
    } else if !lives {
        (
            Verdict::Differs,
            "the liveness page failed during the drain: an orchestrator would restart the process"
                .to_owned(),
        )
    } else {
        let told = told.map_or(Duration::ZERO, since);
        let door = refused.map_or_else(
            || "until the exit".to_owned(),
            |at| format!("for {:.0} ms", since(at).as_secs_f64() * 1e3),
        );
        (
            Verdict::Pass,
            format!(
                "said no {:.0} ms after the signal; the door stayed open {door}",
                told.as_secs_f64() * 1e3
            ),
        )
    }
}

/// The first refused connect of a pass.
pub(crate) fn first_refusal(pass: &Drained) -> Option<Instant> {
    let refusals = pass
        .engine
        .flows
        .iter()
        .flat_map(|flow| &flow.refused_connects);
    refusals
        .map(|(_, at)| *at)
        .filter(|at| *at >= pass.departure.t)
        .min()
}
