//! The seam between this crate and the model checker: what `inflight` uses of `std`, or loom's twin of it under `--cfg loom`.
//!
//! Owns no behaviour. Modules whose state loom does not model (thread-locals that outlive a model, process-wide pools) import
//! `std::sync` themselves and say why.

#[cfg(not(loom))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

    /// What it points to, for whoever gives up the last reference: of several at once exactly one.
    pub(crate) fn last<T>(arc: Arc<T>) -> Option<T> {
        Arc::into_inner(arc)
    }

    /// Puts nothing between two sequentially consistent accesses: the language already orders them.
    #[inline(always)]
    pub(crate) fn seq_cst_point() {}
}

#[cfg(loom)]
mod model {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};

    /// The nearest that loom has: two that give it up at once may both get nothing.
    pub(crate) fn last<T>(arc: Arc<T>) -> Option<T> {
        Arc::try_unwrap(arc).ok()
    }

    /// Restores the total order that loom takes from `SeqCst` accesses, which it models as `AcqRel` (its README, "unsupported").
    pub(crate) fn seq_cst_point() {
        fence(Ordering::SeqCst);
    }
}

#[cfg(loom)]
pub(crate) use model::*;
#[cfg(not(loom))]
pub(crate) use real::*;

/// Locks `mutex`; a poisoned one is as good, because no lock of this crate is held while foreign code runs.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
