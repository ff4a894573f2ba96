//! `Breakers`: one breaker for each key, of which there may be no end.
//!
//! Owns the table: who has a place, who loses it, what becomes of those without. How a breaker works is `breaker`'s.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};

use crate::breaker::{Breaker, next_id};
use crate::panel::{Group, Set, TableFigures};
use crate::rules::Rules;
use crate::settings::{Settings, SettingsError};
use crate::transition::{Figures, Label};

/// A breaker for each key: a route, a host that is called, a tenant. A cheap handle, to be cloned freely.
///
/// At most [`capacity`](BreakersBuilder::capacity) keys have one. When all places are taken a new key gets that of one which has not been asked for
/// lately, is closed, and has nothing bad in its window; where there is none, what [`Beyond`] says happens, and is counted.
///
/// Looking a key up takes a lock that only new keys exclude, and a key's breaker may be kept and asked without any.
///
/// Take keys that you choose (route patterns, upstreams), not what peers send: whoever can make up keys can fill the table. With a lifecycle or a
/// [`Panel`](crate::Panel) they are shown: names of tenants or of internal hosts are read by whoever reads the status page, without a token.
///
/// # Examples
/// ```
/// use lameduck_breaker::{Breakers, Settings, State};
///
/// let hosts = Breakers::<String>::new("upstream", Settings::new().failures_in_a_row(1))?;
/// let one = hosts.of("a.internal").expect("a place");
/// one.acquire().expect("closed").failure();
/// assert_eq!(hosts.of("a.internal").expect("a place").state(), State::Open);
/// assert_eq!(hosts.of("b.internal").expect("a place").state(), State::Closed);
/// # Ok::<(), lameduck_breaker::SettingsError>(())
/// ```
pub struct Breakers<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    /// What panels know it by.
    id: u64,
    name: Arc<str>,
    settings: Settings,
    rules: Rules,
    capacity: usize,
    beyond: Beyond,
    common: Breaker,
    table: RwLock<Table<K>>,
    without_place: AtomicU64,
}

struct Table<K> {
    by_key: HashMap<K, usize>,
    places: Vec<Place<K>>,
    /// Whom the next new key looks at first.
    hand: usize,
    evicted: u64,
    /// What those counted that are gone.
    past: Figures,
}

struct Place<K> {
    key: K,
    breaker: Breaker,
    /// Asked for since the hand came by.
    is_used: AtomicBool,
}

/// What becomes of calls whose key finds no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Beyond {
    /// One breaker for all of them.
    #[default]
    Common,
    /// They are admitted, and nobody counts them.
    Unwatched,
}

impl<K> Clone for Breakers<K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

/// Breakers to be.
#[derive(Debug)]
#[must_use = "it makes breakers only when it is told to"]
pub struct BreakersBuilder {
    name: Arc<str>,
    settings: Settings,
    capacity: usize,
    beyond: Beyond,
}

impl BreakersBuilder {
    /// How many keys have a place: 1,024; at least 1. A breaker takes some 700 bytes, and 24 for each bucket beyond ten.
    pub const fn capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// What becomes of calls whose key finds none: they share one breaker.
    pub const fn beyond(mut self, beyond: Beyond) -> Self {
        self.beyond = beyond;
        self
    }

    /// Makes them.
    ///
    /// # Errors
    /// [`SettingsError`]: a setting that makes no sense, with its numbers.
    pub fn build<K>(self) -> Result<Breakers<K>, SettingsError>
    where
        K: fmt::Display + Clone + Eq + Hash + Send + Sync + 'static,
    {
        let rules = self.settings.rules()?;
        let label = Label::new(Arc::clone(&self.name), None);
        let inner = Arc::new(Inner {
            id: next_id(),
            common: Breaker::of(label, rules.clone(), &self.settings),
            name: self.name,
            rules,
            capacity: self.capacity.max(1),
            beyond: self.beyond,
            table: RwLock::new(Table {
                by_key: HashMap::new(),
                places: Vec::new(),
                hand: 0,
                evicted: 0,
                past: Figures::default(),
            }),
            without_place: AtomicU64::new(0),
            settings: self.settings,
        });
        for panel in &inner.settings.panels {
            let weak = Arc::downgrade(&inner);
            panel.list_set(inner.id, &inner.name, weak as Weak<dyn Set>);
        }
        Ok(Breakers { inner })
    }
}

/// How many places one new key looks at.
const LOOKS: usize = 32;

impl<K> Breakers<K>
where
    K: fmt::Display + Clone + Eq + Hash + Send + Sync + 'static,
{
    /// Breakers under this name, each with these settings.
    ///
    /// # Errors
    /// [`SettingsError`]: a setting that makes no sense, with its numbers.
    pub fn new(name: impl Into<Arc<str>>, settings: Settings) -> Result<Self, SettingsError> {
        Self::builder(name, settings).build()
    }

    /// The same, with a capacity of its own.
    pub fn builder(name: impl Into<Arc<str>>, settings: Settings) -> BreakersBuilder {
        BreakersBuilder {
            name: name.into(),
            settings,
            capacity: 1_024,
            beyond: Beyond::default(),
        }
    }

    /// The breaker of a key, made when it is asked for first. `None`: the key found no place, and [`Beyond::Unwatched`] was chosen.
    #[must_use]
    pub fn of<Q>(&self, key: &Q) -> Option<Breaker>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        let table = &self.inner.table;
        {
            let table = table.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = table.place(key) {
                return Some(place.take());
            }
        }
        let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = table.place(key) {
            return Some(place.take());
        }
        self.inner.admit(&mut table, key.to_owned())
    }

    /// How many keys have a place.
    #[must_use]
    pub fn len(&self) -> usize {
        let table = self.inner.table.read();
        table.unwrap_or_else(PoisonError::into_inner).places.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the table has counted.
    #[must_use]
    pub fn figures(&self) -> TableFigures {
        let table = self.inner.table.read();
        self.inner
            .table_figures(&table.unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Eq + Hash> Table<K> {
    fn place<Q>(&self, key: &Q) -> Option<&Place<K>>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        self.by_key.get(key).map(|nth| &self.places[*nth])
    }

    /// The next place whose breaker nobody would miss.
    fn spare(&mut self) -> Option<usize> {
        for _ in 0..LOOKS.min(2 * self.places.len()) {
            let nth = self.hand;
            self.hand = (nth + 1) % self.places.len();
            let place = &mut self.places[nth];
            if std::mem::take(place.is_used.get_mut()) {
                continue;
            }
            // Nobody can get hold of it meanwhile: the table is locked, and nobody else has it.
            if place.breaker.is_alone() && place.breaker.core().is_idle() {
                return Some(nth);
            }
        }
        None
    }
}

impl<K> Place<K> {
    fn take(&self) -> Breaker {
        // Relaxed: a hint. Written once between two looks of the hand, so that readers do not take the line from each other.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        self.breaker.clone()
    }
}

impl<K: fmt::Display + Clone + Eq + Hash> Inner<K> {
    /// Gives a new key a place, if there is one.
    fn admit(&self, table: &mut RwLockWriteGuard<'_, Table<K>>, key: K) -> Option<Breaker> {
        let is_full = table.places.len() >= self.capacity;
        let spare = if is_full { table.spare() } else { None };
        if is_full && spare.is_none() {
            // Relaxed: a figure.
            self.without_place.fetch_add(1, Ordering::Relaxed);
            return match self.beyond {
                Beyond::Common => Some(self.common.clone()),
                Beyond::Unwatched => None,
            };
        }
        let label = Label::new(Arc::clone(&self.name), Some(key.to_string()));
        let place = Place {
            key: key.clone(),
            breaker: Breaker::of(label, self.rules.clone(), &self.settings),
            // Asked for once is not asked for lately: keys that never come again go before those that do.
            is_used: AtomicBool::new(false),
        };
        let breaker = place.breaker.clone();
        let nth = match spare {
            Some(nth) => {
                let gone = std::mem::replace(&mut table.places[nth], place);
                table.by_key.remove(&gone.key);
                table.evicted += 1;
                table.past += gone.breaker.figures();
                nth
            }
            None => {
                table.places.push(place);
                table.places.len() - 1
            }
        };
        table.by_key.insert(key, nth);
        Some(breaker)
    }
}

impl<K> Inner<K> {
    fn table_figures(&self, table: &Table<K>) -> TableFigures {
        TableFigures {
            evicted: table.evicted,
            // Relaxed: a figure.
            without_place: self.without_place.load(Ordering::Relaxed),
        }
    }

    /// The breaker of those without a place, if there were any.
    fn common(&self) -> Option<&Breaker> {
        // Relaxed: nobody has met it before the first that found no place.
        let is_met = self.without_place.load(Ordering::Relaxed) > 0;
        (is_met && self.beyond == Beyond::Common).then_some(&self.common)
    }
}

impl<K: Send + Sync> Set for Inner<K> {
    fn each(&self, look: &mut dyn FnMut(&Breaker)) {
        // None is cloned: what is looked at is no more in use than before.
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let places = table.places.iter().map(|place| &place.breaker);
        places.chain(self.common()).for_each(look);
    }

    fn add_to(&self, group: &mut Group) {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let places = table.places.iter().map(|place| &place.breaker);
        places
            .chain(self.common())
            .for_each(|breaker| group.add(breaker));
        group.figures += table.past;
        group.table += self.table_figures(&table);
    }
}

impl<K> Drop for Inner<K> {
    fn drop(&mut self) {
        if self.settings.panels.is_empty() {
            return;
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut figures = table.past;
        for place in &table.places {
            figures += place.breaker.figures();
        }
        figures += self.common.figures();
        for panel in &self.settings.panels {
            panel.forget(self.id, figures, self.table_figures(&table));
        }
    }
}

impl<K> fmt::Debug for Breakers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers")
            .field("name", &self.inner.name)
            .field("capacity", &self.inner.capacity)
            .field("beyond", &self.inner.beyond)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
