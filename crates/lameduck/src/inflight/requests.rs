//! How many requests there were: for people and for quiet, never for correctness.
//!
//! Each thread adds to a shard of its own with a plain load and a plain store, which no other thread writes. Shards belong
//! to an instance; a thread that ends leaves its sum in place and its shard to the next newcomer. Threads past
//! [`MAX_SHARDS`] share one shard and pay an atomic addition.
//!
//! A thread finds its shard of the instance that it counted for last in a thread-local without a destructor, hence without
//! a lifetime: shards are never freed but handed on, from an instance that is gone to the next. There are as many as were ever in
//! use together.
//!
//! This module uses `std` also under loom: its shards are found through thread-locals that outlive a model, and there is nothing to
//! interleave but one writer and readers of one word.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::shard::Padded;

/// How many threads of one instance can have a shard at the same time.
pub(super) const MAX_SHARDS: usize = 256;

type Shard = &'static Padded<AtomicU64>;

/// Counts requests; clones count together.
///
/// # Examples
///
/// ```
/// use lameduck::inflight::Requests;
///
/// let requests = Requests::new();
/// requests.count_one();
/// requests.count_one();
/// assert_eq!(requests.total(), 2);
/// ```
#[derive(Clone)]
pub struct Requests {
    registry: Arc<Registry>,
}

struct Registry {
    /// Never used twice in a process.
    id: u64,
    shards: Mutex<Shards>,
    /// For threads past the bound, and for those whose locals are already destroyed.
    shared: Padded<AtomicU64>,
}

#[derive(Default)]
struct Shards {
    all: Vec<Shard>,
    /// Left behind by threads that ended, with their sums.
    ownerless: Vec<Shard>,
}

/// What one thread holds of one instance.
struct Claim {
    id: u64,
    home: Weak<Registry>,
    /// None past the bound.
    shard: Option<Shard>,
}

/// One entry per living instance that this thread counted for; dead ones are swept when an entry is added.
struct Claims(RefCell<Vec<Claim>>);

/// Belongs to no instance.
const NOBODY: u64 = 0;

thread_local! {
    static CLAIMS: Claims = const { Claims(RefCell::new(Vec::new())) };
    /// The claim used last: its instance and its shard.
    static LATEST: Cell<(u64, Option<Shard>)> = const { Cell::new((NOBODY, None)) };
}

impl Requests {
    /// Counts from zero.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(NOBODY + 1);
        // Relaxed: only distinctness matters.
        let id = NEXT.fetch_add(1, Relaxed);
        Self {
            registry: Arc::new(Registry {
                id,
                shards: Mutex::default(),
                shared: Padded::default(),
            }),
        }
    }

    /// Counts one request.
    ///
    /// The first call of a thread registers it (a lock, perhaps an allocation); later ones are a load and a store.
    #[inline]
    pub fn count_one(&self) {
        match LATEST.get() {
            (id, Some(shard)) if id == self.registry.id => add_one(shard),
            _ => self.registry.count_elsewhere(),
        }
    }

    /// How many were counted so far. Never falls; a request counted on another thread this instant may be missing.
    pub fn total(&self) -> u64 {
        let own: u64 = self
            .registry
            .lock()
            .all
            .iter()
            .map(|shard| shard.load(Relaxed))
            .sum();
        own + self.registry.shared.load(Relaxed)
    }
}

/// Only for the owner of `shard`.
#[inline]
fn add_one(shard: Shard) {
    // Relaxed: this thread is the only writer, and readers want a figure, not an order.
    shard.store(shard.load(Relaxed).wrapping_add(1), Relaxed);
}

impl Default for Requests {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("total", &self.total())
            .finish()
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Shards> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread counted for another instance last, or never, or has no shard.
    #[cold]
    fn count_elsewhere(self: &Arc<Self>) {
        let shard =
            CLAIMS.try_with(|claims| claims.find(self.id).unwrap_or_else(|| claims.add(self)));
        if let Ok(Some(shard)) = shard {
            LATEST.set((self.id, Some(shard)));
            add_one(shard);
        } else {
            self.shared.fetch_add(1, Relaxed);
        }
    }

    /// An ownerless shard, or another one, or none past the bound. The lock orders the last owner's stores before the adopter's loads.
    fn adopt_or_add(&self) -> Option<Shard> {
        let mut shards = self.lock();
        if let Some(shard) = shards.ownerless.pop() {
            return Some(shard);
        }
        (shards.all.len() < MAX_SHARDS).then(|| {
            let shard = pool::get();
            shards.all.push(shard);
            shard
        })
    }
}

impl Drop for Registry {
    /// Nobody can count for this instance any more: whoever holds its id in a local cannot hold the instance.
    fn drop(&mut self) {
        let shards = std::mem::take(&mut *self.lock());
        pool::put(shards.all);
    }
}

impl Claims {
    /// What this thread holds of instance `id`: nothing yet, no shard, or a shard.
    fn find(&self, id: u64) -> Option<Option<Shard>> {
        self.0
            .borrow()
            .iter()
            .find(|claim| claim.id == id)
            .map(|claim| claim.shard)
    }

    fn add(&self, registry: &Arc<Registry>) -> Option<Shard> {
        let shard = registry.adopt_or_add();
        let mut claims = self.0.borrow_mut();
        claims.retain(|claim| claim.home.strong_count() > 0);
        claims.push(Claim {
            id: registry.id,
            home: Arc::downgrade(registry),
            shard,
        });
        shard
    }
}

impl Drop for Claims {
    /// At the end of the thread: others may own the shards from now on.
    fn drop(&mut self) {
        LATEST.set((NOBODY, None));
        for claim in self.0.get_mut().drain(..) {
            if let (Some(home), Some(shard)) = (claim.home.upgrade(), claim.shard) {
                home.lock().ownerless.push(shard);
            }
        }
    }
}

/// Shards between two instances.
mod pool {
    use super::{AtomicU64, Mutex, Padded, PoisonError, Relaxed, Shard};

    static POOL: Mutex<Vec<Shard>> = Mutex::new(Vec::new());

    /// A shard at zero.
    pub(super) fn get() -> Shard {
        let used = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| Box::leak(Box::new(Padded(AtomicU64::new(0)))))
    }

    pub(super) fn put(shards: Vec<Shard>) {
        shards.iter().for_each(|shard| shard.store(0, Relaxed));
        POOL.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(shards);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
