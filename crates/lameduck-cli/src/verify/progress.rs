//! Runs the checks and shows how far they are.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};
use lameduck_verify::{Options, Progress, Report, Verification, VerifyError};

use crate::exit::Failure;

pub(super) fn measure(options: &Options) -> Result<Report, Failure> {
    watch(|progress| Verification::from(options.clone()).progress(progress).run())
}

/// Runs what reports its progress, and shows that.
pub(super) fn watch(
    run: impl FnOnce(&mut dyn FnMut(Progress)) -> Result<Report, VerifyError>,
) -> Result<Report, Failure> {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} launches  {msg}  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    // indicatif draws on stderr, and only where that is a terminal; scripts get lines instead.
    let lines = !io::stderr().is_terminal();
    let mut scenario = "";
    let report = run(&mut |progress| match progress {
        Progress::Scenario { name, done, total } => {
            scenario = name;
            bar.set_length(u64::from(total));
            bar.set_position(u64::from(done));
            bar.set_message(name);
            if lines {
                eprintln!("verify: {done}/{total} {name}");
            }
        }
        Progress::Launch { done, total, lost } => {
            bar.set_length(u64::from(total));
            bar.set_position(u64::from(done));
            if lost > 0 {
                bar.set_message(format!("{scenario}, {lost} lost so far"));
            }
        }
        _ => {}
    });
    bar.finish_and_clear();
    report.map_err(|error| {
        let failure = Failure::of(&error);
        let advised = error.to_string().contains("hint:");
        if advised || !matches!(error, VerifyError::Launch(_)) {
            return failure;
        }
        failure.hint("run the command by hand; its port is in the variable PORT and replaces {port}, --url and --ready-path say where it answers")
    })
}
