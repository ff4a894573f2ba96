//! A moment that comes once: asked by one load, awaited by any number of tasks of any runtime.
//!
//! Owns the moment, not the reason: what it means stands with whoever fires it. There are no children here: a tree of tokens costs
//! an allocation and a lock per node, and whoever needs one asks for it (`cancellation`).
//!
//! Waiters stand in sixteen slabs, each behind its own lock; a task waits in the slab of the thread that polled it first. A slab before
//! them is for those who must not stand behind thousands of others.
//! [`Token::fire`] sets the flag, then takes each slab whole under its lock and wakes outside it, so a wake-up neither allocates
//! nor contends with the tasks it woke (they see the flag first). No wake-up is lost: registration and taking are ordered by the
//! slab's lock, and a slab that was taken is marked `spent`.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::shard::{Padded, shard_index};
use super::slab::Slab;
use crate::sync::{Arc, AtomicBool, Ordering};

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

/// A slab and a key in it, in half a word: a million futures have one, and most of what they cost is memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(NonZeroU32);

impl Place {
    /// More than there are slabs.
    const SLABS: usize = 32;

    pub(super) fn new(slab: usize, key: usize) -> Self {
        let packed = u32::try_from(key * Self::SLABS + slab + 1).ok();
        let packed = packed.and_then(NonZeroU32::new);
        Self(
            packed
                .expect("a slab of 134 million waiters takes 3 GB, and their tasks ten times that"),
        )
    }

    const fn slab(self) -> usize {
        (self.0.get() as usize - 1) % Self::SLABS
    }

    pub(super) const fn key(self) -> usize {
        (self.0.get() as usize - 1) / Self::SLABS
    }
}

struct Inner {
    fired: AtomicBool,
    slabs: [Padded<Slab>; 1 + SHARDS],
}

impl Token {
    /// A token that has not fired.
    pub fn new() -> Self {
        let slabs = std::array::from_fn(|_| Padded(Slab::new()));
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
        self.inner.slabs[slab].spend();
    }

    /// First poll: takes a place. None if the moment came meanwhile.
    pub(super) fn register(&self, is_first: bool, waker: &Waker) -> Option<Place> {
        let slab = match is_first {
            true => FRONT,
            false => 1 + shard_index() % SHARDS,
        };
        let key = self.inner.slabs[slab].register(waker)?;
        Some(Place::new(slab, key))
    }

    /// Later poll: makes sure that the present waker stands in the place. False if the moment came meanwhile.
    pub(super) fn refresh(&self, place: Place, waker: &Waker) -> bool {
        self.inner.slabs[place.slab()].refresh(place.key(), waker)
    }

    /// Gives a place back.
    pub(super) fn forget(&self, place: Place) {
        // Once fired, the slab is or will be taken whole: not to lock keeps a thousand woken tasks out of its way.
        if !self.is_fired() {
            self.inner.slabs[place.slab()].forget(place.key());
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
    pub(super) fn waiting(&self) -> (usize, usize) {
        let slabs = self.inner.slabs.iter();
        slabs.fold((0, 0), |(waiting, places), slab| {
            let (here, made) = slab.waiting();
            (waiting + here, places + made)
        })
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
        slabs.iter().map(|slab| slab.places()).sum()
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
}

impl Future for Fired {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.token.is_fired() {
            return Poll::Ready(());
        }
        let waits = match this.place {
            None => {
                this.place = this.token.register(this.is_first, cx.waker());
                this.place.is_some()
            }
            Some(place) => this.token.refresh(place, cx.waker()),
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
        if let Some(place) = self.place {
            self.token.forget(place);
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

#[cfg(all(test, not(loom)))]
mod tests;
