//! `lameduck report`, as typed.

use std::path::PathBuf;

use clap::Args;

use super::verify::OutputArguments;

/// Show the report of an earlier run in another format, or what changed between runs
#[derive(Debug, Args)]
#[command(
    after_help = "Of several reports the last one is shown, held against each of those before it. The exit code is
0, or with --baseline 1 for a regression and 3 if nothing could be told.

Examples:
  lameduck report report.json
  lameduck report report.json --format html --output report.html
  lameduck report last-week.json today.json"
)]
pub(crate) struct ReportArguments {
    /// Reports in JSON, the oldest first; - is standard input
    #[arg(required = true, value_name = "REPORT.json")]
    pub(crate) reports: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}
