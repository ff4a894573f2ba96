//! The seam between this crate and the model checker: the atomics of `std`, or loom's twin of them under `--cfg loom`.
//!
//! Owns no behaviour. What loom does not model (the table of keys, the list for pages, closures) uses `std::sync` itself.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
