//! Owns running one load again and again, each time in a fresh process, and adding up what came of it.
//! Not: what a round does (see `load`, `ws::load`, `mix`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::bench::Bench;
use super::load::Load;
use crate::target::VerifyError;

/// Rounds at once at most: more would load the machine, not the target.
const MAX_LANES: usize = 2;

/// Runs `count` rounds; `report` hears after each how many requests were lost so far.
pub(crate) fn run(
    bench: &Bench<'_>,
    count: u32,
    report: &(dyn Fn(u64) + Sync),
    round: &(dyn Fn(u64) -> Result<Load, VerifyError> + Sync),
) -> Result<Load, VerifyError> {
    let next = AtomicU32::new(0);
    let lost = AtomicU64::new(0);
    let total = Mutex::new(Load::default());
    let trouble = Mutex::new(None);
    let is_troubled = || {
        trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    };
    let work = || {
        loop {
            // Relaxed: only distinct numbers are needed; results travel through the mutex.
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count || is_troubled() {
                return;
            }
            match round(u64::from(index)) {
                Ok(one) => {
                    let so_far =
                        lost.fetch_add(one.at_stake.lost, Ordering::Relaxed) + one.at_stake.lost;
                    total
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .merge(&one);
                    report(so_far);
                }
                Err(error) => {
                    *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..bench.options.target.copies().min(MAX_LANES) {
            scope.spawn(work);
        }
    });
    match trouble.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}
