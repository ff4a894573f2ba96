//! `cargo xtask soak-verify`: the whole catalogue, again and again, on servers that keep their promises: nothing may
//! fail. What stays inconclusive is counted; seeds of failures are printed, so that they can be had again.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use lameduck_verify::{Options, TargetSpec, Verdict, Verification};

use super::{Arguments, build_duck, spec};

/// Repetitions, if nobody says otherwise.
const ROUNDS: u32 = 50;
/// Seeds begin here: the same run can be had again.
const FIRST_SEED: u64 = 0x50a4_0000;

/// What all repetitions came to.
#[derive(Debug, Default)]
struct Soaked {
    checks: u32,
    failed: u32,
    differing: u32,
    inconclusive: u32,
}

impl Soaked {
    /// Runs the catalogue once; differing manners are wrong where the target promises all of them.
    fn add(&mut self, name: &str, options: Options, all_manners: bool) -> Result<(), String> {
        let (seed, begun) = (options.seed.unwrap_or_default(), Instant::now());
        let report = Verification::from(options)
            .run()
            .map_err(|error| format!("{name}, seed {seed:x}: {error}"))?;
        let before = self.failed;
        for finding in &report.checks {
            self.checks += 1;
            let is_wrong = match finding.verdict {
                Verdict::Fail => true,
                Verdict::Differs => {
                    self.differing += 1;
                    all_manners
                }
                Verdict::Inconclusive => {
                    self.inconclusive += 1;
                    eprintln!("  {} inconclusive: {}", finding.id, finding.detail);
                    false
                }
                _ => false,
            };
            if is_wrong {
                self.failed += 1;
                eprintln!(
                    "  {} {} with seed {seed:x}: {}",
                    finding.id,
                    finding.verdict.word(),
                    finding.detail
                );
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
        let seed = Some(FIRST_SEED + u64::from(round));
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

/// Runs it; 1 when something was called wrong that is right, 2 when nothing could be run.
pub(crate) fn soak(root: &Path, words: impl Iterator<Item = String>) -> ExitCode {
    match Arguments::parse(words).and_then(|arguments| run(root, &arguments)) {
        Ok(soaked) => {
            eprintln!(
                "soak-verify: {} checks, {} wrong, {} inconclusive, {} differing in manners",
                soaked.checks, soaked.failed, soaked.inconclusive, soaked.differing
            );
            ExitCode::from(u8::from(soaked.failed > 0))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
