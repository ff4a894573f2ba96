//! What the lifecycle asks a history: which budget a participant gets, and which it was given.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::book::{Book, Entry};
use crate::{
    driver::Budgets,
    machine::learn,
    vocab::{Learned, time::rfc3339},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    /// Where the plan's drain ends: no budget goes beyond that.
    drain_end: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    book: Book,
    /// What was given in this life, by name: as many as there are participants.
    given: BTreeMap<String, Learned>,
}

impl Memory {
    pub(super) const fn new(book: Book, drain_end: Duration) -> Self {
        Self {
            drain_end,
            inner: Mutex::new(Inner {
                book,
                given: BTreeMap::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a shutdown; returns how many participants there was no room for.
    pub(super) fn add(&self, ended: Vec<(String, Entry)>) -> usize {
        let mut inner = self.lock();
        let added = |(name, entry): (String, Entry)| !inner.book.add(&name, entry);
        ended
            .into_iter()
            .map(added)
            .filter(|refused| *refused)
            .count()
    }

    pub(super) fn to_json(&self) -> String {
        let written = rfc3339(std::time::SystemTime::now());
        self.lock().book.to_json(&written, self.drain_end)
    }
}

impl Budgets for Memory {
    fn learn(&self, name: &str, base: Duration) -> Duration {
        let mut inner = self.lock();
        let learned = learn(base, &inner.book.needs(name), self.drain_end);
        inner.given.insert(name.to_owned(), learned);
        learned.budget
    }

    fn learned(&self, name: &str) -> Option<Learned> {
        self.lock().given.get(name).copied()
    }
}
