//! How many requests there were: for people and for quiet, never for correctness.
//!
//! Each thread adds to a shard of its own with a plain load and a plain store, which no other thread writes. Shards belong
//! to an instance; a thread that ends leaves its sum in place and its shard to the next newcomer. Threads past
//! [`MAX_SHARDS`] share one shard and pay an atomic addition.
//!
//! This module uses `std` also under loom: its shards are found through thread-locals that outlive a model, and there is nothing to
//! interleave but one writer and readers of one word.

use std::cell::RefCell;
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::shard::Padded;

/// How many threads of one instance can have a shard at the same time.
pub(super) const MAX_SHARDS: usize = 256;

type Shard = Arc<Padded<AtomicU64>>;

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
    /// Also keeps the address from being reused, so that comparing it identifies the instance.
    home: Weak<Registry>,
    /// None past the bound.
    shard: Option<Shard>,
}

thread_local! {
    /// One entry per living instance that this thread counted for; dead ones are swept when an entry is added.
    static CLAIMS: RefCell<Vec<Claim>> = const { RefCell::new(Vec::new()) };
}

impl Requests {
    /// Counts from zero.
    pub fn new() -> Self {
        Self {
            registry: Arc::new(Registry {
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
        let known = CLAIMS.try_with(|claims| {
            match claims
                .borrow()
                .iter()
                .find(|claim| claim.is_of(&self.registry))
            {
                Some(Claim {
                    shard: Some(shard), ..
                }) => {
                    // Relaxed: this thread is the only writer, and readers want a figure, not an order.
                    shard.store(shard.load(Relaxed).wrapping_add(1), Relaxed);
                    true
                }
                _ => false,
            }
        });
        if known != Ok(true) {
            self.count_first_or_shared();
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

    #[cold]
    fn count_first_or_shared(&self) {
        let has_claim = CLAIMS.try_with(|claims| {
            claims
                .borrow()
                .iter()
                .any(|claim| claim.is_of(&self.registry))
        });
        if has_claim == Ok(false) {
            let shard = self.registry.adopt_or_add();
            if let Some(shard) = &shard {
                shard.store(shard.load(Relaxed).wrapping_add(1), Relaxed);
            }
            let past_bound = shard.is_none();
            let claim = Claim {
                home: Arc::downgrade(&self.registry),
                shard,
            };
            let dead = CLAIMS.try_with(|claims| {
                let mut claims = claims.borrow_mut();
                let dead: Vec<Claim> = claims
                    .extract_if(.., |claim| claim.home.strong_count() == 0)
                    .collect();
                claims.push(claim);
                dead
            });
            drop(dead);
            if !past_bound {
                return;
            }
        }
        self.registry.shared.fetch_add(1, Relaxed);
    }
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

    /// An ownerless shard, or a new one, or none past the bound. The lock orders the last owner's stores before the adopter's loads.
    fn adopt_or_add(&self) -> Option<Shard> {
        let mut shards = self.lock();
        if let Some(shard) = shards.ownerless.pop() {
            return Some(shard);
        }
        (shards.all.len() < MAX_SHARDS).then(|| {
            let shard = Shard::default();
            shards.all.push(Arc::clone(&shard));
            shard
        })
    }
}

impl Claim {
    #[inline]
    fn is_of(&self, registry: &Arc<Registry>) -> bool {
        ptr::eq(self.home.as_ptr(), Arc::as_ptr(registry))
    }
}

impl Drop for Claim {
    /// At the end of the thread.
    fn drop(&mut self) {
        if let (Some(home), Some(shard)) = (self.home.upgrade(), self.shard.take()) {
            home.lock().ownerless.push(shard);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
