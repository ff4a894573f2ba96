//! Exit codes and error messages of the command: one table, one form.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for `verify`: nothing failed |
//! | 1 | `verify`: something failed; `ctl`: the service refused |
//! | 2 | usage, or something that was needed could not be had |
//! | 3 | `verify`: nothing failed, but something was inconclusive |
//! | 3 | `ctl watch`: the service ended without a last word |
//! | others | `demo`: the outcome of its shutdown; `ctl watch`: that of the service |

use std::{error::Error, fmt::Display, process::ExitCode};

use lameduck_verify::printable;

/// Usage or set-up.
const SET_UP: u8 = 2;

/// Why a subcommand could not do its work: one sentence, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure with this message.
    pub(crate) fn new(what: impl Display) -> Self {
        Self {
            what: what.to_string(),
            hint: None,
            code: SET_UP,
        }
    }

    /// A failure with an error's message and those of its causes.
    pub(crate) fn of(error: &dyn Error) -> Self {
        let mut what = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !what.contains(&cause_text) {
                what.push_str(": ");
                what.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::new(what)
    }

    /// The same with advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with another exit code.
    pub(crate) const fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The sentence.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Whether this is its exit code.
    pub(crate) const fn exits_with(&self, code: u8) -> bool {
        self.code == code
    }

    /// Says it on stderr; returns the code.
    pub(crate) fn report(self) -> ExitCode {
        // What could not be read, or a target that did not start, may have a say in it.
        let plain = |text: &str| text.lines().map(printable).collect::<Vec<_>>().join("\n");
        eprintln!("error: {}", plain(&self.what));
        if let Some(hint) = self.hint {
            eprintln!("hint: {}", plain(&hint));
        }
        ExitCode::from(self.code)
    }
}
