//! Owns the library's front door: a test of a target, put together call by call, and run.
//! Not: what the options mean (see `options`), or the run (see `scenario`).

use std::fmt;
use std::time::Duration;

use crate::declared::Waiver;
use crate::front::Front;
use crate::options::{Options, Progress, Stop, TargetSpec};
use crate::protocol::Protocol;
use crate::scenario;
use crate::target::VerifyError;
use crate::verdict::Report;

/// Begins a test of `target` with the defaults of the command line; [`run`](Verification::run) makes it.
///
/// # Examples
/// In an ordinary `#[test]`, against the binary of your service (`env!("CARGO_BIN_EXE_…")`):
///
/// ```no_run
/// use std::time::Duration;
/// use lameduck_verify::{Protocol, TargetSpec, verify};
///
/// let report = verify(TargetSpec::command(["./serve", "--port", "{port}"]))
///     .protocols([Protocol::H1])
///     .grace(Duration::from_secs(5))
///     .rounds(3)
///     .run()?;
/// report.assert_lossless();
/// # Ok::<(), lameduck_verify::VerifyError>(())
/// ```
#[must_use = "nothing is tested before `run`"]
pub fn verify<'p>(target: TargetSpec) -> Verification<'p> {
    Verification::from(Options::new(target))
}

/// A test of a target that was not run yet.
#[must_use = "nothing is tested before `run`"]
pub struct Verification<'p> {
    options: Options,
    progress: Box<dyn FnMut(Progress) + 'p>,
}

impl<'p> Verification<'p> {
    /// From the stop signal to SIGKILL, as your platform has it (default: 10 s).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// How the target is asked to stop (default: SIGTERM): a [`StopSignal`](crate::StopSignal), a command or a call.
    pub fn stop(mut self, stop: impl Into<Stop>) -> Self {
        self.options.stop = stop.into();
        self
    }

    /// Checks these protocols only, besides the process and its door (default: all that the target speaks).
    pub fn protocols(mut self, protocols: impl IntoIterator<Item = Protocol>) -> Self {
        self.options.protocols = protocols.into_iter().collect();
        self
    }

    /// Runs only these ids of the contract.
    pub fn only<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.options.only = ids.into_iter().map(Into::into).collect();
        self
    }

    /// Leaves these ids out.
    pub fn skip<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.options.skip = ids.into_iter().map(Into::into).collect();
        self
    }

    /// How many fresh processes the load checks start (default: 20).
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.options.rounds = rounds;
        self
    }

    /// Replays the random choices of an earlier run (default: fresh ones).
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// What stands before the service in production (default: nothing).
    pub fn front(mut self, front: Front) -> Self {
        self.options.front = front;
        self
    }

    /// How long after the deregistration the service is told to stop (default: at once); see [`Options::pre_stop`].
    pub fn pre_stop(mut self, pre_stop: Duration) -> Self {
        self.options.pre_stop = pre_stop;
        self
    }

    /// Lets a check decide nothing, and says why; it runs all the same.
    pub fn waive(mut self, id: impl Into<String>, reason: impl Into<String>) -> Self {
        self.options.waivers.push(Waiver {
            id: id.into(),
            reason: reason.into(),
        });
        self
    }

    /// Hears how far the run is.
    pub fn progress<'q>(self, hear: impl FnMut(Progress) + 'q) -> Verification<'q> {
        Verification {
            options: self.options,
            progress: Box::new(hear),
        }
    }

    /// Starts the target, stops it, and judges what its clients saw; as often as the checks need. Blocks.
    ///
    /// # Errors
    /// Fails when there is nothing to judge: unknown ids, or a target that never becomes ready. A target that loses
    /// requests is no error; it is the report.
    pub fn run(mut self) -> Result<Report, VerifyError> {
        scenario::run(&self.options, &mut self.progress)
    }
}

impl From<Options> for Verification<'_> {
    /// A test with whole options, as the command line makes them.
    fn from(options: Options) -> Self {
        Self {
            options,
            progress: Box::new(|_| {}),
        }
    }
}

impl fmt::Debug for Verification<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verification")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
