//! Padding, and the choice of a shard: each thread gets an index once, threads of one pool get neighbouring ones.
//!
//! Owns no counter. An index is a hint about contention, never about correctness.

use std::ops::Deref;

/// A value alone on its cache lines: 128 bytes, because x86 prefetches lines in pairs and some arm64 cores have lines of 128.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The index of the calling thread; reduce it modulo the number of shards.
#[cfg(not(loom))]
#[inline]
pub(crate) fn shard_index() -> usize {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const UNSET: usize = usize::MAX;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // No destructor, so that it can be read while the thread's other locals are being destroyed.
    thread_local!(static INDEX: Cell<usize> = const { Cell::new(UNSET) });

    #[cold]
    fn assign(cell: &Cell<usize>) -> usize {
        // Relaxed: only distinctness matters. The mark itself is out of reach: 2^64 threads.
        let index = NEXT.fetch_add(1, Ordering::Relaxed);
        cell.set(index);
        index
    }

    INDEX.with(|cell| {
        let index = cell.get();
        if index == UNSET { assign(cell) } else { index }
    })
}

#[cfg(loom)]
pub(crate) use model::{set_shard_index, shard_index};

#[cfg(loom)]
mod model {
    //! A model must be deterministic, so a modelled thread states its index.

    use std::cell::Cell;

    loom::thread_local!(static INDEX: Cell<usize> = Cell::new(0));

    pub(crate) fn shard_index() -> usize {
        INDEX.with(Cell::get)
    }

    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only the loom tests place threads")
    )]
    pub(crate) fn set_shard_index(index: usize) {
        INDEX.with(|cell| cell.set(index));
    }
}
