//! Admission: a gate and a sharded count, with the promise that once the gate is closed one scan of zeros is final.
//!
//! # Why one scan is enough
//!
//! Two programs meet. Every access named here is `SeqCst`, so all of them stand in one total order S.
//!
//! ```text
//! enter, thread E                     close, thread C
//! E1  shard[i] += 1                   C1  gate = closed
//! E2  read gate                       C2  read shard[0], shard[1], …
//!     closed: shard[i] -= 1, refuse
//!     open: the pass remembers i      exit of that pass, any thread
//!                                     X1  shard[i] -= 1
//!                                     X2  read gate
//! ```
//!
//! *A kept pass is seen.* E2 read "open", so E2 precedes C1 in S; E1 precedes E2 and C1 precedes C2, hence E1 precedes C2's read of
//! shard i, which therefore includes the addition. (Were E1 and E2 weaker than `SeqCst`, both sides could read the old value: the
//! store-buffering case.)
//!
//! *A shard that reads zero after C1 stays without passes.* Additions after C1 come from refused entries, which undo them, and from
//! [`Pass::clone`], which adds to the shard of a pass that is still counted there, so that shard was not zero. Subtractions hit
//! the shard of their addition, so a shard is never negative and cannot hide another's surplus. Each shard may thus be read
//! at its own time, and all zeros in one scan means that nothing is left, for ever.
//!
//! *No wake-up is lost.* If X2 reads "open", X1 precedes C1 and [`Admission::close`] itself sees the effect, as it scans after C1.
//! Otherwise the leaver scans. Of all leavers (refused entries included: they undo through the same code) the last X1 in S is
//! followed by a scan that finds zeros, and calls the notifier.
//!
//! # Where the memory lives
//!
//! A [`Pass`] must be owned, `Send` and cheaper than a reference count that all threads share. So it points into a block
//! that is never freed but handed on: when an [`Admission`] is dropped and its last pass is gone, its block goes back
//! to a process-wide pool. The pool is as large as the largest number of admissions that were alive together.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::shard::{Padded, shard_index};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering::SeqCst, lock, seq_cst_point};

/// More threads than this share shards: still right, only slower.
#[cfg(not(loom))]
const SHARDS: usize = 64;
#[cfg(loom)]
const SHARDS: usize = 2;

const CLOSED: u64 = 1;
/// The [`Admission`] is gone; the last pass returns the block.
const ORPHANED: u64 = 2;
const POOLED: u64 = 4;
/// Bits above the flags: which admission the block belongs to, so that a late leaver of an earlier one cannot return it again.
const GENERATION: u64 = 8;

type Notifier = Arc<dyn Fn() + Send + Sync>;

struct Block {
    /// Flags and generation.
    gate: Padded<AtomicU64>,
    notifier: Mutex<Option<Notifier>>,
    shards: [Padded<AtomicUsize>; SHARDS],
    #[cfg(loom)]
    handed_on: AtomicUsize,
}

/// Decides who may begin, and knows when the last one has ended.
///
/// One stands for connections, one for guards. It begins open and closes once; there is no reopening.
///
/// # Examples
///
/// ```
/// use lameduck::inflight::Admission;
///
/// let admission = Admission::new();
/// let pass = admission.enter().expect("open");
/// admission.close();
/// assert!(admission.enter().is_err());
/// assert!(!admission.is_drained());
/// drop(pass);
/// assert!(admission.is_drained());
/// ```
pub struct Admission {
    block: &'static Block,
}

/// Proof that something was admitted; dropping it is the exit.
///
/// A forgotten pass ([`std::mem::forget`]) is waited for until the deadline and reported, as it should be. A clone counts
/// as well, also after the gate closed: it continues what was admitted.
#[must_use = "dropping the pass at once means that nothing is waited for"]
pub struct Pass {
    block: &'static Block,
    shard: &'static AtomicUsize,
}

/// Nobody is admitted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Admission {
    /// An open admission with nobody inside.
    pub fn new() -> Self {
        Self {
            block: Block::take(),
        }
    }

    /// Admits the caller unless the gate is closed; never blocks.
    ///
    /// # Errors
    ///
    /// [`Closed`] once [`close`](Self::close) was called.
    #[inline]
    pub fn enter(&self) -> Result<Pass, Closed> {
        let block = self.block;
        let shard = &*block.shards[shard_index() % SHARDS];
        // E1 and E2 of the header; pairs with C1 and C2 in `close` and `Block::is_empty`.
        shard.fetch_add(1, SeqCst);
        seq_cst_point();
        let pass = Pass { block, shard };
        // A refused pass is dropped here: the undo takes the leaver's path and its wake-up.
        if block.gate.load(SeqCst) & CLOSED == 0 {
            Ok(pass)
        } else {
            Err(Closed)
        }
    }

    /// Closes the gate for good; idempotent. Calls the notifier when nobody is inside.
    pub fn close(&self) {
        // C1 of the header; pairs with E2 and X2.
        self.block.gate.fetch_or(CLOSED, SeqCst);
        seq_cst_point();
        self.block.notify_if_empty();
    }

    /// Whether the gate is closed.
    pub fn is_closed(&self) -> bool {
        self.block.gate.load(SeqCst) & CLOSED != 0
    }

    /// Whether the gate is closed and nobody is inside; once true, true for ever.
    ///
    /// What a leaver wrote before it dropped its pass is visible to a caller that gets `true`.
    pub fn is_drained(&self) -> bool {
        let closed = self.is_closed();
        seq_cst_point();
        closed && self.block.is_empty()
    }

    /// How many are inside: exact when nobody comes or goes, else approximate, and it may include entries about to be refused.
    pub fn count(&self) -> usize {
        self.block
            .shards
            .iter()
            .map(|shard| shard.load(SeqCst))
            .sum()
    }

    /// Registers what is called when nobody may be inside any more, in place of an earlier one.
    ///
    /// It is called at least once after the gate is closed and the last one left (at once, if that is already so), perhaps more
    /// often, perhaps early: ask [`is_drained`](Self::is_drained). It runs on the thread of the leaver, in a destructor: it must
    /// neither block nor panic.
    pub fn notify_with(&self, notifier: Arc<dyn Fn() + Send + Sync>) {
        let earlier = lock(&self.block.notifier).replace(notifier);
        drop(earlier);
        // A leaver that found no notifier had already subtracted: the lock orders its X1 before this scan.
        if self.is_drained() {
            self.block.notify_if_empty();
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let notifier = lock(&self.block.notifier).take();
        drop(notifier);
        let flags = CLOSED | ORPHANED;
        let gate = self.block.gate.fetch_or(flags, SeqCst) | flags;
        seq_cst_point();
        self.block.pool_if_empty(gate);
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("closed", &self.is_closed())
            .field("count", &self.count())
            .finish()
    }
}

impl Clone for Pass {
    /// Counts once more, on the same shard: elsewhere a scan could miss both (see the module's header).
    fn clone(&self) -> Self {
        self.shard.fetch_add(1, SeqCst);
        Self {
            block: self.block,
            shard: self.shard,
        }
    }
}

impl Drop for Pass {
    #[inline]
    fn drop(&mut self) {
        // X1 and X2 of the header; pairs with C1 and C2. The release half publishes the leaver's work to `is_drained`.
        let before = self.shard.fetch_sub(1, SeqCst);
        seq_cst_point();
        let gate = self.block.gate.load(SeqCst);
        // Not the last of its shard: whoever is will come here.
        if gate & CLOSED != 0 && before == 1 {
            self.block.left_closed(gate);
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").finish_non_exhaustive()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("admission is closed")
    }
}

impl Error for Closed {}

impl Block {
    fn is_empty(&self) -> bool {
        // C2 of the header; pairs with E1 and X1.
        self.shards.iter().all(|shard| shard.load(SeqCst) == 0)
    }

    #[cold]
    fn left_closed(&'static self, gate: u64) {
        if gate & ORPHANED == 0 {
            self.notify_if_empty();
        } else if gate & POOLED == 0 {
            // With the mark, somebody handed the block on between this leaver's two steps.
            self.pool_if_empty(gate);
        }
    }

    fn notify_if_empty(&self) {
        if self.is_empty() {
            // Cloned, so that the lock is not held while foreign code runs.
            let notifier = lock(&self.notifier).clone();
            if let Some(notifier) = notifier {
                notifier();
            }
        }
    }

    /// Hands the block on, once: `gate` is what the caller read, so a later generation is not touched.
    fn pool_if_empty(&'static self, gate: u64) {
        if self.is_empty()
            && self
                .gate
                .compare_exchange(gate, gate | POOLED, SeqCst, SeqCst)
                .is_ok()
        {
            pool::put(self);
        }
    }

    fn take() -> &'static Self {
        if let Some(block) = pool::get() {
            // Nobody else has it: the pool's lock orders this after the return.
            let generation = block.gate.load(SeqCst) & !(GENERATION - 1);
            block
                .gate
                .store(generation.wrapping_add(GENERATION), SeqCst);
            return block;
        }
        Box::leak(Box::new(Self {
            gate: Padded(AtomicU64::new(0)),
            notifier: Mutex::new(None),
            shards: std::array::from_fn(|_| Padded(AtomicUsize::new(0))),
            #[cfg(loom)]
            handed_on: AtomicUsize::new(0),
        }))
    }
}

/// Blocks between two owners.
#[cfg(not(loom))]
mod pool {
    use super::Block;
    use crate::sync::{Mutex, lock};

    static POOL: Mutex<Vec<&'static Block>> = Mutex::new(Vec::new());

    pub(super) fn get() -> Option<&'static Block> {
        lock(&POOL).pop()
    }

    pub(super) fn put(block: &'static Block) {
        lock(&POOL).push(block);
    }
}

/// Modelled atomics belong to one execution, so a model hands nothing on.
#[cfg(loom)]
mod pool {
    use super::Block;

    pub(super) fn get() -> Option<&'static Block> {
        None
    }

    pub(super) fn put(block: &'static Block) {
        block.handed_on.fetch_add(1, super::SeqCst);
    }

    #[cfg(test)]
    impl super::Pass {
        /// Tells how often the block of this pass was handed on.
        pub(in crate::inflight) fn handed_on(&self) -> impl Fn() -> usize + use<> {
            let block = self.block;
            move || block.handed_on.load(super::SeqCst)
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
