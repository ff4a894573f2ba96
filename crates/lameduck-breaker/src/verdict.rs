//! What came of a call, as callers say it.

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It went well. (Whether it was slow is measured.)
    Success,
    /// It failed in a way that says something about whom was called, or how loaded it is.
    Failure,
    /// It was turned away, as by 503: a [`Failure`](Self::Failure), unless it is this process that leaves and may have turned it away itself. Where it
    /// certainly has not, as in a client's call, say `Failure`.
    TurnedAway,
    /// It says nothing, and counts as nothing.
    Ignored,
}

/// A failure that may be excused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Failed,
    TurnedAway,
}

impl Verdict {
    pub(crate) const fn fault(self) -> Option<Fault> {
        match self {
            Self::Failure => Some(Fault::Failed),
            Self::TurnedAway => Some(Fault::TurnedAway),
            Self::Success | Self::Ignored => None,
        }
    }
}
