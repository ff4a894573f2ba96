//! P5, P6, P7, P8 and P10: what else is owed by the process. One file for each; each has launches of its own.
//! Not: the stop itself (see `stop`).

mod config;
mod dump;
mod first;
mod interrupt;
mod leftovers;
mod reload;

use super::bench::Bench;
use super::idle::IdleExit;
use crate::target::VerifyError;
use crate::verdict::Finding;

/// Ids and how many launches each takes.
pub(crate) const IDS: [(&str, u32); 5] = [
    ("P5", 2),
    ("P6", 1),
    ("P7", 1),
    ("P8", first::LAUNCHES),
    ("P10", 1),
];

/// Makes the check of one of the ids.
pub(crate) fn run(
    bench: &Bench<'_>,
    id: &'static str,
    idle: IdleExit,
) -> Result<Finding, VerifyError> {
    match id {
        "P5" => interrupt::run(bench),
        "P6" => dump::run(bench),
        "P7" => reload::run(bench),
        "P8" => first::run(bench, idle),
        _ => leftovers::run(bench),
    }
}
