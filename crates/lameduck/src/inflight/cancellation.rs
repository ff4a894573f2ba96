//! A tree of cancellations: what belongs to something ends with it, and can say why.
//!
//! A child is a path, not an entry in its parent: it knows its parent, and no parent knows its children. So a child costs its parent
//! nothing, nothing has to be registered before it can be cancelled, and none can outlive its parent: whether it is
//! cancelled is asked up the path. Whoever *waits* stands on every step of the path, so that a cancellation wakes those it is for by itself,
//! without going from node to node. That is a place for each step and waiter instead of a node for each step and child; paths are
//! short (a request's has four steps), children many.
//!
//! Owns the path, what is said of a cancellation, and the future. What a moment and its waiters are stands in `token` and `slab`.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use super::slab::Slab;
use super::token::{Others, Place, Token};
use crate::sync::{self, Arc};
use crate::vocab::{Cancelled, Cause, Scope, Why};

/// Tells work that nobody waits for it any longer, and why; clones are the same.
///
/// It comes when the time for kindness is over: requests are served through the lame-duck window and the drain, and what is to wind
/// down in time listens to a [`Drain`](crate::Drain). What has been cancelled is not waited for by anybody.
///
/// A [`child`](Self::child) is cancelled with its parent, and may be by itself. There is one for the
/// [lifecycle](crate::Lifecycle::cancellation) and one for each [participant](crate::Participant::cancellation); `lameduck-http` makes one for
/// a connection and for a request where a handler asks for it.
///
/// # Examples
/// ```
/// use lameduck::{Scope, inflight::Canceller};
///
/// let job = Canceller::new("job");
/// let step = job.child("step");
/// assert!(!step.is_cancelled());
/// job.cancel("no longer wanted");
/// let cancelled = step.cancelled_by().expect("with the job");
/// assert_eq!(cancelled.scope(), &Scope::Part("job"));
/// assert_eq!(cancelled.to_string(), "job was cancelled: no longer wanted");
/// ```
#[derive(Clone)]
pub struct Cancellation {
    node: Arc<Node>,
}

/// Cancels: whoever has it decides for a [`Cancellation`] and all its children. Dropped, it cancels as well: what has nobody who could end it is
/// over.
#[must_use = "dropping it cancels"]
pub struct Canceller {
    cancellation: Cancellation,
}

/// The future of [`Cancellation::cancelled`].
///
/// # Cancel safety
/// Cancel safe: dropping it gives its places back and changes nothing else. Polled again after it was ready, it is ready again.
#[must_use = "futures do nothing unless polled"]
pub struct WhenCancelled {
    cancellation: Cancellation,
    places: Places,
}

struct Node {
    parent: Option<Cancellation>,
    scope: Scope,
    /// Set before anybody is woken. Of a child it may have come from above: then nobody is woken from here.
    cancelled: OnceLock<Cancelled>,
    moment: Moment,
}

/// Where those stand who wait for this node.
enum Moment {
    /// For thousands, from many threads.
    Wide(Token),
    /// For a few: a connection's, a request's.
    Narrow(Slab),
}

/// The places of one waiter, from the child upwards. Only a path of more steps than are usual needs more memory.
#[derive(Default)]
struct Places {
    near: [Option<Place>; Self::NEAR],
    #[expect(
        clippy::box_collection,
        reason = "rarely there, and three times as large without"
    )]
    far: Option<Box<Vec<Option<Place>>>>,
}

impl Cancellation {
    fn of(parent: Option<Self>, scope: Scope, moment: Moment) -> Self {
        Self {
            node: Arc::new(Node {
                parent,
                scope,
                cancelled: OnceLock::new(),
                moment,
            }),
        }
    }

    /// A part of this that may be cancelled by itself, and is with this; `name` is what it is called where somebody says why. One
    /// allocation.
    pub fn child(&self, name: &'static str) -> Canceller {
        self.scoped(Scope::Part(name))
    }

    /// The same for what has a scope of its own: for servers and clients that are built on this crate.
    pub fn scoped(&self, scope: Scope) -> Canceller {
        Canceller {
            cancellation: Self::of(Some(self.clone()), scope, Moment::Narrow(Slab::new())),
        }
    }

    /// The same for what thousands may wait for: a participant, on the path of every request that its connections serve.
    #[cfg(feature = "signals")]
    pub(crate) fn scoped_wide(&self, scope: Scope) -> Canceller {
        Canceller {
            cancellation: Self::of(Some(self.clone()), scope, Moment::Wide(Token::new())),
        }
    }

    /// What this is a part of; `None` for the lifecycle's, and for one that began by itself.
    #[must_use]
    pub fn parent(&self) -> Option<&Self> {
        self.node.parent.as_ref()
    }

    /// What this is the cancellation of.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.node.scope
    }

    /// Whether it was cancelled, by itself or with what it belongs to: one load for each step of the path.
    #[inline]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // `OnceLock::get` acquires what `cancel` released: who sees that it was cancelled sees what was written before.
        self.path().any(|node| node.cancelled.get().is_some())
    }

    /// Why, and by whom, once it was cancelled: the first that it was cancelled by, and the same ever after.
    #[must_use]
    pub fn cancelled_by(&self) -> Option<Cancelled> {
        if let Some(known) = self.node.cancelled.get() {
            return Some(known.clone());
        }
        let above = self.path().skip(1);
        let found = above.filter_map(|node| node.cancelled.get()).next()?;
        // Kept here, so that it does not change when a step between the two is cancelled afterwards, or this one is.
        Some(self.node.cancelled.get_or_init(|| found.clone()).clone())
    }

    /// Waits until it is cancelled; says why, and by whom. Ready at once if it was.
    ///
    /// # Cancel safety
    /// Cancel safe, see [`WhenCancelled`].
    pub fn cancelled(&self) -> WhenCancelled {
        WhenCancelled {
            cancellation: self.clone(),
            places: Places::default(),
        }
    }

    /// From here to the root.
    fn path(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(&*self.node), |&node| {
            node.parent.as_ref().map(|parent| &*parent.node)
        })
    }

    /// Makes it so without waking anybody, unless it was before.
    fn set(&self, why: Why, cause: Option<Cause>) -> bool {
        // What was cancelled from above is over already, and stays over for that reason.
        if self.cancelled_by().is_some() {
            return false;
        }
        let cancelled = Cancelled::new(self.node.scope.clone(), why, cause);
        self.node.cancelled.set(cancelled).is_ok()
    }
}

impl Canceller {
    /// A cancellation that belongs to nothing else.
    pub fn new(name: &'static str) -> Self {
        Self::wide(Scope::Part(name))
    }

    /// One for which thousands may wait.
    pub(crate) fn wide(scope: Scope) -> Self {
        Self {
            cancellation: Cancellation::of(None, scope, Moment::Wide(Token::new())),
        }
    }

    /// What it cancels: to be cloned and given to whoever works.
    #[must_use]
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Whether anybody else has what it cancels, or a child of that.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        // Only who has one makes another: seen as one here, it is one.
        Arc::strong_count(&self.cancellation.node) > 1
    }

    /// Cancels, in the program's words; says whether it was not cancelled before. Wakes everyone who waits before it returns.
    pub fn cancel(&self, why: impl Into<std::sync::Arc<str>>) -> bool {
        self.cancel_because(Why::Said(why.into()), None)
    }

    /// The same for a reason that has a name: for servers and clients that are built on this crate. `cause` is what the service was asked
    /// to leave by, if it was.
    pub fn cancel_because(&self, why: Why, cause: Option<Cause>) -> bool {
        let first = self.cancellation.set(why, cause);
        if first {
            drop(self.wake_first());
        }
        first
    }

    /// The same, but of thousands nobody is woken before what it returns is dropped, on any thread.
    #[cfg(feature = "signals")]
    pub(crate) fn cancel_first(&self, why: Why, cause: Option<Cause>) -> Option<Others> {
        let first = self.cancellation.set(why, cause);
        first.then(|| self.wake_first()).flatten()
    }

    fn wake_first(&self) -> Option<Others> {
        match &self.cancellation.node.moment {
            Moment::Wide(token) => token.fire_first(),
            Moment::Narrow(slab) => {
                slab.spend();
                None
            }
        }
    }
}

impl Deref for Canceller {
    type Target = Cancellation;

    fn deref(&self) -> &Cancellation {
        &self.cancellation
    }
}

impl Drop for Canceller {
    fn drop(&mut self) {
        // What was cancelled from above keeps that reason.
        self.cancel_because(Why::Ended, None);
    }
}

impl Moment {
    /// A place for this waker; None if the moment came meanwhile.
    fn register(&self, waker: &Waker) -> Option<Place> {
        match self {
            Self::Wide(token) => token.register(false, waker),
            Self::Narrow(slab) => slab.register(waker).map(|key| Place::new(0, key)),
        }
    }

    /// Makes sure that this waker stands in the place; false if the moment came meanwhile.
    fn refresh(&self, place: Place, waker: &Waker) -> bool {
        match self {
            Self::Wide(token) => token.refresh(place, waker),
            Self::Narrow(slab) => slab.refresh(place.key(), waker),
        }
    }

    fn forget(&self, place: Place) {
        match self {
            Self::Wide(token) => token.forget(place),
            Self::Narrow(slab) => slab.forget(place.key()),
        }
    }
}

impl Places {
    /// A request's path is lifecycle, participant, connection, request.
    const NEAR: usize = 4;

    fn at(&mut self, step: usize) -> &mut Option<Place> {
        if step < Self::NEAR {
            return &mut self.near[step];
        }
        let index = step - Self::NEAR;
        let far = self.far.get_or_insert_default();
        if index >= far.len() {
            far.resize(index + 1, None);
        }
        &mut far[index]
    }

    /// One for each step that was looked at.
    fn of_steps(&self) -> impl Iterator<Item = Option<Place>> {
        let far = self.far.iter().flat_map(|far| far.iter());
        self.near.iter().chain(far).copied()
    }
}

impl Future for WhenCancelled {
    type Output = Cancelled;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cancelled> {
        let this = self.get_mut();
        if let Some(cancelled) = this.cancellation.cancelled_by() {
            return Poll::Ready(cancelled);
        }
        // Each step's lock orders this against its cancellation: either that finds the waker, or the place is refused here.
        for (step, node) in this.cancellation.path().enumerate() {
            let place = this.places.at(step);
            let waits = match *place {
                Some(taken) => node.moment.refresh(taken, cx.waker()),
                None => {
                    *place = node.moment.register(cx.waker());
                    place.is_some()
                }
            };
            if !waits {
                let cancelled = this.cancellation.cancelled_by();
                return Poll::Ready(cancelled.expect("it is said before anybody is woken"));
            }
        }
        Poll::Pending
    }
}

impl Drop for WhenCancelled {
    fn drop(&mut self) {
        for (node, place) in self.cancellation.path().zip(self.places.of_steps()) {
            if let Some(place) = place {
                node.moment.forget(place);
            }
        }
    }
}

/// A long path is taken down step by step: the drop of each would be a call within that of its child.
impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(parent) = next {
            // Another one still has it, and goes on from there. To be asked whether it is the last, and dropped afterwards, would leave a gap
            // in which the other one goes, and the drop that follows is within this one.
            let Some(mut node) = sync::last(parent.node) else {
                return;
            };
            next = node.parent.take();
        }
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation")
            .field("scope", &self.node.scope)
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Canceller")
            .field(&self.cancellation)
            .finish()
    }
}

impl fmt::Debug for WhenCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WhenCancelled")
            .field(&self.cancellation)
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
