//! Why signals could not be taken.

use core::fmt;
use std::error::Error;
use std::io;

use crate::sys::Signo;
use crate::vocab::Signal;

/// The system refused what taking signals needs.
#[derive(Debug)]
pub struct SignalError {
    refused: Refused,
    source: io::Error,
}

#[derive(Clone, Copy, Debug)]
enum Refused {
    Pipe,
    Handler(Signal),
    Held(Signo),
}

impl SignalError {
    pub(super) const fn pipe(source: io::Error) -> Self {
        Self {
            refused: Refused::Pipe,
            source,
        }
    }

    pub(super) const fn handler(signal: Signal, source: io::Error) -> Self {
        Self {
            refused: Refused::Handler(signal),
            source,
        }
    }

    /// A signalfd channel of this process has it.
    pub(super) fn held(signo: Signo) -> Self {
        Self {
            refused: Refused::Held(signo),
            source: io::Error::other("a signalfd shares a signal with nobody"),
        }
    }

    /// The signal whose handler was refused; `None` when the pipe was.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.refused {
            Refused::Pipe => None,
            Refused::Held(signo) => signo.signal(),
            Refused::Handler(signal) => Some(signal),
        }
    }
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refused {
            Refused::Pipe => write!(f, "cannot create the signal pipe: {}", self.source),
            Refused::Handler(signal) => {
                write!(f, "cannot install a handler for {signal}: {}", self.source)
            }
            Refused::Held(signo) => write!(
                f,
                "{signo} cannot be taken: a signalfd channel of this process has it; close the channel first, or start the \
                 lifecycle without {signo}"
            ),
        }
    }
}

impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
