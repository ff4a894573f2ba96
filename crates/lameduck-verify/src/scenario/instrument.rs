//! Owns the account of our own error.
//! Not: noting delays (see `observe::lateness`), or what they do to verdicts (see `attention`).

use std::time::{Duration, Instant};

use super::bench::Bench;
use super::drain::{Drained, SWEEP};
use super::judge::lateness_bound;
use crate::verdict::{Instrument, WriteLateness};

/// Looks at the clock, to see what one takes.
const LOOKS: u32 = 2_000;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_looked_at_as_it_is() {
        assert!(clock_step() < Duration::from_millis(20));
        assert!(clock_look() < Duration::from_millis(1));
    }
}
