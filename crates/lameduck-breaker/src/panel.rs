//! `Panel`: the breakers of a program, for pages, metrics and operators.
//!
//! Owns who is listed, and no breaker: one that its program has dropped is listed no longer. What it has counted stays in the sums of its name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::breaker::{Breaker, Core};
use crate::transition::{Figures, State};

/// Lists breakers: hand it to [`Settings::panel`](crate::Settings::panel).
///
/// At most 1,024 entries, each a breaker or one set of [`Breakers`](crate::Breakers), and the sums of as many names whose breakers are gone; more are
/// not listed, and counted.
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
    /// What was counted by those that are gone, by name.
    past: BTreeMap<Arc<str>, Sums>,
    left_out: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    figures: Figures,
    table: TableFigures,
}

struct Entry {
    id: u64,
    name: Arc<str>,
    whom: Whom,
    /// What was shown of it last: that is shown while it is on its way out, so that no counter goes back.
    shown: Sums,
}

enum Whom {
    One(Weak<Core>),
    Many(Weak<dyn Set>),
}

/// Breakers under one name, however their keys look.
pub(crate) trait Set: Send + Sync {
    /// Calls with each of them. No key gets or loses a place meanwhile.
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
    /// What they have counted, those that were evicted or dropped included.
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
        let name = Arc::clone(&breaker.label().name);
        let whom = Whom::One(Arc::downgrade(breaker.core()));
        self.add(breaker.id(), name, whom);
    }

    pub(crate) fn list_set(&self, id: u64, name: &Arc<str>, set: Weak<dyn Set>) {
        self.add(id, Arc::clone(name), Whom::Many(set));
    }

    fn add(&self, id: u64, name: Arc<str>, whom: Whom) {
        let mut listed = self.lock();
        if listed.entries.len() >= Self::MOST {
            listed.left_out += 1;
            return;
        }
        listed.entries.push(Entry {
            id,
            name,
            whom,
            shown: Sums::default(),
        });
    }

    /// One that was listed, or one that was left out, is being dropped, and has counted this.
    pub(crate) fn forget(&self, id: u64, figures: Figures, table: TableFigures) {
        let mut listed = self.lock();
        let Some(nth) = listed.entries.iter().position(|entry| entry.id == id) else {
            return;
        };
        let Entry { name, .. } = listed.entries.remove(nth);
        let sums = Sums { figures, table };
        if sums == Sums::default() {
            return;
        }
        if listed.past.len() >= Self::MOST && !listed.past.contains_key(&name) {
            listed.left_out += 1;
            return;
        }
        *listed.past.entry(name).or_default() += sums;
    }

    /// How many found no place in the list, or no place for what they had counted when they were dropped.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    fn each(&self, mut look: impl FnMut(&Breaker)) {
        // Whoever is the last to hold one drops it, which takes the lock: not while it is held.
        let all: Vec<_> = {
            let listed = self.lock();
            listed.entries.iter().filter_map(Entry::live).collect()
        };
        for live in all {
            match live {
                Live::One(breaker) => look(&breaker),
                Live::Many(set) => set.each(&mut look),
            }
        }
    }

    /// Looks at no more than so many breakers: first those that are not closed, then by number. Also says how many there are in all.
    ///
    /// Meanwhile no key of [`Breakers`](crate::Breakers) gets or loses a place: look, and come back. Calls go on.
    pub fn look<T>(&self, at_most: usize, mut look: impl FnMut(&Breaker) -> T) -> (Vec<T>, usize) {
        let rank = |breaker: &Breaker| (breaker.state() == State::Closed, breaker.id());
        let mut ranks = Vec::new();
        self.each(|breaker| ranks.push(rank(breaker)));
        let count = ranks.len();
        ranks.sort_unstable();
        ranks.truncate(at_most);
        let places: HashMap<u64, usize> =
            (0..).zip(&ranks).map(|(nth, (_, id))| (*id, nth)).collect();
        let mut seen = Vec::with_capacity(places.len());
        self.each(|breaker| {
            if let Some(nth) = places.get(&breaker.id()) {
                seen.push((*nth, look(breaker)));
            }
        });
        seen.sort_by_key(|(nth, _)| *nth);
        (seen.into_iter().map(|(_, one)| one).collect(), count)
    }

    /// At most so many breakers: first those that are not closed, then by number. A key whose breaker somebody holds keeps its place: to only look at them
    /// take [`look`](Self::look).
    #[must_use]
    pub fn breakers(&self, at_most: usize) -> Vec<Breaker> {
        self.look(at_most, Breaker::clone).0
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

    /// Everything that is listed, by name, with what those have counted that are no longer.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let (mut groups, alive) = self.snapshot();
        let mut shown = HashMap::new();
        for (id, name, live) in &alive {
            let mut alone = Group::new(Arc::clone(name));
            match live {
                Live::One(breaker) => alone.add(breaker),
                Live::Many(set) => set.add_to(&mut alone),
            }
            shown.insert(*id, alone.sums());
            *group(&mut groups, name) += alone;
        }
        let mut listed = self.lock();
        for entry in &mut listed.entries {
            if let Some(sums) = shown.remove(&entry.id) {
                entry.shown = sums;
            }
        }
        drop(listed);
        groups.into_values().collect()
    }

    /// What those have counted that are gone or going, and the others, all of one instant.
    fn snapshot(&self) -> (Groups, Vec<(u64, Arc<str>, Live)>) {
        let mut groups = Groups::new();
        let mut alive = Vec::new();
        let listed = self.lock();
        let mut with = |name, sums: Sums| {
            let group = group(&mut groups, name);
            group.figures += sums.figures;
            group.table += sums.table;
        };
        for (name, sums) in &listed.past {
            with(name, *sums);
        }
        for entry in &listed.entries {
            match entry.live() {
                Some(live) => alive.push((entry.id, Arc::clone(&entry.name), live)),
                // Whoever drops it waits for this lock.
                None => with(&entry.name, entry.shown),
            }
        }
        drop(listed);
        (groups, alive)
    }
}

type Groups = BTreeMap<Arc<str>, Group>;

fn group<'a>(groups: &'a mut Groups, name: &Arc<str>) -> &'a mut Group {
    let new = || Group::new(Arc::clone(name));
    groups.entry(Arc::clone(name)).or_insert_with(new)
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.figures += other.figures;
        self.table += other.table;
    }
}

impl AddAssign for TableFigures {
    fn add_assign(&mut self, other: Self) {
        self.evicted += other.evicted;
        self.without_place += other.without_place;
    }
}

impl Group {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            states: Default::default(),
            figures: Figures::default(),
            table: TableFigures::default(),
        }
    }

    const fn sums(&self) -> Sums {
        Sums {
            figures: self.figures,
            table: self.table,
        }
    }

    pub(crate) fn add(&mut self, breaker: &Breaker) {
        self.states[breaker.state() as usize] += 1;
        self.figures += breaker.figures();
    }
}

impl AddAssign for Group {
    fn add_assign(&mut self, other: Self) {
        for (mine, others) in self.states.iter_mut().zip(other.states) {
            *mine += others;
        }
        self.figures += other.figures;
        self.table += other.table;
    }
}

/// An entry whose breakers are still there.
enum Live {
    One(Breaker),
    Many(Arc<dyn Set>),
}

impl Entry {
    fn live(&self) -> Option<Live> {
        Some(match &self.whom {
            Whom::One(core) => Live::One(Breaker::from_core(core.upgrade()?)),
            Whom::Many(set) => Live::Many(set.upgrade()?),
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
