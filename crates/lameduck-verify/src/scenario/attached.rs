//! Owns the course for a process that runs already: it can be stopped once, so one drain has to tell all that one can.
//! Not: the drain or its verdicts (see `drain` and `judge`), or which checks are out of reach (see `reach`).

use std::sync::atomic::Ordering;

use super::attention::Watch;
use super::bench::Bench;
use super::drain::{Drained, drain_it};
use super::idle::IdleExit;
use super::{Start, judge, product, report};
use crate::options::Progress;
use crate::target::{Running, VerifyError};
use crate::verdict::{Finding, Report, Verdict};

/// Drains `running` once and judges what that shows.
pub(super) fn run(
    bench: &Bench<'_>,
    running: Running,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    progress(Progress::Scenario {
        name: "the one drain of a process that runs already",
        // Relaxed: a counter for display.
        done: bench.launches.load(Ordering::Relaxed) - 1,
        total: 1,
    });
    let server = product::kind(bench.options, &bench.facts, &running);
    let pass = drain_it(bench, &running)?;
    let start = Start {
        addr: running.place.url.addr.to_string(),
        server,
        ready: running.ready_after,
        output: pass.output.clone(),
    };
    drop(running);
    bench.ledger.check()?;
    let idle = IdleExit {
        exit: pass.departure.exit,
        took: pass.departure.took(),
        watch: Watch::from(&pass.departure),
    };
    let mut findings = Vec::new();
    if bench.wants("P1") {
        findings.push(bench.weigh(leaving(bench, &pass), &[idle.watch]));
    }
    let passes = [pass];
    findings.extend(judge::judge(bench, &passes));
    findings.extend(bench.unasked());
    Ok(report(bench, start, findings, &passes, idle))
}

/// P1 of a process that was busy: it is idle when its last client is gone.
fn leaving(bench: &Bench<'_>, pass: &Drained) -> Finding {
    let stop = &bench.options.stop;
    let grace = bench.options.patience();
    let Some(took) = pass.departure.took() else {
        let seconds = grace.as_secs_f64();
        return if !pass.departure.was_busy {
            let detail = format!(
                "it still ran {seconds} s after {stop}, with nothing in flight; it is left alone, as it is not ours"
            );
            bench.finding("P1", Verdict::Fail, detail)
        } else {
            let detail = format!(
                "it still ran {seconds} s after {stop}, with requests in flight; it is left alone, as it is not ours"
            );
            bench.finding("P1", Verdict::Inconclusive, detail)
        };
    };
    let detail = format!(
        "gone {:.0} ms after {stop}, which found it busy; its exit code is for its parent to see",
        took.as_secs_f64() * 1e3
    );
    bench
        .finding("P1", Verdict::Pass, detail)
        .with_figure("exit_after_ms", took)
}
