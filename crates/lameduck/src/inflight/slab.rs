//! Wakers of those who wait for one moment, behind one lock.
//!
//! Owns places and their wakers. Foreign code (cloning, waking and dropping a waker) runs outside the lock. No wake-up is lost: places are
//! taken, and all of them spent, under the lock, and a slab that was spent takes nobody.

use std::mem;
use std::task::Waker;

use crate::sync::{Mutex, lock};

/// See the module.
pub(super) struct Slab(Mutex<Waiters>);

/// As many entries as futures were registered at the same time, freed ones reused first.
struct Waiters {
    /// At key 0: most nodes of a tree have one waiter, who costs them no list.
    one: Option<Waker>,
    /// From key 1 on.
    entries: Vec<Entry>,
    free: Option<usize>,
    spent: bool,
}

enum Entry {
    Free { next: Option<usize> },
    Waiting(Waker),
}

impl Slab {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Waiters::new()))
    }

    /// Takes a place and gives its key; None if the slab is spent.
    pub(super) fn register(&self, waker: &Waker) -> Option<usize> {
        // Cloned before the lock: cloning runs foreign code.
        let waker = waker.clone();
        let mut waiters = lock(&self.0);
        let placed = waiters.insert(waker);
        drop(waiters);
        // An unused waker is dropped here, outside the lock.
        placed.ok()
    }

    /// Makes sure that this waker stands in the place. False if the slab is spent.
    pub(super) fn refresh(&self, key: usize, waker: &Waker) -> bool {
        {
            let mut waiters = lock(&self.0);
            match waiters.get(key) {
                None => return false,
                Some(known) if known.will_wake(waker) => return true,
                Some(_) => {}
            }
        }
        let waker = waker.clone();
        // Only the future that has the place, borrowed mutably by its poll, frees it: between the two locks it can only be spent.
        let replaced = lock(&self.0).replace(key, waker);
        // Both outcomes carry a waker that is dropped here, outside the lock.
        replaced.is_ok()
    }

    /// Gives a place back.
    pub(super) fn forget(&self, key: usize) {
        let waker = lock(&self.0).remove(key);
        drop(waker);
    }

    /// Takes nobody any longer, and wakes all who have a place.
    pub(super) fn spend(&self) {
        let (one, others) = lock(&self.0).spend();
        one.into_iter().for_each(wake);
        for entry in others {
            if let Entry::Waiting(waker) = entry {
                wake(waker);
            }
        }
    }

    /// How many places were made.
    #[cfg(any(feature = "signals", all(test, not(loom))))]
    pub(super) fn places(&self) -> usize {
        let waiters = lock(&self.0);
        usize::from(waiters.one.is_some()) + waiters.entries.len()
    }

    /// How many wait, and how many places were made for them.
    #[cfg(all(test, not(loom)))]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let waiters = lock(&self.0);
        let waits = |entry: &&Entry| matches!(entry, Entry::Waiting(_));
        let one = usize::from(waiters.one.is_some());
        let here = waiters.entries.iter().filter(waits).count();
        (one + here, one + waiters.entries.len())
    }
}

impl Waiters {
    const fn new() -> Self {
        Self {
            one: None,
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
        if self.one.is_none() {
            self.one = Some(waker);
            return Ok(0);
        }
        let Some(index) = self.free else {
            self.entries.push(Entry::Waiting(waker));
            return Ok(self.entries.len());
        };
        if let Entry::Free { next } = mem::replace(&mut self.entries[index], Entry::Waiting(waker))
        {
            self.free = next;
        }
        Ok(index + 1)
    }

    /// None when the slab is spent.
    fn get(&mut self, key: usize) -> Option<&mut Waker> {
        let Some(index) = key.checked_sub(1) else {
            return self.one.as_mut();
        };
        match self.entries.get_mut(index) {
            Some(Entry::Waiting(waker)) => Some(waker),
            _ => None,
        }
    }

    /// The waker that stood there, or the new one back when the slab is spent.
    fn replace(&mut self, key: usize, waker: Waker) -> Result<Waker, Waker> {
        match self.get(key) {
            Some(known) => Ok(mem::replace(known, waker)),
            None => Err(waker),
        }
    }

    /// Frees the place; None when the slab is spent.
    fn remove(&mut self, key: usize) -> Option<Waker> {
        let Some(index) = key.checked_sub(1) else {
            return self.one.take();
        };
        let entry = self.entries.get_mut(index)?;
        match mem::replace(entry, Entry::Free { next: self.free }) {
            Entry::Waiting(waker) => {
                self.free = Some(index);
                Some(waker)
            }
            Entry::Free { next } => {
                *entry = Entry::Free { next };
                None
            }
        }
    }

    fn spend(&mut self) -> (Option<Waker>, Vec<Entry>) {
        self.spent = true;
        self.free = None;
        (self.one.take(), mem::take(&mut self.entries))
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
