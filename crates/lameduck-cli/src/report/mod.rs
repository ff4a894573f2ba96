//! `lameduck report`: a report of `verify` read back, held against others, and written in any format.

mod export;
mod read;
mod write;

use std::process::ExitCode;

use lameduck_verify::{FailOn, Report};

use crate::{
    args::{OutputArguments, ReportArguments},
    exit::Failure,
};

pub(crate) use export::Export;
pub(crate) use write::{say, write};

pub(crate) fn run(arguments: &ReportArguments) -> Result<ExitCode, Failure> {
    let export = Export::to(arguments.output.otlp.as_deref())?;
    let Some((shown, earlier)) = arguments.reports.split_last() else {
        return Err(Failure::new("no report was given"));
    };
    let mut report = read::report(shown)?;
    // Its own comparisons stay; none of them decides here.
    for comparison in &mut report.compared {
        comparison.decides = false;
    }
    let others = Others::read(&arguments.output, earlier)?;
    let fail_on = FailOn::from(arguments.output.fail_on);
    others.hold_against(&mut report, fail_on);
    write(&report, &arguments.output, fail_on)?;
    export.send(&report);
    let baseline = report.compared.iter().find(|comparison| comparison.decides);
    Ok(ExitCode::from(
        baseline.map_or(0, lameduck_verify::Comparison::exit_code),
    ))
}

/// Earlier reports to hold one against: read before anything is measured, so that a mistyped name costs no run.
pub(crate) struct Others {
    baseline: Option<(String, Report)>,
    compared: Vec<(String, Report)>,
}

impl Others {
    /// Those of `--baseline` and `--compare`, and `more`.
    pub(crate) fn read(
        wanted: &OutputArguments,
        more: &[std::path::PathBuf],
    ) -> Result<Self, Failure> {
        let named = |path: &std::path::PathBuf| {
            Ok::<_, Failure>((path.display().to_string(), read::report(path)?))
        };
        Ok(Self {
            baseline: wanted.baseline.as_ref().map(named).transpose()?,
            compared: more
                .iter()
                .chain(&wanted.compare)
                .map(named)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Adds the comparisons to `report`, the baseline's first.
    pub(crate) fn hold_against(&self, report: &mut Report, fail_on: FailOn) {
        if let Some((name, earlier)) = &self.baseline {
            let mut comparison = report.compared_with(name, earlier, fail_on);
            comparison.decides = true;
            report.compared.push(comparison);
        }
        for (name, earlier) in &self.compared {
            let comparison = report.compared_with(name, earlier, fail_on);
            report.compared.push(comparison);
        }
    }
}
