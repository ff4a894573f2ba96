//! What a member and its task know of each other: what is wanted, what the group has said. Both sides only write down; who acts on it is
//! in `driver`. Pure but for the waiting, which is tokio's `watch`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::carrier::PUBLISHED_AT_ONCE;
use super::{Claim, Heard, MemberId, Whose, Word};

/// How many offers wait for the program; more are dropped and counted.
pub(super) const MOST_OFFERS: usize = 1_024;

/// What the member is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    Serve,
    /// To be lent a slot, and to keep it.
    Slot {
        wish: u64,
    },
    Alone,
}

/// Whether the group is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    Linked,
    CutOff { why: String },
}

/// Where the hand-over is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandOver {
    None,
    Offering,
    /// What nobody has taken is being withdrawn.
    Ending,
}

/// A wish to take work over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    Wanted,
    Said,
    Answered(Whose),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) aim: Aim,
    /// The slot is lent.
    pub(super) has_slot: bool,
    /// Ticket and how many were ahead when it was given.
    pub(super) place: Option<(u64, usize)>,
    pub(super) contact: Contact,
    pub(super) hand_over: HandOver,
    /// What is handed over, and who has taken it.
    pub(super) work: BTreeMap<String, Option<MemberId>>,
    pub(super) offers: VecDeque<(MemberId, String)>,
    /// Offers for which there was no room.
    pub(super) missed: u64,
    pub(super) taking: BTreeMap<(MemberId, String), Taking>,
    /// The member leaves the group.
    pub(super) leaves: bool,
    /// Its task has ended.
    pub(super) over: bool,
    told: Told,
    wishes: u64,
}

/// What the present link was told.
#[derive(Debug, Default)]
struct Told {
    aim: Option<Aim>,
    /// What of the work was published.
    published: BTreeSet<String>,
    withdrawn: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            aim: Aim::Serve,
            has_slot: false,
            place: None,
            contact: Contact::CutOff {
                why: "nothing was heard of the group yet".to_owned(),
            },
            hand_over: HandOver::None,
            work: BTreeMap::new(),
            offers: VecDeque::new(),
            missed: 0,
            taking: BTreeMap::new(),
            leaves: false,
            over: false,
            told: Told::default(),
            wishes: 0,
        }
    }
}

impl State {
    /// A new wish for a slot; one that is there already is joined.
    pub(super) fn wish(&mut self) {
        if !matches!(self.aim, Aim::Slot { .. }) {
            self.wishes += 1;
            self.aim = Aim::Slot { wish: self.wishes };
            self.has_slot = false;
            self.place = None;
        }
    }

    /// No slot is wanted any longer.
    pub(super) fn serve(&mut self) {
        self.aim = Aim::Serve;
        self.has_slot = false;
        self.place = None;
    }

    /// What is to be said when a link is new.
    pub(super) fn claim(&self) -> Claim {
        match (self.aim, self.place) {
            (Aim::Slot { .. }, _) if self.has_slot => Claim::Holding,
            (Aim::Slot { wish }, Some((ticket, _))) => Claim::Waiting { ticket, wish },
            (Aim::Slot { .. } | Aim::Serve, _) => Claim::Serving,
            (Aim::Alone, _) => Claim::Alone,
        }
    }

    /// A link was made with this claim: what the one before it was told is told again.
    pub(super) fn linked(&mut self, claim: Claim, aim: Aim) {
        self.contact = Contact::Linked;
        self.told = Told {
            aim: (claim != Claim::Serving).then_some(aim),
            ..Told::default()
        };
        for taking in self.taking.values_mut() {
            if *taking == Taking::Said {
                *taking = Taking::Wanted;
            }
        }
    }

    /// The next word that the link has not been told yet; it counts as told.
    pub(super) fn next_word(&mut self) -> Option<Word> {
        let told = self.told.aim.unwrap_or(Aim::Serve);
        if told != self.aim {
            self.told.aim = Some(self.aim);
            return Some(match self.aim {
                // What was lent or wanted for an earlier wish goes back first.
                Aim::Slot { .. } if told != Aim::Serve => {
                    self.told.aim = Some(Aim::Serve);
                    Word::GiveBack
                }
                Aim::Slot { wish } => Word::Ask { wish },
                Aim::Serve => Word::GiveBack,
                Aim::Alone => Word::Alone,
            });
        }
        self.word_of_work().or_else(|| self.word_of_taking())
    }

    fn word_of_work(&mut self) -> Option<Word> {
        match self.hand_over {
            HandOver::None => None,
            HandOver::Offering => {
                let published = &self.told.published;
                let rest = self
                    .work
                    .iter()
                    .filter(|(name, by)| by.is_none() && !published.contains(*name));
                let work: Vec<String> = rest
                    .take(PUBLISHED_AT_ONCE)
                    .map(|(name, _)| name.clone())
                    .collect();
                self.told.published.extend(work.iter().cloned());
                (!work.is_empty()).then_some(Word::Publish { work })
            }
            HandOver::Ending if self.told.withdrawn => None,
            HandOver::Ending => {
                self.told.withdrawn = true;
                Some(Word::Withdraw)
            }
        }
    }

    fn word_of_taking(&mut self) -> Option<Word> {
        let ((from, work), taking) = self
            .taking
            .iter_mut()
            .find(|(_, taking)| **taking == Taking::Wanted)?;
        *taking = Taking::Said;
        Some(Word::Take {
            from: from.clone(),
            work: work.clone(),
        })
    }

    /// The group has said something.
    pub(super) fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Waiting {
                wish,
                ticket,
                ahead,
            } if self.aim == (Aim::Slot { wish }) => {
                self.place = Some((ticket, ahead));
            }
            Heard::Granted { wish } if self.aim == (Aim::Slot { wish }) => self.has_slot = true,
            // Of a wish that is no more: it is taken back, or will be by the next word.
            Heard::Waiting { .. } | Heard::Granted { .. } => {}
            Heard::Offered { from, work } => self.offered(from, work),
            Heard::Taken { work, by } => {
                if let Some(taker) = self.work.get_mut(&work) {
                    *taker = Some(by);
                }
            }
            Heard::Withdrawn => {
                if self.hand_over == HandOver::Ending {
                    self.hand_over = HandOver::None;
                }
            }
            Heard::Took { from, work, whose } => {
                if let Some(taking) = self.taking.get_mut(&(from, work)) {
                    *taking = Taking::Answered(whose);
                }
            }
        }
    }

    fn offered(&mut self, from: MemberId, work: String) {
        let offer = (from, work);
        if self.offers.contains(&offer) {
            return;
        }
        if self.offers.len() == MOST_OFFERS {
            self.missed += 1;
        } else {
            self.offers.push_back(offer);
        }
    }

    /// Begins to hand this over.
    pub(super) fn offer(&mut self, work: BTreeMap<String, Option<MemberId>>) {
        self.work = work;
        self.hand_over = HandOver::Offering;
        self.told.published.clear();
        self.told.withdrawn = false;
    }

    pub(super) fn all_taken(&self) -> bool {
        self.work.values().all(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(state: &mut State) -> Vec<Word> {
        std::iter::from_fn(|| state.next_word()).collect()
    }

    fn linked() -> State {
        let mut state = State::default();
        state.linked(Claim::Serving, Aim::Serve);
        state
    }

    #[test]
    fn a_grant_that_crosses_with_its_wish_taken_back_is_none() {
        let mut state = linked();
        state.wish();
        assert_eq!(words(&mut state), [Word::Ask { wish: 1 }]);
        state.serve();
        state.wish();
        // The first is given back, which nobody has said yet.
        assert_eq!(words(&mut state), [Word::GiveBack, Word::Ask { wish: 2 }]);
        state.heard(Heard::Granted { wish: 1 });
        assert!(!state.has_slot, "it went back");
        state.heard(Heard::Granted { wish: 2 });
        assert!(state.has_slot);
        assert_eq!(words(&mut state), []);
    }

    #[test]
    fn a_new_link_is_told_what_the_last_one_knew() {
        let mut state = linked();
        assert_eq!(state.claim(), Claim::Serving);
        state.wish();
        assert_eq!(state.claim(), Claim::Serving, "it has no ticket yet");
        state.heard(Heard::Waiting {
            wish: 1,
            ticket: 7,
            ahead: 2,
        });
        let claim = Claim::Waiting { ticket: 7, wish: 1 };
        assert_eq!(state.claim(), claim);
        let aim = state.aim;
        state.linked(claim, aim);
        assert_eq!(words(&mut state), [], "the claim has said it");
        state.heard(Heard::Granted { wish: 1 });
        assert_eq!(state.claim(), Claim::Holding);
        state.aim = Aim::Alone;
        assert_eq!(state.claim(), Claim::Alone);
        assert_eq!(words(&mut state), [Word::Alone]);
    }

    #[test]
    fn work_is_published_in_pieces_and_again_on_a_new_link() {
        let mut state = linked();
        let work = (0..40).map(|n| (format!("p{n:02}"), None)).collect();
        state.offer(work);
        let sizes = |words: Vec<Word>| -> Vec<usize> {
            let size = |word| match word {
                Word::Publish { work } => work.len(),
                other => panic!("{other:?}"),
            };
            words.into_iter().map(size).collect()
        };
        assert_eq!(sizes(words(&mut state)), [32, 8]);
        let by: MemberId = "b".parse().expect("a name");
        state.heard(Heard::Taken {
            work: "p00".to_owned(),
            by: by.clone(),
        });
        state.linked(Claim::Serving, Aim::Serve);
        assert_eq!(
            sizes(words(&mut state)),
            [32, 7],
            "what was taken is not offered again"
        );
        for n in 1..40 {
            assert!(!state.all_taken());
            state.heard(Heard::Taken {
                work: format!("p{n:02}"),
                by: by.clone(),
            });
        }
        assert!(state.all_taken());
        state.hand_over = HandOver::Ending;
        assert_eq!(words(&mut state), [Word::Withdraw]);
        state.heard(Heard::Withdrawn);
        assert_eq!(state.hand_over, HandOver::None);
    }

    #[test]
    fn offers_are_bounded_and_what_is_dropped_is_counted() {
        let mut state = linked();
        let from: MemberId = "a".parse().expect("a name");
        for n in 0..MOST_OFFERS + 3 {
            let offered = Heard::Offered {
                from: from.clone(),
                work: n.to_string(),
            };
            state.heard(offered.clone());
            state.heard(offered);
        }
        assert_eq!((state.offers.len(), state.missed), (MOST_OFFERS, 6));
    }
}
