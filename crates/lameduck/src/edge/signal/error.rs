//! Why signals could not be taken.

use core::fmt;
use std::error::Error;
use std::io;

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

    /// The signal whose handler was refused; `None` when the pipe was.
    #[must_use]
    pub const fn signal(&self) -> Option<Signal> {
        match self.refused {
            Refused::Pipe => None,
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
        }
    }
}

impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
