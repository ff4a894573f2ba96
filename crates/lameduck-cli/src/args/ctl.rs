//! `lameduck ctl`, as typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// Look at a running service, and tell it to leave, over its control socket
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "A service has a control socket where it asked for one: `lameduck demo --control PATH`, or in a program `lameduck_http::control(&life, PATH).await?`. \
Only its own user, root and those whom it allows may connect; the kernel says who you are, and that stands in the cause of a drain and in the audit.

Try it:
  lameduck demo --control ./demo.sock &
  export LAMEDUCK_CONTROL=./demo.sock
  lameduck ctl status
  lameduck ctl drain --grace 5s --reason 'the disk is failing' && lameduck ctl watch

Exit codes:
  0    done; watch: the service has left, and drained
  1    the service refused, and said why: it is leaving already, a reload needs Running, …
  2    it could not be asked: no socket, nobody listens, no permission, no lameduck, a request that makes no sense
  3    watch: it ended without a last word: it was cut, or killed
  any  watch: that of the service, such as 124 (forced) or 1 (failed)"
)]
pub(crate) struct CtlArguments {
    /// Where the service has its control socket
    #[arg(long, global = true, value_name = "PATH", env = "LAMEDUCK_CONTROL")]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) deed: Deed,
}

/// What is asked of the service.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Deed {
    /// How it stands now: phase, what holds the exit, who asked, what is in flight, participants
    Status {
        /// For people, or the object as it came (lameduck.status/1)
        #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
        format: StatusFormat,
    },
    /// The same while it changes, until the service has left; in a terminal one picture, else a line for each change
    Watch,
    /// Tell it to leave: lame-duck window, drain, stop hooks, exit
    Drain {
        /// From now to SIGKILL, such as 5s, if there is less time than its plan has; it never gets more
        #[arg(long, value_name = "DURATION", value_parser = super::duration)]
        grace: Option<Duration>,
        /// Not now but in so long, such as 30s: until then it serves, and `cancel` takes it back
        #[arg(long = "in", value_name = "DURATION", value_parser = super::duration, conflicts_with = "grace")]
        delay: Option<Duration>,
        /// Why, for its report and its audit: a line of at most 256 bytes
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Take a drain back that was announced (`drain --in`) or waits for its turn; once clients have been told there is no way back
    Cancel {
        /// Why, for its report and its audit
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// End it now: what is in flight is lost
    Cut {
        /// Why, for its report and its audit
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Load its configuration again, as SIGHUP does; only while it runs
    Reload {
        /// Why, for its report and its audit
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// What every thread, task, request, connection and participant is doing, on standard output
    Dump,
    /// Give a participant more time than its budget, as far as the end of the drain allows; only while the service leaves
    Grant {
        /// Its name, as `lameduck ctl participants` has it
        name: String,
        /// How much more, such as 5s
        #[arg(value_parser = super::duration)]
        duration: Duration,
    },
    /// Who takes part in the shutdown, in this process and in others
    Participants {
        /// A table, or the object as it came
        #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
        format: StatusFormat,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// For people
    Text,
    /// One JSON object in one line
    Json,
}
