//! What is to happen when something is over: many add to it, one takes it, once.

use std::fmt;

use crate::sync::{Mutex, lock};

/// A bounded list that closes once: everything that was accepted comes out of [`close`](Self::close), exactly once, and what comes later is
/// given back.
///
/// ```
/// use lameduck::inflight::Afterwards;
///
/// let afterwards = Afterwards::bounded(2);
/// assert!(afterwards.push("a line for the log").is_ok());
/// assert_eq!(afterwards.close(), ["a line for the log"]);
/// assert!(afterwards.push("too late").expect_err("closed").is_closed());
/// assert!(afterwards.close().is_empty());
/// ```
pub struct Afterwards<T> {
    /// None once it is closed.
    kept: Mutex<Option<Vec<T>>>,
    bound: usize,
}

/// What [`Afterwards::push`] did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept<T> {
    /// It was closed before.
    Closed(T),
    /// It is full.
    Full(T),
}

impl<T> NotKept<T> {
    /// Whether it was closed before.
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// What was to be added.
    pub fn into_inner(self) -> T {
        match self {
            Self::Closed(one) | Self::Full(one) => one,
        }
    }
}

impl<T> fmt::Display for NotKept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "it is over",
            Self::Full(_) => "it has as many as it keeps",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for NotKept<T> {}

impl<T> Afterwards<T> {
    /// An open list that keeps so many at most.
    pub fn bounded(bound: usize) -> Self {
        Self {
            kept: Mutex::new(Some(Vec::new())),
            bound,
        }
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`NotKept`] with what was to be added, if the list is closed or full.
    pub fn push(&self, one: T) -> Result<(), NotKept<T>> {
        match &mut *lock(&self.kept) {
            Some(kept) if kept.len() < self.bound => {
                kept.push(one);
                Ok(())
            }
            Some(_) => Err(NotKept::Full(one)),
            None => Err(NotKept::Closed(one)),
        }
    }

    /// Closes the list: what it has kept, in its order; nothing if it was closed before.
    pub fn close(&self) -> Vec<T> {
        lock(&self.kept).take().unwrap_or_default()
    }
}

impl<T> fmt::Debug for Afterwards<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = lock(&self.kept).as_ref().map(Vec::len);
        f.debug_struct("Afterwards").field("kept", &kept).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_before_it_is_closed() {
        let afterwards = Afterwards::bounded(1);
        assert_eq!(afterwards.push(1), Ok(()));
        assert_eq!(afterwards.push(2), Err(NotKept::Full(2)));
        assert_eq!(format!("{afterwards:?}"), "Afterwards { kept: Some(1) }");
        assert_eq!(afterwards.close(), [1]);
        assert_eq!(afterwards.push(3), Err(NotKept::Closed(3)));
    }
}
