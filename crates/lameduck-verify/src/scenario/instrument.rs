//! Owns the account of our own error, and what it does to verdicts that depend on time.
//! Not: noting delays (see `observe::lateness`).

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::drain::{Drained, SWEEP};
use super::judge::lateness_bound;
use crate::verdict::{Finding, Instrument, Verdict, WriteLateness};

/// Looks at the clock, to see what one takes.
const LOOKS: u32 = 2_000;
/// Held up for so long, our clients can not hold a target to a bound of half a second.
pub(super) const STALL: Duration = Duration::from_millis(200);

/// What this run's instruments were like.
pub(super) fn account(bench: &Bench<'_>, passes: &[Drained]) -> Instrument {
    Instrument {
        clock_step_ns: clock_step().as_nanos() as f64,
        clock_look_ns: clock_look().as_nanos() as f64,
        signal: bench.ledger.signals.spread(),
        wakeups: bench.lateness.spread(),
        writes: SWEEP.iter().map(|offset| writes(passes, *offset)).collect(),
    }
}

fn clock_step() -> Duration {
    // SAFETY: all-zero is a valid timespec (plain C data).
    let mut step: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `step` is live. What fails leaves it zero.
    unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC, &raw mut step) };
    let nanos = u64::try_from(step.tv_nsec).unwrap_or(0);
    Duration::from_secs(u64::try_from(step.tv_sec).unwrap_or(0)) + Duration::from_nanos(nanos)
}

fn clock_look() -> Duration {
    let begun = Instant::now();
    for _ in 0..LOOKS {
        std::hint::black_box(Instant::now());
    }
    begun.elapsed() / LOOKS
}

fn writes(passes: &[Drained], offset: Duration) -> WriteLateness {
    let mut seen = WriteLateness {
        offset_ms: offset.as_secs_f64() * 1e3,
        ..WriteLateness::default()
    };
    let flows = passes.iter().flat_map(|pass| &pass.engine.flows);
    let swept = flows.filter(|flow| flow.offset == Some(offset));
    for exchange in swept.flat_map(|flow| &flow.exchanges) {
        if exchange.planned_at.is_some() && exchange.written_at.is_some() {
            let lateness = exchange.lateness();
            seen.written += 1;
            seen.late += u64::from(lateness > lateness_bound(offset));
            seen.max_us = seen
                .max_us
                .max((lateness.as_secs_f64() * 1e7).round() / 10.0);
        }
    }
    seen
}

impl Finding {
    /// Leaves open what was judged by time while this machine held our clients up for `stall` at its worst: the
    /// target was most likely held up too.
    pub(super) fn unless_stalled(mut self, stall: Duration) -> Self {
        if stall > STALL && matches!(self.verdict, Verdict::Fail | Verdict::Differs) {
            self.verdict = Verdict::Inconclusive;
            self.detail = format!(
                "this machine held our own clients up for {} ms, so this can not be told: {}",
                stall.as_millis(),
                self.detail
            );
            (self.consequence, self.remedy) = (None, None);
        }
        self.with_figure("held_up_ms", stall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Options, TargetSpec};
    use crate::scenario::finding;

    fn found(verdict: Verdict, stall: Duration) -> Finding {
        let options = Options::new(TargetSpec::command(["x"]));
        finding(&options, 7, "P3", verdict, "seen".to_owned()).unless_stalled(stall)
    }

    #[test]
    fn a_slow_machine_accuses_nobody() {
        for verdict in [Verdict::Fail, Verdict::Differs] {
            let left_open = found(verdict, STALL * 2);
            assert_eq!(left_open.verdict, Verdict::Inconclusive);
            assert!(left_open.detail.contains("400 ms") && left_open.detail.ends_with("seen"));
            assert!(left_open.remedy.is_none() && left_open.next.is_some());
            assert_eq!(found(verdict, STALL).verdict, verdict);
        }
        assert_eq!(found(Verdict::Pass, STALL * 2).verdict, Verdict::Pass);
    }

    #[test]
    fn the_clock_is_looked_at_as_it_is() {
        assert!(clock_step() < Duration::from_millis(20));
        assert!(clock_look() < Duration::from_millis(1));
    }
}
