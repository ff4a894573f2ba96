//! `lameduck explain`, as typed.

use std::path::PathBuf;

use clap::Args;

/// Tell the story of a shutdown: who asked, what took how long, what was cut and why
#[derive(Debug, Args)]
#[command(
    after_help = "The file may be a service's whole stderr: the last line with schema lameduck.shutdown/1 is used."
)]
pub(crate) struct ExplainArguments {
    /// The report, or - for standard input
    #[arg(value_name = "REPORT.json")]
    pub(crate) report: PathBuf,
}
