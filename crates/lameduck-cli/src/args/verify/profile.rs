//! The file that says what a service is and what may be expected of it.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "The profile")]
pub(crate) struct ProfileArguments {
    /// Read what the service is and may be held to from this file (TOML); flags and CMD override what it says. It can
    /// name a command that is run, so it is never found by itself
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Start the service once, try out what it can do, and write a first profile to --output, or to stdout
    #[arg(long, conflicts_with_all = ["profile", "list"])]
    pub(crate) init: bool,
    /// Let --init replace a file that exists
    #[arg(long, requires = "init")]
    pub(crate) force: bool,
}
