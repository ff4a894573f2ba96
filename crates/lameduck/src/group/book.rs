//! The book of a group, and who may go by it. Pure: it has no clock, no runtime and no carrier, and the same page gives the same answer
//! to whoever reads it.
//!
//! A member is *unavailable* while it holds a slot, while it leaves alone, and, where a number of members is expected, while it is missing.
//! A slot is lent to the longest waiting whose scope (zone or group) has fewer unavailable than it may have. So the order is that in which
//! members asked, except that nobody waits for a zone that is not his.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rules::Scope;
use super::{Identity, MemberId, Rules};

/// What a member is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It serves.
    Serving,
    /// It wants to leave. The lower ticket asked earlier; no two members have the same.
    Waiting {
        /// Its place in the order.
        ticket: u64,
    },
    /// It leaves, and has a slot.
    Holding,
    /// It leaves without one.
    Alone,
}

/// The members of a group, with what each is about.
///
/// # Examples
/// ```
/// use lameduck::group::{Book, Identity, Rules, Share, Standing};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut book = Book::new(Rules::new(Share::count(1)?));
/// for (name, ticket) in [("a", 2), ("b", 1)] {
///     book.put(&Identity::new(name)?, Standing::Waiting { ticket });
/// }
/// let next = book.next();
/// assert_eq!(next.len(), 1, "one slot");
/// assert_eq!(next[0].as_str(), "b", "it asked earlier");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    rules: Rules,
    pages: BTreeMap<MemberId, Page>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    zone: Arc<str>,
    standing: Standing,
}

/// What the rules make of one scope.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    members: u32,
    gone: u32,
}

impl Tally {
    /// How many more may go.
    const fn room(self, rules: &Rules) -> u32 {
        let unavailable = self.gone.saturating_add(rules.missing(self.members));
        rules.allowed(self.members).saturating_sub(unavailable)
    }
}

impl Book {
    /// An empty book.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            pages: BTreeMap::new(),
        }
    }

    /// Its rules.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        self.rules
    }

    /// Enters a member, or what it is about now.
    pub fn put(&mut self, who: &Identity, standing: Standing) {
        let zone = Arc::clone(&who.zone);
        self.pages.insert(who.id.clone(), Page { zone, standing });
    }

    /// Says what a member is about now, if it is one.
    pub fn turn_to(&mut self, id: &MemberId, standing: Standing) {
        if let Some(page) = self.pages.get_mut(id) {
            page.standing = standing;
        }
    }

    /// Strikes a member out; says what it was about.
    pub fn strike(&mut self, id: &MemberId) -> Option<Standing> {
        self.pages.remove(id).map(|page| page.standing)
    }

    /// What a member is about.
    #[must_use]
    pub fn standing(&self, id: &MemberId) -> Option<Standing> {
        self.pages.get(id).map(|page| page.standing)
    }

    /// How many members there are.
    #[must_use]
    pub fn members(&self) -> usize {
        self.pages.len()
    }

    /// Those that serve.
    pub fn serving(&self) -> impl Iterator<Item = &MemberId> {
        let serves = |(_, page): &(&MemberId, &Page)| page.standing == Standing::Serving;
        self.pages.iter().filter(serves).map(|(id, _)| id)
    }

    /// Who may go now, all of them, in the order in which they asked. Lending to fewer of them, in any order, oversells nothing.
    #[must_use]
    pub fn next(&self) -> Vec<&MemberId> {
        let mut tallies = self.tallies();
        let mut next = Vec::new();
        for (_, id, page) in self.waiting() {
            let tally = tallies.entry(self.scope(page)).or_default();
            if tally.room(&self.rules) > 0 {
                tally.gone += 1;
                next.push(id);
            }
        }
        next
    }

    /// How many of those that compete with a waiting member asked before it; `None` if it does not wait.
    #[must_use]
    pub fn ahead(&self, id: &MemberId) -> Option<usize> {
        let page = self.pages.get(id)?;
        let Standing::Waiting { ticket } = page.standing else {
            return None;
        };
        let scope = self.scope(page);
        let before = self.waiting().into_iter();
        let before = before.filter(|(other, _, page)| *other < ticket && self.scope(page) == scope);
        Some(before.count())
    }

    /// Those that wait, in the order in which they asked.
    fn waiting(&self) -> Vec<(u64, &MemberId, &Page)> {
        let waiting = self
            .pages
            .iter()
            .filter_map(|(id, page)| match page.standing {
                Standing::Waiting { ticket } => Some((ticket, id, page)),
                _ => None,
            });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|(ticket, ..)| *ticket);
        waiting
    }

    fn tallies(&self) -> BTreeMap<&str, Tally> {
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for page in self.pages.values() {
            let tally = tallies.entry(self.scope(page)).or_default();
            tally.members = tally.members.saturating_add(1);
            if matches!(page.standing, Standing::Holding | Standing::Alone) {
                tally.gone += 1;
            }
        }
        tallies
    }

    /// By what members are counted together.
    fn scope<'a>(&self, page: &'a Page) -> &'a str {
        match self.rules.scope() {
            Scope::Group => "",
            Scope::Zone => &page.zone,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Share;
    use super::*;

    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const ZONES: [&str; 3] = ["", "x", "y"];

    fn who(name: usize, zone: usize) -> Identity {
        let named = Identity::new(NAMES[name]).expect("a name");
        named.in_zone(ZONES[zone]).expect("a zone")
    }

    fn names(book: &Book) -> Vec<&str> {
        book.next().into_iter().map(MemberId::as_str).collect()
    }

    fn book(rules: &str, pages: &[(&str, &str, Standing)]) -> Book {
        let mut book = Book::new(rules.parse().expect("rules"));
        for (name, zone, standing) in pages {
            let who = Identity::new(name).expect("a name");
            book.put(&who.in_zone(zone).expect("a zone"), *standing);
        }
        book
    }

    const fn waits(ticket: u64) -> Standing {
        Standing::Waiting { ticket }
    }

    #[test]
    fn a_full_zone_holds_up_nobody_elsewhere() {
        let pages = [
            ("a", "x", Standing::Holding),
            ("b", "x", waits(1)),
            ("c", "y", waits(2)),
            ("d", "y", waits(3)),
        ];
        let zoned = book("1 in each zone", &pages);
        assert_eq!(names(&zoned), ["c"]);
        let d = "d".parse().expect("a name");
        assert_eq!(zoned.ahead(&d), Some(1), "only its own zone is ahead");
        assert_eq!(names(&book("1", &pages)), [""; 0]);
        assert_eq!(names(&book("3", &pages)), ["b", "c"]);
    }

    #[test]
    fn who_leaves_alone_or_is_missing_is_unavailable() {
        let pages = [
            ("a", "", Standing::Alone),
            ("b", "", waits(1)),
            ("c", "", Standing::Serving),
        ];
        assert_eq!(names(&book("1", &pages)), [""; 0]);
        assert_eq!(names(&book("2", &pages)), ["b"]);
        assert_eq!(names(&book("2 of 4", &pages)), [""; 0], "one is missing");
        assert_eq!(names(&book("3 of 4", &pages)), ["b"]);
    }

    #[test]
    fn rules_that_became_narrower_lend_nothing_more() {
        let pages = [
            ("a", "", Standing::Holding),
            ("b", "", Standing::Holding),
            ("c", "", waits(9)),
        ];
        assert_eq!(names(&book("1", &pages)), [""; 0]);
    }

    /// What can happen to a group; members and zones are indices.
    #[derive(Clone, Debug)]
    enum Event {
        Joins(usize, usize),
        Asks(usize),
        Returns(usize),
        GoesAlone(usize),
        Dies(usize),
        Lend(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let member = 0..NAMES.len();
        let event = prop_oneof![
            (member.clone(), 0..ZONES.len()).prop_map(|(m, z)| Event::Joins(m, z)),
            member.clone().prop_map(Event::Asks),
            member.clone().prop_map(Event::Returns),
            member.clone().prop_map(Event::GoesAlone),
            member.clone().prop_map(Event::Dies),
            member.prop_map(Event::Lend),
        ];
        prop::collection::vec(event, 0..80)
    }

    fn rules() -> impl Strategy<Value = Rules> {
        let share = prop_oneof![
            (1_u32..4).prop_map(|n| Share::count(n).expect("one or more")),
            (1_u8..=100).prop_map(|n| Share::percent(n).expect("a percentage")),
        ];
        (share, any::<bool>(), prop::option::of(1_u32..6)).prop_map(|(share, zoned, expected)| {
            let rules = Rules::new(share);
            let rules = if zoned { rules.per_zone() } else { rules };
            expected.map_or(rules, |members| rules.expecting(members))
        })
    }

    /// How many of a scope are gone or missing, and how many may be: counted here once more, by hand.
    fn count(book: &Book, scope: &str) -> (u32, u32) {
        let of_scope = |page: &&Page| book.rules.scope() == Scope::Group || &*page.zone == scope;
        let pages: Vec<&Page> = book.pages.values().filter(of_scope).collect();
        let members = u32::try_from(pages.len()).expect("few");
        let gone = pages
            .iter()
            .filter(|page| matches!(page.standing, Standing::Holding | Standing::Alone));
        let gone = u32::try_from(gone.count()).expect("few");
        (
            gone + book.rules.missing(members),
            book.rules.allowed(members),
        )
    }

    fn apply(book: &mut Book, event: &Event, tickets: &mut u64) -> Result<(), TestCaseError> {
        let id = |member: &usize| who(*member, 0).id;
        match event {
            Event::Joins(member, zone) => {
                if book.standing(&id(member)).is_none() {
                    book.put(&who(*member, *zone), Standing::Serving);
                }
            }
            Event::Asks(member) => {
                if book.standing(&id(member)) == Some(Standing::Serving) {
                    *tickets += 1;
                    book.turn_to(&id(member), waits(*tickets));
                }
            }
            Event::Returns(member) => book.turn_to(&id(member), Standing::Serving),
            Event::GoesAlone(member) => book.turn_to(&id(member), Standing::Alone),
            Event::Dies(member) => drop(book.strike(&id(member))),
            Event::Lend(most) => lend(book, *most)?,
        }
        Ok(())
    }

    /// Lends to some of those that may go; what must hold of each lending.
    fn lend(book: &mut Book, most: usize) -> Result<(), TestCaseError> {
        let next: Vec<MemberId> = book.next().into_iter().take(most).cloned().collect();
        for id in next {
            let page = book.pages[&id].clone();
            let scope = book.scope(&page).to_owned();
            prop_assert_eq!(book.ahead(&id), Some(0), "{} goes before its turn", id);
            book.turn_to(&id, Standing::Holding);
            let (unavailable, allowed) = count(book, &scope);
            prop_assert!(
                unavailable <= allowed,
                "{} of {} with {}",
                unavailable,
                allowed,
                id
            );
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn nothing_is_oversold_and_nobody_is_passed(rules in rules(), events in events()) {
            let (mut book, mut tickets) = (Book::new(rules), 0);
            for event in &events {
                apply(&mut book, event, &mut tickets)?;
            }
        }

        #[test]
        fn nobody_starves(rules in rules(), events in events()) {
            let (mut book, mut tickets) = (Book::new(rules), 0);
            for event in &events {
                apply(&mut book, event, &mut tickets)?;
            }
            // From here on whoever has a slot gives it back and whoever left comes back: each round lends something, or nobody waits.
            while !book.waiting().is_empty() {
                let unavailable: Vec<MemberId> = book.pages.iter()
                    .filter(|(_, page)| matches!(page.standing, Standing::Holding | Standing::Alone))
                    .map(|(id, _)| id.clone())
                    .collect();
                for id in unavailable {
                    book.turn_to(&id, Standing::Serving);
                }
                let heads: Vec<MemberId> = book.waiting().into_iter()
                    .filter(|(_, id, page)| {
                        let (unavailable, allowed) = count(&book, book.scope(page));
                        book.ahead(id) == Some(0) && unavailable < allowed
                    })
                    .map(|(_, id, _)| id.clone())
                    .collect();
                let next: Vec<MemberId> = book.next().into_iter().cloned().collect();
                for head in &heads {
                    prop_assert!(next.contains(head), "{} is first, and there is room", head);
                }
                if next.is_empty() {
                    // Only members that are missing may hold up the rest.
                    for (_, id, page) in book.waiting() {
                        let (unavailable, allowed) = count(&book, book.scope(page));
                        prop_assert!(unavailable >= allowed, "{} waits for nothing", id);
                    }
                    break;
                }
                lend(&mut book, usize::MAX)?;
            }
        }
    }
}
