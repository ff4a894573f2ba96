//! Why a message cannot be read.

use alloc::string::String;
use core::fmt;

use super::MOST_BYTES;

/// A message that cannot be read, and why. What it lacks or has too much is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    TooLong,
    Syntax {
        at: usize,
        why: &'static str,
    },
    Field {
        name: &'static str,
        wanted: &'static str,
    },
    Type {
        found: String,
    },
}

impl Malformed {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind }
    }

    /// The type that nobody knows here, if that is what is wrong.
    #[must_use]
    pub fn unknown_type(&self) -> Option<&str> {
        match &self.kind {
            Kind::Type { found } => Some(found),
            _ => None,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::TooLong => write!(f, "a message is at most {MOST_BYTES} bytes long"),
            Kind::Syntax { at, why } => write!(f, "no JSON at byte {at}: {why}"),
            Kind::Field { name, wanted } => write!(f, "the field {name:?} must be {wanted}"),
            Kind::Type { found } => write!(f, "there is no message of type {found:?}"),
        }
    }
}

impl core::error::Error for Malformed {}
