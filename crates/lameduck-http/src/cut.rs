//! Why a response was cut on purpose, and the error of its body that says so.
//!
//! Owns the words; the layer that cuts is `Truncate`, and what the error becomes on the wire is the server's.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use h2::Reason;

/// Why a response was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// Who or what did it.
    pub by: TruncatedBy,
    /// The reason, for people and logs.
    pub why: Cow<'static, str>,
}

/// Who or what cut a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TruncatedBy {
    /// The drain was about to end.
    DrainEnd,
    /// It took longer than the layer allows.
    Overdue,
    /// The application: [`Truncation::cut`](crate::Truncation::cut) or [`Truncate::cut_all`](crate::Truncate::cut_all).
    Application,
}

impl fmt::Display for TruncatedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DrainEnd => "drain_end",
            Self::Overdue => "overdue",
            Self::Application => "application",
        })
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Cut {
    pub(crate) fn drain_end() -> Self {
        Self {
            by: TruncatedBy::DrainEnd,
            why: "the server is leaving, and has no more time".into(),
        }
    }

    pub(crate) fn overdue() -> Self {
        Self {
            by: TruncatedBy::Overdue,
            why: "the response took too long".into(),
        }
    }

    pub(crate) fn application(why: Cow<'static, str>) -> Self {
        Self {
            by: TruncatedBy::Application,
            why,
        }
    }
}

/// The error of a response body that was cut: the response does not look whole to its client.
#[derive(Debug)]
pub struct Truncated {
    cut: Cut,
    // What hyper looks for among an error's sources to choose the code of RST_STREAM.
    code: h2::Error,
}

impl Truncated {
    pub(crate) fn new(cut: Cut) -> Self {
        let code = match cut.by {
            TruncatedBy::Application => Reason::INTERNAL_ERROR,
            TruncatedBy::DrainEnd | TruncatedBy::Overdue => Reason::CANCEL,
        };
        Self {
            cut,
            code: code.into(),
        }
    }

    /// Why.
    #[must_use]
    pub const fn cut(&self) -> &Cut {
        &self.cut
    }

    /// What RST_STREAM says after `error`: our code, if it is or stems from one of these.
    pub(crate) fn reason_of(error: &(dyn Error + 'static)) -> Option<Reason> {
        let mut next = Some(error);
        // A chain that bites its own tail must not hold us.
        for _ in 0..16 {
            let error = next?;
            if let Some(truncated) = error.downcast_ref::<Self>() {
                return truncated.code.reason();
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the response was cut: {}", self.cut)
    }
}

impl Error for Truncated {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.code)
    }
}
