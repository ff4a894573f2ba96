//! What a rule says: where, what is wrong, and what to do. One line each, so that editors and people can follow it.

use std::fmt;

/// Whether a finding fails the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Failure,
    Advice,
}

/// One complaint; the ordering groups failures first, then by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    path: String,
    line: u32,
    what: String,
}

impl Finding {
    /// A complaint that fails the run; `what` reads "this is so; do that".
    pub(crate) fn failure(path: &str, line: u32, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Failure,
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }

    /// A remark that does not fail the run.
    pub(crate) fn advice(path: &str, line: u32, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Advice,
            ..Self::failure(path, line, what)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.severity == Severity::Advice {
            "advice: "
        } else {
            ""
        };
        write!(f, "{}:{}: {mark}{}", self.path, self.line, self.what)
    }
}
