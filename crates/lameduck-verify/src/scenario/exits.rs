//! Gathers how long the exits of a run took, for the arithmetic of grace periods.
//! Not: the arithmetic (see `front`).

use super::bench::Bench;
use super::drain::Drained;
use super::idle::IdleExit;
use crate::front::{Exits, GraceReport};
use crate::verdict::{Figure, Finding, Verdict};

pub(super) fn reckon(
    bench: &Bench<'_>,
    idle: IdleExit,
    passes: &[Drained],
    findings: &[Finding],
) -> GraceReport {
    let mut exits = Exits {
        longest_request: bench.sightings.longest(),
        ..Exits::default()
    };
    exits.note("nothing in flight", idle.took);
    for pass in passes {
        exits.note("requests in flight", pass.departure.took());
    }
    // Without the figure it was not tried out, unless it failed by never exiting.
    let stuck = findings.iter().find(|finding| finding.id == "P2");
    if let Some(stuck) = stuck {
        let after = match stuck.figures.get("exit_after_ms") {
            Some(Figure::Measure(after)) => Some(*after),
            _ => None,
        };
        if after.is_some() || stuck.verdict == Verdict::Fail {
            exits.note_forced("a request that never ends", after);
        }
    }
    let options = bench.options;
    exits.reckon(options.grace, options.pre_stop, options.front)
}
