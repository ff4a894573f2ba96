//! A moment that comes once: asked by one load, awaited by any number of tasks of any runtime.
//!
//! Owns the waiters, not the reason: what the moment means stands with whoever fires it. There are no children: a tree of tokens
//! costs an allocation and a lock per node, and nothing here needs one.
//!
//! Waiters stand in sixteen slabs, each behind its own lock; a task waits in the slab of the thread that polled it first. A slab before
//! them is for those who must not stand behind thousands of others.
//! [`Token::fire`] sets the flag, then takes each slab whole under its lock and wakes outside it, so a wake-up neither allocates
//! nor contends with the tasks it woke (they see the flag first). No wake-up is lost: registration and taking are ordered by the
//! slab's lock, and a slab that was taken is marked `spent`.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::shard::{Padded, shard_index};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock};

#[cfg(not(loom))]
const SHARDS: usize = 16;
#[cfg(loom)]
const SHARDS: usize = 2;
/// The slab of those who are woken before the others.
const FRONT: usize = 0;

/// A moment that comes once, such as "steer" or "close"; clones are the same moment.
///
/// # Examples
///
/// ```
/// use lameduck::inflight::Token;
///
/// let token = Token::new();
/// let mut fired = token.fired();
/// assert!(!token.is_fired());
/// token.fire();
/// assert!(token.is_fired());
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(std::pin::Pin::new(&mut fired).poll(&mut cx).is_ready());
/// ```
#[derive(Clone)]
pub struct Token {
    inner: Arc<Inner>,
}

/// The future of [`Token::fired`].
///
/// # Cancel safety
///
/// Cancel safe: dropping it gives its place back and leaves the token as it was. Polled again after it was ready, it is ready again.
#[must_use = "futures do nothing unless polled"]
pub struct Fired {
    token: Token,
    place: Option<Place>,
    is_first: bool,
}

/// Those who are still to be woken after [`Token::fire_first`]. Dropping it wakes them, so none is forgotten.
#[must_use = "dropping it wakes them here"]
pub(crate) struct Others {
    token: Token,
}

#[derive(Clone, Copy)]
struct Place {
    slab: usize,
    key: usize,
}

struct Inner {
    fired: AtomicBool,
    slabs: [Padded<Mutex<Waiters>>; 1 + SHARDS],
}

/// One slab: as many entries as futures were registered at the same time, freed ones reused first.
struct Waiters {
    entries: Vec<Entry>,
    free: Option<usize>,
    spent: bool,
}

enum Entry {
    Free { next: Option<usize> },
    Waiting(Waker),
}

impl Token {
    /// A token that has not fired.
    pub fn new() -> Self {
        let slabs = std::array::from_fn(|_| Padded(Mutex::new(Waiters::new())));
        Self {
            inner: Arc::new(Inner {
                fired: AtomicBool::new(false),
                slabs,
            }),
        }
    }

    /// Whether the moment has come: one load.
    ///
    /// What was written before [`fire`](Self::fire) is visible to a caller that gets `true`.
    #[inline]
    pub fn is_fired(&self) -> bool {
        // Pairs with the release in `fire`.
        self.inner.fired.load(Ordering::Acquire)
    }

    /// Lets the moment come and wakes everyone who waits; idempotent, allocates nothing.
    ///
    /// Of concurrent calls one wakes; the others may return before it is done. A waker that panics is passed over (its panic
    /// went through the panic hook): it can neither keep the others asleep nor unwind into the caller.
    pub fn fire(&self) {
        drop(self.fire_first());
    }

    /// Lets the moment come and wakes those who asked to be first; the others are woken when what it returns is dropped, on any thread.
    /// None if the moment has come before.
    pub(crate) fn fire_first(&self) -> Option<Others> {
        // Release pairs with the acquire in `is_fired`.
        if self.inner.fired.swap(true, Ordering::AcqRel) {
            return None;
        }
        // Made before anybody is woken: it wakes the others whatever happens.
        let others = Others {
            token: self.clone(),
        };
        self.wake_slab(FRONT);
        Some(others)
    }

    fn wake_slab(&self, slab: usize) {
        let taken = lock(&self.inner.slabs[slab]).spend();
        for entry in taken {
            if let Entry::Waiting(waker) = entry {
                wake(waker);
            }
        }
    }

    /// Waits for the moment; ready at once if it has come.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, see [`Fired`].
    pub fn fired(&self) -> Fired {
        Fired {
            token: self.clone(),
            place: None,
            is_first: false,
        }
    }

    /// How many futures wait, and how many places were made for them.
    #[cfg(all(test, not(loom)))]
    fn waiting(&self) -> (usize, usize) {
        self.inner.slabs.iter().map(|shard| lock(shard)).fold(
            (0, 0),
            |(waiting, places), waiters| {
                let here = waiters
                    .entries
                    .iter()
                    .filter(|entry| matches!(entry, Entry::Waiting(_)))
                    .count();
                (waiting + here, places + waiters.entries.len())
            },
        )
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("fired", &self.is_fired())
            .finish()
    }
}

#[cfg(any(feature = "signals", all(test, not(loom))))]
impl Others {
    /// About how many there are.
    pub(crate) fn count(&self) -> usize {
        let slabs = &self.token.inner.slabs[1 + FRONT..];
        slabs.iter().map(|slab| lock(slab).entries.len()).sum()
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for slab in 1 + FRONT..=SHARDS {
            self.token.wake_slab(slab);
        }
    }
}

impl Fired {
    /// Woken before all who did not ask for this: for the few whose work must not stand behind thousands of woken tasks. To be asked for
    /// before the first poll.
    pub fn first(mut self) -> Self {
        self.is_first = true;
        self
    }

    /// Another future of the same moment.
    #[cfg(feature = "signals")]
    pub(crate) fn again(&self) -> Self {
        self.token.fired()
    }

    /// First poll: takes a place. False if the moment came meanwhile.
    fn register(&mut self, waker: &Waker) -> bool {
        let slab = match self.is_first {
            true => FRONT,
            false => 1 + shard_index() % SHARDS,
        };
        // Cloned before the lock: cloning runs foreign code.
        let waker = waker.clone();
        let mut waiters = lock(&self.token.inner.slabs[slab]);
        match waiters.insert(waker) {
            Ok(key) => {
                drop(waiters);
                self.place = Some(Place { slab, key });
                true
            }
            Err(unused) => {
                drop(waiters);
                drop(unused);
                false
            }
        }
    }

    /// Later poll: makes sure that the present waker stands in the place. False if the moment came meanwhile.
    fn refresh(&self, place: Place, waker: &Waker) -> bool {
        let slab = &self.token.inner.slabs[place.slab];
        {
            let waiters = lock(slab);
            match waiters.get(place.key) {
                None => return false,
                Some(known) if known.will_wake(waker) => return true,
                Some(_) => {}
            }
        }
        let waker = waker.clone();
        // Only this future, borrowed mutably by its poll, frees the place: between the two locks it can only be spent.
        let replaced = lock(slab).replace(place.key, waker);
        // Both outcomes carry a waker that is dropped here, outside the lock.
        replaced.is_ok()
    }
}

impl Future for Fired {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.token.is_fired() {
            return Poll::Ready(());
        }
        let waits = match this.place {
            None => this.register(cx.waker()),
            Some(place) => this.refresh(place, cx.waker()),
        };
        if waits {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for Fired {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        // Once fired, the slab is or will be taken whole: not to lock keeps a thousand woken tasks out of its way.
        if !self.token.is_fired() {
            let waker = lock(&self.token.inner.slabs[place.slab]).remove(place.key);
            drop(waker);
        }
    }
}

impl std::fmt::Debug for Fired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fired")
            .field("token", &self.token)
            .field("registered", &self.place.is_some())
            .finish()
    }
}

impl Waiters {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: None,
            spent: false,
        }
    }

    /// Gives the waker back when the slab is spent.
    fn insert(&mut self, waker: Waker) -> Result<usize, Waker> {
        if self.spent {
            return Err(waker);
        }
        let Some(key) = self.free else {
            self.entries.push(Entry::Waiting(waker));
            return Ok(self.entries.len() - 1);
        };
        if let Entry::Free { next } = mem::replace(&mut self.entries[key], Entry::Waiting(waker)) {
            self.free = next;
        }
        Ok(key)
    }

    /// None when the slab is spent.
    fn get(&self, key: usize) -> Option<&Waker> {
        match self.entries.get(key) {
            Some(Entry::Waiting(waker)) => Some(waker),
            _ => None,
        }
    }

    /// The waker that stood there, or the new one back when the slab is spent.
    fn replace(&mut self, key: usize, waker: Waker) -> Result<Waker, Waker> {
        match self.entries.get_mut(key) {
            Some(Entry::Waiting(known)) => Ok(mem::replace(known, waker)),
            _ => Err(waker),
        }
    }

    /// Frees the place; None when the slab is spent.
    fn remove(&mut self, key: usize) -> Option<Waker> {
        let entry = self.entries.get_mut(key)?;
        match mem::replace(entry, Entry::Free { next: self.free }) {
            Entry::Waiting(waker) => {
                self.free = Some(key);
                Some(waker)
            }
            Entry::Free { next } => {
                *entry = Entry::Free { next };
                None
            }
        }
    }

    fn spend(&mut self) -> Vec<Entry> {
        self.spent = true;
        self.free = None;
        mem::take(&mut self.entries)
    }
}

#[cfg(not(loom))]
fn wake(waker: Waker) {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        // Dropping a payload may panic again.
        mem::forget(panic);
    }
}

/// A model's own failures are panics: none may be caught.
#[cfg(loom)]
fn wake(waker: Waker) {
    waker.wake();
}

#[cfg(all(test, not(loom)))]
mod tests;
