//! Handing work over: a member that leaves publishes names, its peers take them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::carrier::{LONGEST_WORK, MOST_WORK};
use super::handle::Member;
use super::state::{HandOver, State, Taking};
use super::{Group, MemberId, Whose};

impl Group {
    /// Hands this work over to others of the group, and waits until each name was [taken](Offer::take), but not longer than this. Further
    /// calls wait for it.
    ///
    /// The last tenth of the time (250 ms at most) is kept to withdraw what nobody has taken, so that nobody takes what is given up here.
    /// Cut off from the group in that very moment it cannot be known: such work is among what is left.
    ///
    /// At most 1,024 names, each 1 to 256 bytes without control characters; others are left at once.
    ///
    /// # Cancel safety
    /// Dropped, what nobody has taken is withdrawn.
    pub async fn hand_over(
        &self,
        work: impl IntoIterator<Item = String>,
        at_most: Duration,
    ) -> HandedOver {
        let by = Instant::now() + at_most;
        let (work, refused) = sorted(work);
        let Ok(_turn) = timeout_at(by, self.member.handing.lock()).await else {
            return all_left(work, refused);
        };
        let mut states = self.member.state.subscribe();
        let withdraws_at = by - (at_most / 10).min(Duration::from_millis(250));
        // What was taken in an earlier one would be taken in this.
        let is_withdrawn = states.wait_for(|state| state.hand_over == HandOver::None);
        if timeout_at(withdraws_at, is_withdrawn).await.is_err() {
            return all_left(work, refused);
        }
        self.member.state.send_modify(|state| state.offer(work));
        let ending = Withdrawing(&self.member);
        // Over or all taken: what there is says which.
        let _ = timeout_at(withdraws_at, states.wait_for(State::all_taken)).await;
        drop(ending);
        let settled = |state: &State| state.hand_over == HandOver::None || state.all_taken();
        let _ = timeout_at(by, states.wait_for(settled)).await;
        let mut handed = HandedOver {
            left: refused,
            ..HandedOver::default()
        };
        let state = self.member.state.borrow();
        for (name, by) in &state.work {
            match by {
                Some(by) => handed.taken.push((name.clone(), by.clone())),
                None => handed.left.push(name.clone()),
            }
        }
        handed
    }

    /// Waits for work that another member wants to hand over. After a link that was made anew, open offers come again; at most 1,024 wait, and [`missed`](Self::missed) counts the others.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn offered(&self) -> Offer {
        let mut states = self.member.state.subscribe();
        loop {
            // The sender lives as long as `self`.
            let _ = states.wait_for(|state| !state.offers.is_empty()).await;
            let mut offer = None;
            self.member
                .state
                .send_modify(|state| offer = state.offers.pop_front());
            if let Some((from, work)) = offer {
                let member = Arc::clone(&self.member);
                return Offer { member, from, work };
            }
        }
    }

    /// How many offers were dropped because too many waited.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.member.state.borrow().missed
    }
}

/// What came of a hand-over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOver {
    /// What was taken over, and by whom.
    pub taken: Vec<(String, MemberId)>,
    /// What nobody took in time, and what has no name that can be handed over.
    pub left: Vec<String>,
}

/// Withdraws what nobody has taken, when it is dropped.
struct Withdrawing<'a>(&'a Member);

impl Drop for Withdrawing<'_> {
    fn drop(&mut self) {
        self.0
            .state
            .send_modify(|state| state.hand_over = HandOver::Ending);
    }
}

fn sorted(
    work: impl IntoIterator<Item = String>,
) -> (BTreeMap<String, Option<MemberId>>, Vec<String>) {
    let (mut named, mut refused) = (BTreeMap::new(), Vec::new());
    for name in work {
        let fits = (1..=LONGEST_WORK).contains(&name.len()) && !name.contains(char::is_control);
        if fits && (named.len() < MOST_WORK || named.contains_key(&name)) {
            named.insert(name, None);
        } else {
            refused.push(name);
        }
    }
    (named, refused)
}

fn all_left(work: BTreeMap<String, Option<MemberId>>, refused: Vec<String>) -> HandedOver {
    HandedOver {
        left: work.into_keys().chain(refused).collect(),
        ..HandedOver::default()
    }
}

/// Work that another member wants to hand over.
#[must_use = "nobody else is told that it was not taken"]
pub struct Offer {
    member: Arc<Member>,
    from: MemberId,
    work: String,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("from", &self.from)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

impl Offer {
    /// Who leaves.
    #[must_use]
    pub const fn from(&self) -> &MemberId {
        &self.from
    }

    /// What it hands over.
    #[must_use]
    pub fn work(&self) -> &str {
        &self.work
    }

    /// Takes it over, if nobody else did before: then it is this member's, and the leaving one knows.
    ///
    /// # Errors
    /// [`NotTaken`]: it is not this member's, or not known to be.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the work may have been taken over all the same.
    pub async fn take(self, at_most: Duration) -> Result<(), NotTaken> {
        let key = (self.from.clone(), self.work.clone());
        let mut states = self.member.state.subscribe();
        self.member.state.send_modify(|state| {
            state.taking.insert(key.clone(), Taking::Wanted);
        });
        let _forgotten = Forgetting(&self.member, &key);
        let answered = |state: &State| matches!(state.taking.get(&key), Some(Taking::Answered(_)));
        // The answer is looked at below.
        let _ = timeout(at_most, states.wait_for(answered)).await;
        match self.member.state.borrow().taking.get(&key) {
            Some(Taking::Answered(Whose::Yours)) => Ok(()),
            Some(Taking::Answered(Whose::Not)) => Err(NotTaken::Elsewhere),
            _ => Err(NotTaken::Unanswered),
        }
    }
}

/// Forgets an answer that nobody waits for.
struct Forgetting<'a>(&'a Member, &'a (MemberId, String));

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| {
            state.taking.remove(self.1);
        });
    }
}

/// Why work was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotTaken {
    /// Another member was earlier, or it is not offered any longer.
    Elsewhere,
    /// The group has not answered in time; it may be this member's.
    Unanswered,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elsewhere => "another member has taken it over, or it is not offered any longer",
            Self::Unanswered => {
                "the group has not answered in time; it may have been taken over all the same"
            }
        })
    }
}

impl std::error::Error for NotTaken {}
