//! Why something was cancelled, and by whom: what travels with a cancellation.

use alloc::sync::Arc;
use core::fmt;

use super::Cause;

/// Why something was cancelled, and by whom. Clones are the same.
///
/// # Examples
/// ```
/// use lameduck::{Cancelled, Scope, Why};
/// let cancelled = Cancelled::new(Scope::Participant("db".into()), Why::Overdue, None);
/// assert_eq!(cancelled.to_string(), "participant db was given up: it had its time");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cancelled {
    inner: Arc<Inner>,
}

#[derive(PartialEq, Eq, Hash)]
struct Inner {
    scope: Scope,
    why: Why,
    cause: Option<Cause>,
}

impl Cancelled {
    /// A cancellation of this scope.
    #[must_use]
    pub fn new(scope: Scope, why: Why, cause: Option<Cause>) -> Self {
        Self {
            inner: Arc::new(Inner { scope, why, cause }),
        }
    }

    /// What was cancelled, with all that belongs to it: for a child the nearest of its ancestors that was.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.inner.scope
    }

    /// Why.
    #[must_use]
    pub fn why(&self) -> &Why {
        &self.inner.why
    }

    /// What the service had been asked to leave by, if it had been.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.inner.cause.as_ref()
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled")
            .field("scope", &self.inner.scope)
            .field("why", &self.inner.why)
            .field("cause", &self.inner.cause)
            .finish()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.inner.scope, self.inner.why)?;
        match self.cause() {
            Some(cause) => write!(f, " (the service leaves because of {cause})"),
            None => Ok(()),
        }
    }
}

/// What a cancellation is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// The whole lifecycle.
    Lifecycle,
    /// The participant of this name.
    Participant(Arc<str>),
    /// The connection of this client.
    Connection(Arc<str>),
    /// One request.
    Request,
    /// A part of something else that the program made, by the program's name for it.
    Part(&'static str),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifecycle => f.write_str("the service"),
            Self::Participant(name) => write!(f, "participant {name}"),
            Self::Connection(of) => write!(f, "the connection of {of}"),
            Self::Request => f.write_str("the request"),
            Self::Part(name) => f.write_str(name),
        }
    }
}

/// Why something was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// It is over: what was begun for it has nobody to work for any longer.
    Ended,
    /// Its time was over before it was: a participant that outlasted its budget or the drain.
    Overdue,
    /// The drain's end was reached.
    DrainEnded,
    /// The shutdown was cut.
    Cut,
    /// The client went away before it had its answer.
    ClientGone,
    /// The program said so, in these words.
    Said(Arc<str>),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("is over"),
            Self::Overdue => f.write_str("was given up: it had its time"),
            Self::DrainEnded => f.write_str("ends what is left: the drain's end was reached"),
            Self::Cut => f.write_str("was cut"),
            Self::ClientGone => f.write_str("is over: its client went away"),
            Self::Said(why) => write!(f, "was cancelled: {why}"),
        }
    }
}
