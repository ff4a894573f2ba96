//! The observer behind the history: collects how participants ended, and writes it when all have.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    book::{Budget, Ended, Entry},
    file::Place,
    memory::Memory,
};
use crate::{
    driver::{Budgets as _, Observer, Shared},
    machine::Input,
    vocab::{News, Observed, ParticipantState, Phase, time::rfc3339},
};

/// How long the end waits for the disk: the least that a plan reserves. The writing begins with `Stopped`, so it mostly is over before the
/// stop hooks are; the deadline is the limit whatever stands here (INV-2).
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Recorder {
    place: Place,
    memory: Arc<Memory>,
    shared: Weak<Shared>,
    /// When the shutdown began, once it did.
    leaving_since: Option<String>,
    /// How many happenings it missed before the next one that it hears.
    missed: u64,
    /// What participants were granted in it, by name.
    granted: BTreeMap<String, Duration>,
    /// How participants ended in it, and what has not been written yet.
    ended: Vec<(String, Entry)>,
}

impl Recorder {
    pub(super) const fn new(place: Place, memory: Arc<Memory>, shared: Weak<Shared>) -> Self {
        Self {
            place,
            memory,
            shared,
            leaving_since: None,
            missed: 0,
            granted: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// An end in a shutdown; those before it say nothing about budgets.
    fn note(&mut self, name: &str, state: &ParticipantState, took: Option<Duration>) {
        let Some(at) = self.leaving_since.clone() else {
            return;
        };
        let granted = self.granted.get(name).copied().unwrap_or_default();
        let learned = self.memory.learned(name);
        let budget = learned.map(|learned| Budget::new(learned, granted));
        // Without a turn of its own it had no time, and needed none if it was done.
        let time = took.unwrap_or_default();
        let ended = match state {
            ParticipantState::Done => Ended::Done,
            ParticipantState::Failed { .. } => Ended::Failed,
            ParticipantState::Refused { .. } => Ended::Refused,
            // Where the drain ends before its budget does, a longer budget would not have helped.
            ParticipantState::Overdue { .. } if budget.is_some_and(|had| time >= had.used) => {
                Ended::Overdue
            }
            ParticipantState::Overdue { .. } => Ended::CutShort,
            _ => return,
        };
        let entry = Entry {
            at,
            budget,
            took: time,
            ended,
        };
        self.ended.push((name.to_owned(), entry));
    }

    fn write(&mut self) {
        if self.ended.is_empty() {
            return;
        }
        let forgotten = self.memory.add(std::mem::take(&mut self.ended));
        if forgotten > 0 {
            self.complain(&format!(
                "the history has no room for {forgotten} participant(s), whose budgets do not learn"
            ));
        }
        if let Err(error) = self.place.write(&self.memory.to_json()) {
            self.complain(&format!("the history is not written: {error}"));
        }
    }

    /// The shutdown began. It is asked of the request, not only heard: the news of it may be among what was missed.
    fn look_whether_it_leaves(&mut self, seen: &Observed) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        // What is heard late may have happened before.
        if let Some(request) = shared.request()
            && let Some(since) = seen.at.checked_sub(request.begun_at)
            && self.leaving_since.is_none()
        {
            let began = seen.time.checked_sub(since).unwrap_or(seen.time);
            self.leaving_since = Some(rfc3339(began));
        }
    }

    /// What was missed of a shutdown may be how a participant ended in it; what was missed before says nothing about budgets.
    fn complain_of_missed(&mut self) {
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 && self.leaving_since.is_some() {
            self.complain(&format!(
                "the history missed {missed} happening(s) of this shutdown: budgets may not learn from all of it"
            ));
        }
    }

    fn complain(&self, what: &str) {
        if let Some(shared) = self.shared.upgrade() {
            shared.say(&format!("lameduck: warning: {what}"));
            // In the report, if that has not been made yet.
            shared.send(Input::Note(what.to_owned()));
        }
    }
}

impl Observer for Recorder {
    fn observe(&mut self, seen: &Observed) {
        let is_the_beginning =
            matches!(&seen.news, News::PhaseChanged { from, .. } if !from.is_leaving());
        self.look_whether_it_leaves(seen);
        if is_the_beginning {
            self.missed = 0;
        }
        self.complain_of_missed();
        match &seen.news {
            News::PhaseChanged { to, .. } if *to == Phase::Stopped => self.write(),
            News::PhaseChanged { to, .. } if to.is_leaving() && self.leaving_since.is_none() => {
                self.leaving_since = Some(rfc3339(seen.time));
            }
            // Bounded by the machine: sixteen for each participant.
            News::Granted { name, grant } => {
                let granted = self.granted.entry(name.clone()).or_default();
                *granted = granted.saturating_add(grant.by);
            }
            News::Ended {
                name, state, took, ..
            } => self.note(name, state, *took),
            _ => {}
        }
    }

    fn missed(&mut self, count: u64) {
        self.missed += count;
    }

    fn finish(&mut self) {
        self.complain_of_missed();
        self.write();
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}
