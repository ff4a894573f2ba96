//! P8: P1 to P4 once more, with the target as PID 1 of a pid namespace: it gets no default actions there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::front::Sightings;
use crate::scenario::album::Album;
use crate::scenario::bench::Bench;
use crate::scenario::idle::{self, IdleExit};
use crate::scenario::stop;
use crate::target::{NO_NAMESPACE, VerifyError, Ward};
use crate::verdict::{Finding, Verdict};

/// One for P1 to P3 each, four for P4.
pub(super) const LAUNCHES: u32 = 7;

type Part<'p> = Box<dyn Fn() -> Result<Finding, VerifyError> + Send + Sync + 'p>;

pub(super) fn run(bench: &Bench<'_>, idle: IdleExit) -> Result<Finding, VerifyError> {
    let first = Bench {
        options: bench.options,
        facts: bench.facts.clone(),
        seed: bench.seed,
        launches: AtomicU32::new(0),
        lost: AtomicU64::new(0),
        album: Album::default(),
        sightings: Sightings::default(),
        ledger: Arc::clone(&bench.ledger),
        lateness: Arc::clone(&bench.lateness),
        ward: Ward::FirstProcess,
    };
    let found = run_parts(&first, idle);
    bench
        .launches
        .fetch_add(first.launches.load(Ordering::Relaxed), Ordering::Relaxed);
    match found {
        Err(VerifyError::Machine(NO_NAMESPACE, error)) => Ok(bench.lacking(
            "P8",
            &format!("no pid namespace can be made here ({error}); as root, or where unprivileged user namespaces are allowed, it can"),
        )),
        Err(error) => Err(error),
        Ok(found) => Ok(judge(bench, &found)),
    }
}

/// P1 alone, because it tells whether there are namespaces; then the others, together where that is allowed.
fn run_parts(first: &Bench<'_>, idle: IdleExit) -> Result<Vec<Finding>, VerifyError> {
    let running = first.launch()?;
    let ready_after = running.ready_after;
    let told = idle::stop_idle(first, &running);
    drop(running);
    let mut found = vec![idle::judge(first, told)];
    let mut parts: Vec<Part<'_>> = vec![Box::new(move || stop::early(first, ready_after))];
    if first.facts.speaks_h1 {
        parts.push(Box::new(move || stop::stuck(first, idle)));
        parts.push(Box::new(move || stop::repeat_late(first)));
    }
    let rest: Result<Vec<Finding>, VerifyError> = if first.options.target.copies() >= parts.len() {
        std::thread::scope(|scope| {
            let threads: Vec<_> = parts.iter().map(|part| scope.spawn(part)).collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        })
    } else {
        parts.iter().map(|part| part()).collect()
    };
    found.extend(rest?);
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(found)
}

fn judge(bench: &Bench<'_>, found: &[Finding]) -> Finding {
    let with = |verdict| {
        found
            .iter()
            .filter(move |finding| finding.verdict == verdict)
    };
    let worst = [Verdict::Fail, Verdict::Inconclusive, Verdict::Differs]
        .into_iter()
        .find_map(|verdict| with(verdict).next());
    let (verdict, detail) = match worst {
        Some(finding) => (
            finding.verdict,
            format!(
                "as PID 1, {} {}: {}",
                finding.id,
                finding.verdict.word(),
                finding.detail
            ),
        ),
        None => {
            let ids = |verdict| {
                let ids: Vec<&str> = with(verdict).map(|finding| finding.id.as_ref()).collect();
                ids.join(", ")
            };
            let lacking = match ids(Verdict::NotApplicable) {
                none if none.is_empty() => String::new(),
                lacking => format!("; {lacking} n/a as before"),
            };
            (
                Verdict::Pass,
                format!("as PID 1 it passes {}{lacking}", ids(Verdict::Pass)),
            )
        }
    };
    let mut finding = bench.finding("P8", verdict, detail);
    for part in found {
        let name = match part.id.as_ref() {
            "P1" => "p1",
            "P2" => "p2",
            "P3" => "p3",
            _ => "p4",
        };
        finding = finding.with_figure(name, part.verdict.word());
    }
    finding
}
