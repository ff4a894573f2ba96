//! `cargo xtask soak-verify`: the whole catalogue, again and again, on servers that keep their promises: nothing may
//! fail. The duck has all that the checks need, so none may be n/a but the few that are named here; and few may stay
//! inconclusive: a run that decides nothing shows nothing. Seeds of failures are printed, so that they can be had again.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use lameduck_verify::{Finding, Options, TargetSpec, Verdict, Verification};

use super::{Arguments, build_duck, lacks_namespace, spec};

/// Repetitions, if nobody says otherwise.
const ROUNDS: u32 = 50;
/// Seeds begin here: the same run can be had again.
const FIRST_SEED: u64 = 0x50a4_0000;

/// One check in so many may stay inconclusive; more is a failure.
const INCONCLUSIVE_ONE_IN: u32 = 20;

/// Whether an answer is wrong on a server that keeps its promises; `all` of them and has all that checks need, or only
/// those that no service may break.
fn is_wrong(finding: &Finding, all: bool) -> bool {
    // Which front stands before it is not declared.
    let may_lack = finding.id == "A2" || lacks_namespace(finding);
    match finding.verdict {
        Verdict::Fail => true,
        Verdict::Differs => all,
        Verdict::NotApplicable => all && !may_lack,
        _ => false,
    }
}

/// What all repetitions came to.
#[derive(Debug, Default)]
struct Soaked {
    checks: u32,
    failed: u32,
    differing: u32,
    inconclusive: u32,
    lacking: u32,
}

impl Soaked {
    fn ceiling(&self) -> u32 {
        self.checks / INCONCLUSIVE_ONE_IN
    }

    fn is_good(&self) -> bool {
        self.failed == 0 && self.inconclusive <= self.ceiling() && self.lacking < self.checks
    }

    /// Runs the catalogue once; differing manners and what is lacking are wrong where the target promises `all`.
    fn add(&mut self, name: &str, options: Options, all: bool) -> Result<(), String> {
        let (seed, begun) = (options.seed.unwrap_or_default(), Instant::now());
        let report = Verification::from(options)
            .run()
            .map_err(|error| format!("{name}, seed {seed:x}: {error}"))?;
        let before = self.failed;
        for finding in &report.checks {
            self.checks += 1;
            match finding.verdict {
                Verdict::Differs => self.differing += 1,
                Verdict::NotApplicable => self.lacking += 1,
                Verdict::Inconclusive => {
                    self.inconclusive += 1;
                    eprintln!("  {} inconclusive: {}", finding.id, finding.detail);
                }
                _ => {}
            }
            if is_wrong(finding, all) {
                self.failed += 1;
                eprintln!(
                    "  {} {} with seed {seed:x}: {}",
                    finding.id,
                    finding.verdict.word(),
                    finding.detail
                );
                for (name, figure) in &finding.figures {
                    eprintln!("    {name}: {figure:?}");
                }
            }
        }
        eprintln!(
            "{name}, seed {seed:x}: {} checks, {} wrong, {:.0} s",
            report.checks.len(),
            self.failed - before,
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

fn run(root: &Path, arguments: &Arguments) -> Result<Soaked, String> {
    let duck = build_duck(root)?;
    let only: Vec<&str> = arguments.only.iter().map(String::as_str).collect();
    let mut soaked = Soaked::default();
    for round in 0..arguments.rounds.unwrap_or(ROUNDS) {
        let seed = Some(FIRST_SEED + u64::from(arguments.from) + u64::from(round));
        let mut options = spec::options(spec::spec(duck.clone(), ""), &only);
        options.seed = seed;
        soaked.add("duck", options, true)?;
        let Some(lameduck) = &arguments.lameduck else {
            continue;
        };
        let lameduck = lameduck.to_string_lossy().into_owned();
        let mut options = spec::options(TargetSpec::embedded_demo(lameduck), &only);
        options.seed = seed;
        soaked.add("demo", options, false)?;
    }
    Ok(soaked)
}

/// Runs it; 1 when something was called wrong that is right, or too little was decided; 2 when nothing could be run.
pub(crate) fn soak(root: &Path, words: impl Iterator<Item = String>) -> ExitCode {
    match Arguments::parse(words).and_then(|arguments| run(root, &arguments)) {
        Ok(soaked) => {
            eprintln!(
                "soak-verify: {} checks, {} wrong, {} inconclusive (at most {} may be), {} n/a, {} differing in manners: {}",
                soaked.checks,
                soaked.failed,
                soaked.inconclusive,
                soaked.ceiling(),
                soaked.lacking,
                soaked.differing,
                if soaked.is_good() { "good" } else { "not good" }
            );
            ExitCode::from(u8::from(!soaked.is_good()))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_that_decides_nothing_is_not_good() {
        let soaked = |failed, inconclusive, lacking| Soaked {
            checks: 60,
            failed,
            inconclusive,
            lacking,
            ..Soaked::default()
        };
        assert!(soaked(0, 0, 1).is_good() && soaked(0, 3, 1).is_good());
        assert!(!soaked(1, 0, 0).is_good());
        assert!(!soaked(0, 4, 0).is_good());
        assert!(!soaked(0, 60, 0).is_good());
        assert!(!soaked(0, 0, 60).is_good());
        assert!(!Soaked::default().is_good());
    }
}
