//! Who knows what participants needed before, as the lifecycle asks it.

use std::time::Duration;

use crate::vocab::Learned;

/// A history of earlier shutdowns. It answers at once, and nothing that it says can make an enrolment fail.
pub(crate) trait Budgets: Send + Sync {
    /// The budget of a participant that enrols now and whose program gave it `base`.
    fn learn(&self, name: &str, base: Duration) -> Duration;
    /// What one got that has enrolled; `None` for one without a budget, and for one that came before the history.
    fn learned(&self, name: &str) -> Option<Learned>;
}
