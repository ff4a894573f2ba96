//! What participants say while they leave, and how much more time they get.
//!
//! A budget grows by at most what the end of the drain leaves: nothing that is granted here moves that end. A wish is
//! known by its number, so that a repeated one gets the same again, in whatever order they come.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::time::Duration;

use super::{Entry, Roster, Standing};
use crate::{
    machine::io::{Answer, ParticipantId},
    vocab::{Grant, News, Progress},
};

/// What one participant said and got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::machine) struct Said {
    progress: Option<Progress>,
    /// At most [`Grant::MOST`] for wishes and as many without.
    grants: Vec<Grant>,
    figures: Vec<(String, i64)>,
}

impl Said {
    pub(in crate::machine) const fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    pub(in crate::machine) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    pub(in crate::machine) fn figures(&self) -> &[(String, i64)] {
        &self.figures
    }

    /// All that it got beyond its budget.
    pub(in crate::machine) fn granted(&self) -> Duration {
        let each = self.grants.iter().map(|grant| grant.by);
        each.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Forgets what only a report reads.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        self.progress = None;
        self.figures = Vec::new();
        for grant in &mut self.grants {
            grant.at = Duration::ZERO;
            grant.asked = grant.by;
        }
    }
}

/// Who asks for more time, how much, and why.
#[derive(Clone, Debug)]
pub(in crate::machine) struct Wish {
    /// Its number; `None` for an operator.
    pub(in crate::machine) number: Option<u32>,
    pub(in crate::machine) by: Duration,
    pub(in crate::machine) why: String,
}

impl Roster {
    /// How much more a participant gets, of a drain that ends at `drain_end`; without a drain that is nothing.
    pub(in crate::machine) fn grant(
        &mut self,
        now: Duration,
        id: ParticipantId,
        wish: Wish,
        drain_end: Option<Duration>,
    ) -> Duration {
        let Some(entry) = self.find_mut(id) else {
            return Duration::ZERO;
        };
        if let Some(known) = entry.known(wish.number) {
            return known;
        }
        let (Standing::Asked { answered }, Some(drain_end)) = (&mut entry.standing, drain_end)
        else {
            return Duration::ZERO;
        };
        let is_first_answer = wish.number.is_some() && !core::mem::replace(answered, true);
        let name = entry.name();
        let grant = entry.grant(now, wish, drain_end);
        if is_first_answer {
            let name = name.clone();
            self.news.push((now, News::Answered { name }));
        }
        let Some(grant) = grant else {
            return Duration::ZERO;
        };
        let by = grant.by;
        self.news.push((now, News::Granted { name, grant }));
        by
    }
}

impl Entry {
    /// What was granted for this wish before.
    fn known(&self, number: Option<u32>) -> Option<Duration> {
        let number = number?;
        let mut grants = self.said.grants.iter();
        let known = grants.find(|grant| grant.wish == Some(number))?;
        Some(known.by)
    }

    /// Grants what there is room for; `None` if it has got as many as are kept. Nothing is an answer to a wish, and no gift.
    fn grant(&mut self, now: Duration, wish: Wish, drain_end: Duration) -> Option<Grant> {
        let is_same_kind = |grant: &&Grant| grant.wish.is_some() == wish.number.is_some();
        if self.said.grants.iter().filter(is_same_kind).count() >= Grant::MOST {
            return None;
        }
        let by = wish.by.min(self.room(now, drain_end));
        if wish.number.is_none() && by.is_zero() {
            return None;
        }
        let grant = Grant {
            at: now,
            wish: wish.number,
            asked: wish.by,
            by,
            why: wish.why,
        };
        Arc::make_mut(&mut self.said).grants.push(grant.clone());
        Some(grant)
    }

    /// What lies between the end of its budget and that of the drain. Until it is told to close, as if that were now.
    fn room(&self, now: Duration, drain_end: Duration) -> Duration {
        // Without a budget it has all there is.
        let Some(budget) = self.budget() else {
            return Duration::ZERO;
        };
        let from = self.closed_at.unwrap_or(now);
        drain_end.saturating_sub(from.saturating_add(budget))
    }

    /// Keeps what an answer tells.
    pub(super) fn hear(&mut self, answer: &Answer) {
        match answer {
            Answer::Working { done, total, note } => {
                let progress = Progress::new(*done, *total, note.as_str());
                Arc::make_mut(&mut self.said).progress = Some(progress);
            }
            Answer::Done { figures } if !figures.is_empty() => {
                Arc::make_mut(&mut self.said).figures.clone_from(figures);
            }
            _ => {}
        }
    }
}
