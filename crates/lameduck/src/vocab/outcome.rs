//! How a shutdown ended: data, not an error.

use core::fmt;

use super::Signal;

/// Who cut a shutdown short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CutBy {
    /// A repeated SIGTERM or SIGINT; the process dies by that signal.
    Signal(Signal),
    /// The program, or an operator through a control channel.
    Api,
}

/// How a process left. Return it from `main`: it carries the exit code.
///
/// | outcome | exit code |
/// |---|---|
/// | [`Drained`](Self::Drained) | 0 |
/// | [`Failed`](Self::Failed): the cause was a failure, or a stop hook failed | 1 |
/// | [`StartFailed`](Self::StartFailed) | 70 (`EX_SOFTWARE`, sysexits.h) |
/// | [`Impossible`](Self::Impossible): a plan or configuration that cannot be kept | 78 (`EX_CONFIG`) |
/// | [`Forced`](Self::Forced): the deadline ended something, or a hook overran | 124 (as `timeout(1)`), or the plan's `forced_exit_code` |
/// | [`Cut`](Self::Cut) by a signal | dies by that signal; as PID 1 128 + its number |
/// | [`Cut`](Self::Cut) by the API | 125 |
///
/// # Examples
/// ```
/// use lameduck::Outcome;
/// assert_eq!(Outcome::Drained.exit_code(), 0);
/// assert_eq!(Outcome::Forced { code: None }.exit_code(), 124);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "an outcome says whether anything was lost; return it from main"]
#[non_exhaustive]
pub enum Outcome {
    /// Asked, drained, every hook succeeded.
    Drained,
    /// Everything ended in time, but the cause was a failure or a stop hook failed.
    Failed,
    /// Start-up failed.
    StartFailed,
    /// The plan or the configuration cannot be kept.
    Impossible,
    /// The deadline ended something that was still in flight, or a hook overran the reserve.
    Forced {
        /// The plan's exit code for this outcome, where it sets one.
        code: Option<u8>,
    },
    /// The rest of the shutdown was cut.
    Cut(CutBy),
}

impl Outcome {
    /// The exit code that says this; for a cut by a signal, 128 + the signal's number.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::Failed => 1,
            Self::StartFailed => 70,
            Self::Impossible => 78,
            Self::Forced { code: Some(code) } => code,
            Self::Forced { code: None } => 124,
            #[expect(
                clippy::cast_sign_loss,
                clippy::cast_possible_truncation,
                reason = "signal numbers are 1 to 64"
            )]
            Self::Cut(CutBy::Signal(signal)) => 128 + signal.number() as u8,
            Self::Cut(CutBy::Api) => 125,
        }
    }

    /// One lower-case word for machines: `drained`, `failed`, `start-failed`, `impossible`, `forced`, `cut`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Failed => "failed",
            Self::StartFailed => "start-failed",
            Self::Impossible => "impossible",
            Self::Forced { .. } => "forced",
            Self::Cut(_) => "cut",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(CutBy::Signal(signal)) => write!(f, "cut by a repeated {signal}"),
            Self::Cut(CutBy::Api) => f.write_str("cut by request"),
            other => f.write_str(other.as_str()),
        }
    }
}

impl std::process::Termination for Outcome {
    fn report(self) -> std::process::ExitCode {
        std::process::ExitCode::from(self.exit_code())
    }
}
