//! Proof that a piece of work is counted.

use crate::inflight::Pass;

/// Work that the shutdown waits for; dropping it ends the work. It may be moved to any thread.
#[derive(Debug)]
#[must_use = "dropping a guard ends the work that it stands for"]
pub struct Guard {
    _pass: Pass,
}

impl Guard {
    pub(crate) const fn new(pass: Pass) -> Self {
        Self { _pass: pass }
    }
}
