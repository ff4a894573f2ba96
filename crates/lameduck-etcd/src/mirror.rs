//! What one member has seen of its group in etcd, as a pure value: entries go in, a book and the guards of a lending come out.

use std::collections::BTreeMap;

use lameduck::group::{Book, Heard, Identity, MemberId, Rules, Standing};

use crate::keys::Key;

/// An entry as etcd tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Vec<u8>,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    pub(crate) lease: i64,
}

/// How many members a lending is guarded by, where it matters how many there are: etcd takes 128 comparisons in a transaction unless it is
/// told otherwise.
const MOST_GUARDS: usize = 100;

/// The group as it was at one revision.
#[derive(Debug)]
pub(crate) struct Mirror {
    me: MemberId,
    /// What this member was told to keep to, until the ledger says otherwise.
    rules: Rules,
    /// Everything up to here was seen.
    pub(crate) revision: i64,
    ledger: Option<Entry>,
    members: BTreeMap<MemberId, Entry>,
    waiting: BTreeMap<MemberId, Entry>,
    slots: BTreeMap<MemberId, Entry>,
    work: BTreeMap<(MemberId, String), Entry>,
    taken: BTreeMap<(MemberId, String), MemberId>,
}

/// What must still be so for a slot to be lent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Guards {
    /// The ledger's revision; 0 if there is none.
    pub(crate) ledger: i64,
    /// When this member's wish was created.
    pub(crate) ticket: i64,
    /// Which wish that is: the slot names it.
    pub(crate) wish: u64,
    /// When each member was that is counted, if it matters how many they are.
    pub(crate) members: Vec<(MemberId, i64)>,
}

/// What a link has said of its member, and etcd has taken down: until the link says otherwise, it is to be found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    Serving,
    /// It waits for a slot, or has it.
    Slot {
        wish: u64,
    },
    Alone,
}

impl Mirror {
    pub(crate) const fn new(me: MemberId, rules: Rules) -> Self {
        Self {
            me,
            rules,
            revision: 0,
            ledger: None,
            members: BTreeMap::new(),
            waiting: BTreeMap::new(),
            slots: BTreeMap::new(),
            work: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    /// A key is so now, or is gone. What this member is to hear of it: a place, and a slot, name the wish that they were written for.
    pub(crate) fn see(&mut self, key: Key, entry: Option<Entry>) -> Vec<Heard> {
        let mut heard = Vec::new();
        match key {
            Key::Ledger => self.ledger = entry,
            Key::Member(id) => put(&mut self.members, id, entry),
            Key::Waiting(id) => {
                let mine = id == self.me && entry.is_some();
                put(&mut self.waiting, id, entry);
                if mine {
                    heard.extend(self.place());
                }
            }
            Key::Slot(id) => {
                if id == self.me {
                    let lent = entry.as_ref().and_then(Entry::lent);
                    heard.extend(lent.map(|wish| Heard::Granted { wish }));
                }
                put(&mut self.slots, id, entry);
            }
            Key::Work(from, work) => {
                let offered = entry.is_some() && from != self.me && self.serves();
                put(&mut self.work, (from.clone(), work.clone()), entry);
                if offered && !self.taken.contains_key(&(from.clone(), work.clone())) {
                    heard.push(Heard::Offered { from, work });
                }
            }
            Key::Taken(from, work) => {
                let by = entry.and_then(|entry| entry.text()?.parse::<MemberId>().ok());
                if let (true, Some(by)) = (from == self.me, &by) {
                    heard.push(Heard::Taken {
                        work: work.clone(),
                        by: by.clone(),
                    });
                }
                put(&mut self.taken, (from, work), by);
            }
        }
        heard
    }

    /// The rules of the group: those in the ledger.
    fn rules(&self) -> Rules {
        let written = self.ledger.as_ref().and_then(Entry::text);
        written
            .and_then(|text| text.parse().ok())
            .unwrap_or(self.rules)
    }

    /// Everybody, with what each is about.
    pub(crate) fn book(&self) -> Book {
        let mut book = Book::new(self.rules());
        for (id, entry) in &self.members {
            let Some(who) = entry
                .zone()
                .and_then(|zone| Identity::new(id.as_str()).ok()?.in_zone(zone).ok())
            else {
                continue;
            };
            let ticket = self
                .waiting
                .get(id)
                .and_then(|entry| u64::try_from(entry.created).ok());
            let standing = match (self.slots.get(id), ticket) {
                (Some(slot), _) if slot.lent().is_some() => Standing::Holding,
                (Some(_), _) => Standing::Alone,
                (None, Some(ticket)) => Standing::Waiting { ticket },
                (None, None) => Standing::Serving,
            };
            book.put(&who, standing);
        }
        book
    }

    /// What a lending to this member is guarded by, if it is its turn.
    pub(crate) fn turn(&self) -> Option<Guards> {
        let waiting = self.waiting.get(&self.me)?;
        let wish = waiting.wish()?;
        if !self.book().next().contains(&&self.me) {
            return None;
        }
        let rules = self.rules();
        let zone = self.members.get(&self.me)?.zone();
        // Who has come since need not be looked at: there is no less room by that.
        let counts = |entry: &Entry| !rules.is_per_zone() || entry.zone() == zone;
        let members = self.members.iter();
        let members = members.filter(|(_, entry)| rules.depends_on_members() && counts(entry));
        Some(Guards {
            ledger: self.ledger.as_ref().map_or(0, |entry| entry.modified),
            ticket: waiting.created,
            wish,
            members: members
                .take(MOST_GUARDS)
                .map(|(id, entry)| (id.clone(), entry.created))
                .collect(),
        })
    }

    /// The lease under which work is offered.
    pub(crate) fn lease_of_work(&self, from: &MemberId, work: &str) -> Option<i64> {
        let entry = self.work.get(&(from.clone(), work.to_owned()))?;
        Some(entry.lease)
    }

    /// What others hand over and nobody has taken.
    pub(crate) fn offers(&self) -> Vec<Heard> {
        let open = self
            .work
            .keys()
            .filter(|key| key.0 != self.me && !self.taken.contains_key(*key));
        open.map(|(from, work)| Heard::Offered {
            from: from.clone(),
            work: work.clone(),
        })
        .collect()
    }

    /// Whether this member is there with what it was last said to be.
    pub(crate) fn is_standing(&self, stands: Stands) -> bool {
        let (waiting, slot) = (self.waiting.get(&self.me), self.slots.get(&self.me));
        match stands {
            Stands::Serving => true,
            Stands::Slot { wish } => {
                let lent = slot.and_then(Entry::lent);
                lent.or_else(|| waiting?.wish()) == Some(wish)
            }
            Stands::Alone => slot.is_some(),
        }
    }

    fn place(&self) -> Option<Heard> {
        let wish = self.waiting.get(&self.me)?.wish()?;
        let book = self.book();
        let Standing::Waiting { ticket } = book.standing(&self.me)? else {
            return None;
        };
        let ahead = book.ahead(&self.me)?;
        Some(Heard::Waiting {
            wish,
            ticket,
            ahead,
        })
    }

    fn serves(&self) -> bool {
        !self.waiting.contains_key(&self.me) && !self.slots.contains_key(&self.me)
    }
}

impl Entry {
    /// Of a slot: the wish that it was lent for; `None` for one of who leaves without.
    pub(crate) fn lent(&self) -> Option<u64> {
        self.text()?.strip_prefix("lent ")?.parse().ok()
    }

    /// Of who waits: the wish.
    fn wish(&self) -> Option<u64> {
        self.text()?.parse().ok()
    }

    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }

    /// Of a member: which process it is.
    pub(crate) fn process(&self) -> Option<&str> {
        self.text()?.split(' ').next()
    }

    /// Of a member: its zone.
    fn zone(&self) -> Option<&str> {
        let text = self.text()?;
        Some(text.split_once(' ').map_or("", |(_, zone)| zone))
    }
}

/// The value of a slot that was lent for this wish.
pub(crate) fn lent(wish: u64) -> String {
    format!("lent {wish}")
}

/// The value of a slot of who leaves without.
pub(crate) const ALONE: &str = "alone";

fn put<K: Ord, V>(entries: &mut BTreeMap<K, V>, key: K, entry: Option<V>) {
    match entry {
        Some(entry) => drop(entries.insert(key, entry)),
        None => drop(entries.remove(&key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> MemberId {
        name.parse().expect("a name")
    }

    fn entry(value: &str, created: i64) -> Option<Entry> {
        Some(Entry {
            value: value.as_bytes().to_vec(),
            created,
            modified: created + 1,
            lease: 7,
        })
    }

    fn mirror(rules: &str) -> Mirror {
        let mut mirror = Mirror::new(id("me"), rules.parse().expect("rules"));
        for (nth, name) in ["a", "b", "me"].into_iter().enumerate() {
            let created = i64::try_from(nth).expect("few") + 1;
            mirror.see(Key::Member(id(name)), entry("p x", created));
        }
        mirror
    }

    #[test]
    fn it_is_ones_turn_when_nobody_is_before_and_there_is_room() {
        let mut mirror = mirror("1");
        assert_eq!(mirror.turn(), None, "it does not wait");
        mirror.see(Key::Waiting(id("a")), entry("", 10));
        let heard = mirror.see(Key::Waiting(id("me")), entry("3", 11));
        assert_eq!(
            heard,
            [Heard::Waiting {
                wish: 3,
                ticket: 11,
                ahead: 1
            }]
        );
        assert_eq!(mirror.turn(), None);
        mirror.see(Key::Slot(id("a")), entry("lent 3", 12));
        mirror.see(Key::Waiting(id("a")), None);
        assert_eq!(mirror.turn(), None, "the slot is lent");
        mirror.see(Key::Slot(id("a")), None);
        let guards = mirror.turn().expect("its turn");
        assert_eq!((guards.ledger, guards.ticket), (0, 11));
        assert_eq!(guards.members, [], "one may go, however many there are");
        let heard = mirror.see(Key::Slot(id("me")), entry("lent 3", 13));
        assert_eq!(heard, [Heard::Granted { wish: 3 }]);
    }

    #[test]
    fn a_lending_is_guarded_by_the_members_that_it_counts() {
        for (rules, guarded) in [
            ("1", &[][..]),
            ("1 in each zone", &[]),
            ("50%", &["a", "b", "me", "z"]),
            ("50% in each zone", &["a", "b", "me"]),
            ("1 of 3 in each zone", &["a", "b", "me"]),
        ] {
            let mut mirror = mirror(rules);
            mirror.see(Key::Member(id("z")), entry("p y", 4));
            mirror.see(Key::Waiting(id("me")), entry("3", 11));
            let guards = mirror.turn().expect("its turn");
            let members: Vec<&str> = guards.members.iter().map(|(id, _)| id.as_str()).collect();
            assert_eq!(members, guarded, "{rules}");
        }
        // Others of the group take no room from those of its zone.
        let mut mirror = mirror("50% in each zone");
        for n in 0..2 * MOST_GUARDS {
            mirror.see(Key::Member(id(&format!("M{n}"))), entry("p y", 4));
        }
        mirror.see(Key::Waiting(id("me")), entry("3", 11));
        assert_eq!(mirror.turn().map(|guards| guards.members.len()), Some(3));
    }

    #[test]
    fn the_ledger_has_the_rules() {
        let mut mirror = mirror("1");
        mirror.see(Key::Slot(id("a")), entry(ALONE, 10));
        mirror.see(Key::Waiting(id("me")), entry("3", 11));
        assert_eq!(mirror.turn(), None, "a leaves alone");
        mirror.see(Key::Ledger, entry("2", 12));
        let guards = mirror.turn().expect("its turn");
        assert_eq!(
            (guards.ledger, mirror.rules().to_string().as_str()),
            (13, "2")
        );
        mirror.see(Key::Ledger, entry("nonsense", 14));
        assert_eq!(mirror.rules().to_string(), "1");
    }

    #[test]
    fn only_who_serves_is_offered_work_and_each_once() {
        let mut mirror = mirror("2");
        let work = |name: &str| Key::Work(id("a"), name.to_owned());
        let offered = |name: &str| Heard::Offered {
            from: id("a"),
            work: name.to_owned(),
        };
        assert_eq!(mirror.see(work("p"), entry("", 10)), [offered("p")]);
        let taken = Key::Taken(id("a"), "q".to_owned());
        mirror.see(taken, entry("b", 11));
        assert_eq!(mirror.see(work("q"), entry("", 12)), [], "it is taken");
        mirror.see(Key::Waiting(id("me")), entry("", 13));
        assert_eq!(mirror.see(work("r"), entry("", 14)), [], "it leaves itself");
        assert_eq!(mirror.offers(), [offered("p"), offered("r")]);
        let mine = Key::Taken(id("me"), "z".to_owned());
        assert_eq!(
            mirror.see(mine, entry("b", 15)),
            [Heard::Taken {
                work: "z".to_owned(),
                by: id("b")
            }]
        );
    }
}
