//! `Panel`: the breakers of a program, for pages, metrics and operators.
//!
//! Owns who is listed, and no breaker: one that its program has dropped is listed no longer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::breaker::{Breaker, Core};
use crate::transition::{Figures, State};

/// Lists breakers: hand it to [`Settings::panel`](crate::Settings::panel).
///
/// At most 1,024 entries, each a breaker or one set of [`Breakers`](crate::Breakers); more are not listed, and counted.
///
/// # Examples
/// ```
/// use lameduck_breaker::{Breaker, Panel, Settings, State};
/// use std::sync::Arc;
///
/// let panel = Arc::new(Panel::default());
/// let breaker = Breaker::new("db", Settings::new().panel(&panel))?;
/// let listed = panel.breakers(64);
/// listed[0].force_open("the database moves");
/// assert_eq!(breaker.state(), State::ForcedOpen);
/// # Ok::<(), lameduck_breaker::SettingsError>(())
/// ```
#[derive(Default)]
pub struct Panel {
    listed: Mutex<Listed>,
}

#[derive(Default)]
struct Listed {
    entries: Vec<Entry>,
    left_out: u64,
}

enum Entry {
    One(Weak<Core>),
    Many(Weak<dyn Set>),
}

/// Breakers under one name, however their keys look.
pub(crate) trait Set: Send + Sync {
    fn name(&self) -> &Arc<str>;
    /// Calls with each of them.
    fn each(&self, look: &mut dyn FnMut(&Breaker));
    /// Adds all that was counted, read while none of them is evicted: no call is there twice.
    fn add_to(&self, group: &mut Group);
}

/// What a table of breakers has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableFigures {
    /// Keys that lost their place to another.
    pub evicted: u64,
    /// Calls whose key found no place.
    pub without_place: u64,
}

/// All breakers of one name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Group {
    /// The name.
    pub name: Arc<str>,
    /// How many there are of each state, in the order of [`State::ALL`].
    pub states: [u64; State::ALL.len()],
    /// What they have counted, those that were evicted included.
    pub figures: Figures,
    /// What their tables have counted.
    pub table: TableFigures,
}

impl Panel {
    const MOST: usize = 1_024;

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(&self, breaker: &Breaker) {
        self.add(Entry::One(Arc::downgrade(breaker.core())));
    }

    pub(crate) fn list_set(&self, set: Weak<dyn Set>) {
        self.add(Entry::Many(set));
    }

    fn add(&self, entry: Entry) {
        let mut listed = self.lock();
        if listed.entries.len() >= Self::MOST {
            listed.entries.retain(Entry::is_alive);
        }
        if listed.entries.len() < Self::MOST {
            listed.entries.push(entry);
        } else {
            listed.left_out += 1;
        }
    }

    /// How many found no place in the list.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    fn entries(&self) -> Vec<Live> {
        let listed = self.lock();
        listed.entries.iter().filter_map(Entry::live).collect()
    }

    fn each(&self, mut look: impl FnMut(&Breaker)) {
        for entry in self.entries() {
            match entry {
                Live::One(breaker) => look(&breaker),
                Live::Many(set) => set.each(&mut look),
            }
        }
    }

    /// At most so many breakers: first those that are not closed, then by number.
    #[must_use]
    pub fn breakers(&self, at_most: usize) -> Vec<Breaker> {
        let mut all = Vec::new();
        self.each(|breaker| all.push((breaker.state() == State::Closed, breaker.clone())));
        all.sort_by_key(|(is_closed, breaker)| (*is_closed, breaker.id()));
        all.truncate(at_most);
        all.into_iter().map(|(_, breaker)| breaker).collect()
    }

    /// The breaker with this [number](Breaker::id).
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Breaker> {
        let mut found = None;
        self.each(|breaker| {
            if breaker.id() == id {
                found = Some(breaker.clone());
            }
        });
        found
    }

    /// Everything that is listed, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: BTreeMap<Arc<str>, Group> = BTreeMap::new();
        let mut with = |name: &Arc<str>, change: &mut dyn FnMut(&mut Group)| {
            change(groups.entry(Arc::clone(name)).or_insert_with(|| Group {
                name: Arc::clone(name),
                states: Default::default(),
                figures: Figures::default(),
                table: TableFigures::default(),
            }));
        };
        for entry in self.entries() {
            match entry {
                Live::One(breaker) => {
                    with(&breaker.label().name, &mut |group| group.add(&breaker));
                }
                Live::Many(set) => with(set.name(), &mut |group| set.add_to(group)),
            }
        }
        groups.into_values().collect()
    }
}

impl Group {
    pub(crate) fn add(&mut self, breaker: &Breaker) {
        self.states[breaker.state() as usize] += 1;
        self.figures += breaker.figures();
    }
}

/// An entry whose breakers are still there.
enum Live {
    One(Breaker),
    Many(Arc<dyn Set>),
}

impl Entry {
    fn is_alive(&self) -> bool {
        match self {
            Self::One(core) => core.strong_count() > 0,
            Self::Many(set) => set.strong_count() > 0,
        }
    }

    fn live(&self) -> Option<Live> {
        Some(match self {
            Self::One(core) => Live::One(Breaker::from_core(core.upgrade()?)),
            Self::Many(set) => Live::Many(set.upgrade()?),
        })
    }
}

impl fmt::Debug for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panel")
            .field("entries", &self.lock().entries.len())
            .finish_non_exhaustive()
    }
}
