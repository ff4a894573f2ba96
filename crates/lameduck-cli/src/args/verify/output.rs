//! What becomes of the report.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The report")]
pub(crate) struct OutputArguments {
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Write the report here instead of to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write it in this format too, into this file, such as html=report.html; may be given again
    #[arg(long, value_name = "FORMAT=FILE", value_parser = also)]
    pub(crate) also: Vec<Also>,
    /// Send it to this OpenTelemetry collector too, such as http://127.0.0.1:4318: a span, a record for each check, counts
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    /// What makes the exit code 1: a loss, or any check that did not pass
    #[arg(long, value_enum, default_value_t = FailOnArgument::Loss)]
    pub(crate) fail_on: FailOnArgument,
    /// An earlier report in JSON: exit with 1 only on what became worse since
    #[arg(long, value_name = "REPORT.json")]
    pub(crate) baseline: Option<PathBuf>,
    /// Show what changed since this earlier report in JSON; may be given again
    #[arg(long, value_name = "REPORT.json")]
    pub(crate) compare: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: lameduck.verify/1
    Json,
    /// A page that needs nothing else
    Html,
    /// For a pull request
    Markdown,
    /// JUnit XML, for Jenkins, GitLab and others
    Junit,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// One more file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Also {
    pub(crate) format: Format,
    pub(crate) path: PathBuf,
}

fn also(text: &str) -> Result<Also, String> {
    let (format, path) = text
        .split_once('=')
        .filter(|(_, path)| !path.is_empty())
        .ok_or("not a format and a file, such as html=report.html")?;
    let format = Format::from_str(format, false).map_err(|_| {
        format!("`{format}` is no format; use one of text, json, html, markdown, junit, sarif")
    })?;
    Ok(Also {
        format,
        path: path.into(),
    })
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FailOnArgument {
    /// Lost requests, and a process that does not end
    Loss,
    /// Manners too
    Any,
}

impl From<FailOnArgument> for lameduck_verify::FailOn {
    fn from(argument: FailOnArgument) -> Self {
        match argument {
            FailOnArgument::Loss => Self::Loss,
            FailOnArgument::Any => Self::Any,
        }
    }
}
