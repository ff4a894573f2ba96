//! A part of the program that stands in one of a few ways, and has changed.

use core::fmt;

use super::Weight;

/// A part of the program that stands in one of a few ways, such as a circuit breaker, stands otherwise than before.
///
/// Told by whoever owns it, with [`Lifecycle::switched`](crate::Lifecycle::switched); nothing in the shutdown depends on it.
///
/// # Examples
/// ```
/// use lameduck::{Switch, Weight};
///
/// let switch = Switch::new("breaker", "payments")
///     .turned("closed", "open")
///     .because("12 of 20 calls failed")
///     .weighing(Weight::Warning);
/// assert_eq!(switch.to_string(), "breaker payments: closed to open: 12 of 20 calls failed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Switch {
    /// What it is, in a word.
    pub what: &'static str,
    /// Which one.
    pub name: String,
    /// How it stood, in a word.
    pub from: &'static str,
    /// How it stands, in a word.
    pub to: &'static str,
    /// Why.
    pub why: String,
    /// How much of it people should notice.
    pub weight: Weight,
}

impl Switch {
    /// One that stands as before, for no reason.
    #[must_use]
    pub fn new(what: &'static str, name: impl Into<String>) -> Self {
        Self {
            what,
            name: name.into(),
            from: "",
            to: "",
            why: String::new(),
            weight: Weight::Info,
        }
    }

    /// How it stood, and how it stands.
    #[must_use]
    pub const fn turned(mut self, from: &'static str, to: &'static str) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    /// Why.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// How much of it people should notice: [`Weight::Info`] unless it is said.
    #[must_use]
    pub const fn weighing(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            name,
            from,
            to,
            why,
            ..
        } = self;
        write!(f, "{what} {name}: {from} to {to}: {why}")
    }
}
