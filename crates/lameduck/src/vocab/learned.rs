//! A participant's budget where earlier shutdowns have a say in it. How it follows from them is the machine's business
//! ([`learn`](crate::machine::learn)).

use core::time::Duration;

/// A budget that follows from a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Learned {
    /// The budget that the program gave.
    pub base: Duration,
    /// The budget that is used; never below the base.
    pub budget: Duration,
    /// Which rule decided.
    pub by: LearnedBy,
    /// In how many of the last three shutdowns a budget of at least the base was too short.
    pub overdue: u32,
}

impl Learned {
    pub(crate) const fn new(base: Duration, budget: Duration, by: LearnedBy, overdue: u32) -> Self {
        Self {
            base,
            budget,
            by,
            overdue,
        }
    }
}

/// Which rule gave a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LearnedBy {
    /// None asked for more than the base.
    Base,
    /// The participant was overdue in some of its last three shutdowns.
    Overdue,
    /// It needed that much in its last fifty shutdowns.
    Needs,
}

impl LearnedBy {
    /// One lower-case word: `base`, `overdue` or `needs`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Overdue => "overdue",
            Self::Needs => "needs",
        }
    }
}
