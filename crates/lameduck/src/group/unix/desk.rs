//! What a host decides, as a pure machine: who is in the book, who is lent a slot, whose work is whose. It has no clock and no socket; the time
//! is an argument, and counts from the host's start.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::carrier::{LONGEST_WORK, MOST_WORK, PUBLISHED_AT_ONCE};
use super::super::state::MOST_OFFERS;
use super::super::{Book, Claim, Heard, Identity, MemberId, Rules, Standing, Whose, Word};
use super::MOST_MEMBERS;

/// A host's desk.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    book: Book,
    /// Nothing is lent before: members of an earlier host come back and say what they have.
    settled_at: Duration,
    next_ticket: u64,
    /// The wish of whoever waits, for the grant to name it.
    wishes: BTreeMap<MemberId, u64>,
    /// What each member hands over, and who has taken it.
    work: BTreeMap<MemberId, BTreeMap<String, Option<MemberId>>>,
    letters: VecDeque<(MemberId, Heard)>,
}

/// Why a member is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NameTaken,
    TooMany,
}

impl Refusal {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NameTaken => "another member has this name; give each its own",
            Self::TooMany => "a host takes 4,096 members",
        }
    }
}

impl Desk {
    /// Tickets count from `first_ticket`: beyond those of earlier hosts, whose members keep theirs.
    pub(super) const fn new(rules: Rules, settled_at: Duration, first_ticket: u64) -> Self {
        Self {
            book: Book::new(rules),
            settled_at,
            next_ticket: first_ticket,
            wishes: BTreeMap::new(),
            work: BTreeMap::new(),
            letters: VecDeque::new(),
        }
    }

    /// A member has come.
    pub(super) fn join(
        &mut self,
        now: Duration,
        who: &Identity,
        claim: Claim,
    ) -> Result<(), Refusal> {
        if self.book.standing(who.id()).is_some() {
            return Err(Refusal::NameTaken);
        }
        if self.book.members() == MOST_MEMBERS {
            return Err(Refusal::TooMany);
        }
        let standing = match claim {
            Claim::Serving => Standing::Serving,
            Claim::Waiting { ticket, wish } => {
                self.wishes.insert(who.id().clone(), wish);
                Standing::Waiting { ticket }
            }
            Claim::Holding => Standing::Holding,
            Claim::Alone => Standing::Alone,
        };
        self.book.put(who, standing);
        if standing == Standing::Serving {
            self.offer_all(who.id());
        }
        self.lend(now);
        Ok(())
    }

    /// A member is gone, with all that it had.
    pub(super) fn gone(&mut self, now: Duration, id: &MemberId) {
        self.book.strike(id);
        self.wishes.remove(id);
        self.work.remove(id);
        self.lend(now);
    }

    /// A member says something.
    pub(super) fn said(&mut self, now: Duration, id: &MemberId, word: Word) {
        match word {
            Word::Ask { wish } => self.ask(id, wish),
            Word::GiveBack => {
                self.wishes.remove(id);
                self.book.turn_to(id, Standing::Serving);
                self.offer_all(id);
            }
            Word::Alone => {
                self.wishes.remove(id);
                self.book.turn_to(id, Standing::Alone);
            }
            Word::Publish { work } => self.publish(id, work),
            Word::Withdraw => {
                self.work.remove(id);
                self.tell(id, Heard::Withdrawn);
            }
            Word::Take { from, work } => self.take(id, from, work),
        }
        self.lend(now);
    }

    /// It is so late.
    pub(super) fn wake(&mut self, now: Duration) {
        self.lend(now);
    }

    /// When it wants to be woken.
    pub(super) fn wakes_at(&self, now: Duration) -> Option<Duration> {
        (now < self.settled_at).then_some(self.settled_at)
    }

    /// The next that a member is to be told.
    pub(super) fn letter(&mut self) -> Option<(MemberId, Heard)> {
        self.letters.pop_front()
    }

    pub(super) const fn rules(&self) -> Rules {
        self.book.rules()
    }

    fn tell(&mut self, id: &MemberId, heard: Heard) {
        self.letters.push_back((id.clone(), heard));
    }

    fn ask(&mut self, id: &MemberId, wish: u64) {
        match self.book.standing(id) {
            Some(Standing::Serving | Standing::Alone) => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.book.turn_to(id, Standing::Waiting { ticket });
            }
            Some(Standing::Holding) => return self.tell(id, Heard::Granted { wish }),
            Some(Standing::Waiting { .. }) => {}
            None => return,
        }
        self.wishes.insert(id.clone(), wish);
        if let (Some(Standing::Waiting { ticket }), Some(ahead)) =
            (self.book.standing(id), self.book.ahead(id))
        {
            self.tell(
                id,
                Heard::Waiting {
                    wish,
                    ticket,
                    ahead,
                },
            );
        }
    }

    fn lend(&mut self, now: Duration) {
        if now < self.settled_at {
            return;
        }
        let next: Vec<MemberId> = self.book.next().into_iter().cloned().collect();
        for id in next {
            self.book.turn_to(&id, Standing::Holding);
            let wish = self.wishes.remove(&id).unwrap_or_default();
            self.tell(&id, Heard::Granted { wish });
        }
    }

    fn publish(&mut self, id: &MemberId, names: Vec<String>) {
        let peers = self.serving_but(id);
        let published = self.work.entry(id.clone()).or_default();
        let mut letters = Vec::new();
        // Nobody takes what is beyond: it is left with its owner.
        for name in names.into_iter().take(PUBLISHED_AT_ONCE) {
            let fits = (1..=LONGEST_WORK).contains(&name.len()) && published.len() < MOST_WORK;
            match published.get(&name) {
                Some(Some(by)) => letters.push((
                    id.clone(),
                    Heard::Taken {
                        work: name,
                        by: by.clone(),
                    },
                )),
                Some(None) => {}
                None if fits => {
                    published.insert(name.clone(), None);
                    let offered = Heard::Offered {
                        from: id.clone(),
                        work: name,
                    };
                    letters.extend(peers.iter().map(|peer| (peer.clone(), offered.clone())));
                }
                // Nobody takes it: it is left with its owner.
                None => {}
            }
        }
        self.letters.extend(letters);
    }

    fn take(&mut self, id: &MemberId, from: MemberId, work: String) {
        let offered = self
            .work
            .get_mut(&from)
            .and_then(|published| published.get_mut(&work));
        let is_new = matches!(offered, Some(None));
        let whose = match offered {
            Some(by) if by.as_ref().is_none_or(|by| by == id) => {
                *by = Some(id.clone());
                Whose::Yours
            }
            _ => Whose::Not,
        };
        if is_new {
            self.tell(
                &from,
                Heard::Taken {
                    work: work.clone(),
                    by: id.clone(),
                },
            );
        }
        self.tell(id, Heard::Took { from, work, whose });
    }

    /// What others hand over, for one who serves.
    fn offer_all(&mut self, id: &MemberId) {
        let offers =
            self.work
                .iter()
                .filter(|(from, _)| *from != id)
                .flat_map(|(from, published)| {
                    let open = published.iter().filter(|(_, by)| by.is_none());
                    open.map(|(work, _)| Heard::Offered {
                        from: from.clone(),
                        work: work.clone(),
                    })
                });
        // More a member does not keep.
        let offers = offers.take(MOST_OFFERS);
        let letters: Vec<_> = offers.map(|offered| (id.clone(), offered)).collect();
        self.letters.extend(letters);
    }

    fn serving_but(&self, id: &MemberId) -> Vec<MemberId> {
        self.book
            .serving()
            .filter(|other| *other != id)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLED: Duration = Duration::from_secs(3);

    fn id(name: &str) -> MemberId {
        name.parse().expect("a name")
    }

    fn desk(rules: &str) -> Desk {
        Desk::new(rules.parse().expect("rules"), SETTLED, 100)
    }

    fn join(desk: &mut Desk, at: Duration, name: &str, claim: Claim) {
        let who = Identity::new(name).expect("a name");
        desk.join(at, &who, claim).expect("it may join");
    }

    fn letters(desk: &mut Desk) -> Vec<String> {
        let letter = |(id, heard): (MemberId, Heard)| match heard {
            Heard::Granted { wish } => format!("{id}: granted {wish}"),
            Heard::Waiting { ahead, .. } => format!("{id}: waits for {ahead}"),
            Heard::Offered { from, work } => format!("{id}: {work} of {from}"),
            Heard::Taken { work, by } => format!("{id}: {work} taken by {by}"),
            Heard::Took { work, whose, .. } => format!("{id}: {work} {whose:?}"),
            Heard::Withdrawn => format!("{id}: withdrawn"),
        };
        std::iter::from_fn(|| desk.letter()).map(letter).collect()
    }

    #[test]
    fn slots_go_round_in_order() {
        let mut desk = desk("1");
        for name in ["a", "b", "c"] {
            join(&mut desk, SETTLED, name, Claim::Serving);
            desk.said(SETTLED, &id(name), Word::Ask { wish: 1 });
        }
        let said = letters(&mut desk);
        assert_eq!(
            said,
            [
                "a: waits for 0",
                "a: granted 1",
                "b: waits for 0",
                "c: waits for 1"
            ]
        );
        desk.gone(SETTLED, &id("a"));
        assert_eq!(letters(&mut desk), ["b: granted 1"]);
        desk.said(SETTLED, &id("b"), Word::GiveBack);
        assert_eq!(letters(&mut desk), ["c: granted 1"]);
    }

    #[test]
    fn a_new_host_lends_nothing_before_the_old_members_had_time_to_come() {
        let mut desk = desk("1");
        let early = SETTLED / 2;
        join(&mut desk, early, "new", Claim::Serving);
        desk.said(early, &id("new"), Word::Ask { wish: 1 });
        assert_eq!(letters(&mut desk), ["new: waits for 0"]);
        assert_eq!(desk.wakes_at(early), Some(SETTLED));
        join(&mut desk, early, "holds", Claim::Holding);
        join(
            &mut desk,
            early,
            "second",
            Claim::Waiting { ticket: 9, wish: 4 },
        );
        desk.wake(SETTLED);
        assert_eq!(letters(&mut desk), [""; 0], "the slot is held");
        assert_eq!(desk.wakes_at(SETTLED), None);
        desk.gone(SETTLED, &id("holds"));
        assert_eq!(
            letters(&mut desk),
            ["second: granted 4"],
            "it asked the host before"
        );
        desk.gone(SETTLED, &id("second"));
        assert_eq!(letters(&mut desk), ["new: granted 1"]);
    }

    #[test]
    fn a_name_is_one_members() {
        let mut desk = desk("1");
        join(&mut desk, SETTLED, "a", Claim::Serving);
        let again = desk.join(
            SETTLED,
            &Identity::new("a").expect("a name"),
            Claim::Serving,
        );
        assert_eq!(again, Err(Refusal::NameTaken));
        desk.gone(SETTLED, &id("a"));
        join(&mut desk, SETTLED, "a", Claim::Serving);
        for n in 1..MOST_MEMBERS {
            join(&mut desk, SETTLED, &format!("m{n}"), Claim::Serving);
        }
        let more = desk.join(
            SETTLED,
            &Identity::new("more").expect("a name"),
            Claim::Serving,
        );
        assert_eq!(more, Err(Refusal::TooMany));
    }

    #[test]
    fn what_is_published_and_offered_at_once_is_bounded() {
        let mut desk = desk("1");
        join(&mut desk, SETTLED, "b", Claim::Serving);
        for owner in 0..3 {
            let owner = format!("m{owner}");
            join(&mut desk, SETTLED, &owner, Claim::Serving);
            for word in 0..20 {
                let work = (0..40).map(|n| format!("{word}/{n}")).collect();
                desk.said(SETTLED, &id(&owner), Word::Publish { work });
            }
        }
        let offers = |desk: &mut Desk, to: &str| {
            let all = letters(desk);
            all.iter().filter(|said| said.starts_with(to)).count()
        };
        assert_eq!(offers(&mut desk, "b: "), 3 * 20 * PUBLISHED_AT_ONCE);
        join(&mut desk, SETTLED, "late", Claim::Serving);
        assert_eq!(offers(&mut desk, "late: "), MOST_OFFERS);
    }

    #[test]
    fn work_is_taken_once() {
        let mut desk = desk("2");
        for name in ["a", "b", "c"] {
            join(&mut desk, SETTLED, name, Claim::Serving);
        }
        let publish = |names: &[&str]| Word::Publish {
            work: names.iter().map(|&name| name.to_owned()).collect(),
        };
        let take = |work: &str| Word::Take {
            from: id("a"),
            work: work.to_owned(),
        };
        desk.said(SETTLED, &id("a"), publish(&["p1", "p2"]));
        assert_eq!(
            letters(&mut desk),
            ["b: p1 of a", "c: p1 of a", "b: p2 of a", "c: p2 of a"]
        );
        desk.said(SETTLED, &id("b"), take("p1"));
        assert_eq!(letters(&mut desk), ["a: p1 taken by b", "b: p1 Yours"]);
        desk.said(SETTLED, &id("c"), take("p1"));
        desk.said(SETTLED, &id("b"), take("p1"));
        assert_eq!(
            letters(&mut desk),
            ["c: p1 Not", "b: p1 Yours"],
            "said again, answered again"
        );
        desk.said(SETTLED, &id("a"), publish(&["p1"]));
        assert_eq!(letters(&mut desk), ["a: p1 taken by b"]);
        join(&mut desk, SETTLED, "late", Claim::Serving);
        assert_eq!(letters(&mut desk), ["late: p2 of a"]);
        desk.said(SETTLED, &id("a"), Word::Withdraw);
        desk.said(SETTLED, &id("late"), take("p2"));
        assert_eq!(letters(&mut desk), ["a: withdrawn", "late: p2 Not"]);
    }
}
