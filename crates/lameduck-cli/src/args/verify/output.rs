//! What becomes of the report.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The report")]
pub(crate) struct OutputArguments {
    /// Text for people or JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Write the report here instead of to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What makes the exit code 1: a loss, or any check that did not pass
    #[arg(long, value_enum, default_value_t = FailOnArgument::Loss)]
    pub(crate) fail_on: FailOnArgument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: lameduck.verify/1
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FailOnArgument {
    /// Lost requests, and a process that does not end
    Loss,
    /// Manners too
    Any,
}
