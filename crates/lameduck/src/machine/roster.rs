//! The participants: who there is, who depends on whom, how far each has come.

mod grants;
mod hooks;
mod pictures;

use alloc::{string::String, sync::Arc, vec::Vec};
use core::time::Duration;

pub(super) use grants::{Said, Wish};
pub(super) use hooks::HookStanding;

use super::io::{Answer, Enrolment, Hook, Listens, ParticipantId};
use crate::vocab::{ListenerReport, News, ParticipantState};

/// How many participants a lifecycle takes; more are refused at enrolment.
pub const MOST_PARTICIPANTS: usize = 1_024;

/// Where one participant stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// Enrolled, not ready.
    Starting,
    /// Gone before the request came; it may return.
    Away { why: String },
    /// Ready.
    Up,
    /// Told to stop; answered or not.
    Asked { answered: bool },
    /// Nothing more is expected of it.
    Ended(ParticipantState),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// Shared with each status, which is made after every turn of the driver.
    enrolment: Arc<Enrolment>,
    pub(super) standing: Standing,
    pub(super) hook: HookStanding,
    /// When it was told to close; its budget runs from here.
    pub(super) closed_at: Option<Duration>,
    pub(super) asked_again: bool,
    /// What it said and got meanwhile; shared with each status, too.
    said: Arc<Said>,
    /// The listener is open, as far as the machine knows.
    admits: bool,
    listener: Option<ListenerReport>,
    ended_at: Option<Duration>,
}

impl Entry {
    pub(super) fn id(&self) -> ParticipantId {
        self.enrolment.id
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended(_))
    }

    fn has_started(&self) -> bool {
        !matches!(
            self.standing,
            Standing::Starting
                | Standing::Away { .. }
                | Standing::Ended(ParticipantState::NotStarted | ParticipantState::Away { .. })
        )
    }

    fn end(&mut self, now: Duration, state: ParticipantState) {
        debug_assert!(!self.is_ended(), "a participant ends once");
        self.admits = false;
        self.standing = Standing::Ended(state);
        self.ended_at = Some(now);
    }

    /// Its budget with all that it was granted; `None`: until the drain ends.
    fn budget(&self) -> Option<Duration> {
        let budget = self.enrolment.budget?;
        Some(budget.saturating_add(self.said.granted()))
    }

    /// When its budget ends, at most `limit`; `None` while it has not been told to close.
    fn due(&self, limit: Duration) -> Option<Duration> {
        let closed_at = self.closed_at?;
        Some(closed_at.saturating_add(self.budget()?).min(limit))
    }

    /// When it is asked again: at half its budget, or at half of what is left to `limit`.
    fn ask_again_at(&self, limit: Duration) -> Option<Duration> {
        let closed_at = self.closed_at?;
        let end = self.due(limit).unwrap_or(limit);
        Some(closed_at + end.saturating_sub(closed_at) / 2)
    }
}

/// All participants, in the order of enrolment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Roster {
    entries: Vec<Entry>,
    /// What is to be told of them; taken after each input, of which none makes more than two for each participant.
    news: Vec<(Duration, News)>,
}

impl Roster {
    pub(super) fn enrol(&mut self, now: Duration, mut enrolment: Enrolment) -> bool {
        if self.entries.len() >= MOST_PARTICIPANTS || self.find(enrolment.id).is_some() {
            return false;
        }
        // What nobody knows is depended on by nobody: without this a participant could wait for itself.
        enrolment.after.retain(|id| self.find(*id).is_some());
        let hook = match enrolment.hook {
            Hook::None => HookStanding::Absent,
            Hook::Some => HookStanding::Waiting,
        };
        let admits = enrolment.listens == Listens::UntilClosed;
        let enrolled = News::Enrolled {
            name: enrolment.name.clone(),
            budget: enrolment.budget,
        };
        self.news.push((now, enrolled));
        self.entries.push(Entry {
            enrolment: Arc::new(enrolment),
            standing: Standing::Starting,
            hook,
            closed_at: None,
            asked_again: false,
            said: Arc::default(),
            admits,
            listener: None,
            ended_at: None,
        });
        true
    }

    pub(super) fn find(&self, id: ParticipantId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id() == id)
    }

    fn find_mut(&mut self, id: ParticipantId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id() == id)
    }

    /// Whether it was given up.
    pub(super) fn is_overdue(&self, id: ParticipantId) -> bool {
        let overdue = |entry: &Entry| {
            matches!(
                entry.standing,
                Standing::Ended(ParticipantState::Overdue { .. })
            )
        };
        self.find(id).is_some_and(overdue)
    }

    pub(super) fn name(&self, id: ParticipantId) -> String {
        self.find(id)
            .map_or_else(|| id.to_string(), |entry| entry.enrolment.name.clone())
    }

    pub(super) fn take_news(&mut self) -> Vec<(Duration, News)> {
        core::mem::take(&mut self.news)
    }

    pub(super) fn ready(&mut self, now: Duration, id: ParticipantId) {
        if let Some(entry) = self.find_mut(id)
            && entry.standing == Standing::Starting
        {
            entry.standing = Standing::Up;
            let name = entry.name();
            self.news.push((now, News::Ready { name }));
        }
    }

    /// Whether none is still starting.
    pub(super) fn all_ready(&self) -> bool {
        self.entries
            .iter()
            .all(|entry| entry.standing != Standing::Starting)
    }

    /// One that went away is back, and as one that has just enrolled.
    pub(super) fn returned(&mut self, now: Duration, id: ParticipantId) {
        if let Some(entry) = self.find_mut(id)
            && matches!(entry.standing, Standing::Away { .. })
        {
            entry.standing = Standing::Starting;
            entry.admits = entry.enrolment.listens == Listens::UntilClosed;
            let name = entry.name();
            self.news.push((now, News::Returned { name }));
        }
    }

    /// The request was made: those that are up are asked, those still starting or away are not waited for.
    pub(super) fn ask_all(&mut self, now: Duration) {
        for entry in &mut self.entries {
            let state = match &entry.standing {
                Standing::Up => {
                    entry.standing = Standing::Asked { answered: false };
                    continue;
                }
                Standing::Starting => ParticipantState::NotStarted,
                Standing::Away { why } => ParticipantState::Away { why: why.clone() },
                Standing::Asked { .. } | Standing::Ended(_) => continue,
            };
            entry.end(now, state);
            self.news.push((now, entry.ended()));
        }
    }

    /// Takes an answer; returns whether it was news. Late and repeated answers are harmless.
    pub(super) fn answer(&mut self, now: Duration, id: ParticipantId, answer: &Answer) -> bool {
        let Some(entry) = self.find_mut(id) else {
            return false;
        };
        if entry.is_ended() {
            return false;
        }
        let state = match answer {
            Answer::Ack | Answer::Working { .. } | Answer::NeedMore { .. } => {
                let Standing::Asked { answered } = &mut entry.standing else {
                    return false;
                };
                let is_first = !core::mem::replace(answered, true);
                entry.hear(answer);
                if is_first {
                    let name = entry.name();
                    self.news.push((now, News::Answered { name }));
                }
                return true;
            }
            Answer::Away { why } => match entry.standing {
                Standing::Away { .. } => return false,
                Standing::Starting | Standing::Up => {
                    let (name, why) = (entry.name(), why.clone());
                    entry.admits = false;
                    entry.standing = Standing::Away { why: why.clone() };
                    self.news.push((now, News::Away { name, why }));
                    return true;
                }
                _ => ParticipantState::Failed { why: why.clone() },
            },
            Answer::Done { .. } => ParticipantState::Done,
            Answer::Refused { why } => ParticipantState::Refused { why: why.clone() },
            Answer::Failed { why } => ParticipantState::Failed { why: why.clone() },
        };
        entry.hear(answer);
        entry.end(now, state);
        let ended = entry.ended();
        self.news.push((now, ended));
        true
    }

    pub(super) fn admission_closed(
        &mut self,
        now: Duration,
        id: ParticipantId,
        report: ListenerReport,
    ) {
        if let Some(entry) = self.find_mut(id) {
            entry.admits = false;
            entry.listener = Some(report.clone());
            let name = entry.name();
            self.news.push((now, News::ListenerClosed { name, report }));
        }
    }

    /// Names of the listeners that have not said that they closed.
    pub(super) fn admitting(&self) -> Vec<&str> {
        self.entries
            .iter()
            .filter(|entry| entry.admits)
            .map(|entry| entry.enrolment.name.as_str())
            .collect()
    }

    /// Whether every participant that admitted connections has ended.
    pub(super) fn servers_ended(&self) -> bool {
        self.entries
            .iter()
            .filter(|entry| entry.enrolment.listens == Listens::UntilClosed)
            .all(Entry::is_ended)
    }

    pub(super) fn all_ended(&self) -> bool {
        self.entries.iter().all(Entry::is_ended)
    }

    /// Those on which nothing alive depends any longer, each only once.
    pub(super) fn close_free(&mut self, now: Duration) -> Vec<ParticipantId> {
        let held = self.held(|entry| !entry.is_ended());
        let mut free = Vec::new();
        for (entry, held) in self.entries.iter_mut().zip(held) {
            if !held && entry.closed_at.is_none() && !entry.is_ended() {
                entry.closed_at = Some(now);
                free.push(entry.id());
                let name = entry.name();
                self.news.push((now, News::ToldToClose { name }));
            }
        }
        free
    }

    /// For each entry, whether an open one depends on it, directly or through others that need not be open themselves.
    fn held(&self, is_open: impl Fn(&Entry) -> bool) -> Vec<bool> {
        let mut held = vec![false; self.entries.len()];
        // Dependents have higher indices (they enrolled later), so one pass downwards sees each before what it depends on.
        for (index, entry) in self.entries.iter().enumerate().rev() {
            if !held[index] && !is_open(entry) {
                continue;
            }
            for id in &entry.enrolment.after {
                if let Some(below) = self.entries[..index].iter().position(|e| e.id() == *id) {
                    held[below] = true;
                }
            }
        }
        held
    }

    /// Gives up those whose budget is over.
    pub(super) fn expire(&mut self, now: Duration, limit: Duration) -> bool {
        let mut any = false;
        for entry in &mut self.entries {
            if !entry.is_ended() && entry.due(limit).is_some_and(|due| due <= now) {
                entry.give_up(now);
                self.news.push((now, entry.ended()));
                any = true;
            }
        }
        any
    }

    /// Gives up all that have not ended; returns whether there were any.
    pub(super) fn give_up_all(&mut self, now: Duration) -> bool {
        let mut any = false;
        for entry in self.entries.iter_mut().filter(|entry| !entry.is_ended()) {
            entry.give_up(now);
            self.news.push((now, entry.ended()));
            any = true;
        }
        any
    }

    /// Silent ones whose half budget is over, each only once.
    pub(super) fn ask_again(&mut self, now: Duration, limit: Duration) -> Vec<ParticipantId> {
        let mut silent = Vec::new();
        for entry in &mut self.entries {
            let due = entry.ask_again_at(limit).is_some_and(|at| at <= now);
            if due && !entry.asked_again && entry.standing == (Standing::Asked { answered: false })
            {
                entry.asked_again = true;
                silent.push(entry.id());
                let name = entry.name();
                self.news.push((now, News::AskedAgain { name }));
            }
        }
        silent
    }

    /// The next instant at which [`expire`](Self::expire) or [`ask_again`](Self::ask_again) has something to do.
    pub(super) fn next_timeout(&self, limit: Duration) -> Option<Duration> {
        self.entries
            .iter()
            .filter(|entry| !entry.is_ended())
            .flat_map(|entry| {
                let silent =
                    !entry.asked_again && entry.standing == Standing::Asked { answered: false };
                [
                    entry.due(limit),
                    entry.ask_again_at(limit).filter(|_| silent),
                ]
            })
            .flatten()
            .min()
    }

    /// Whether any failed, or refused to finish.
    pub(super) fn any_failed(&self) -> bool {
        self.entries.iter().any(|entry| {
            matches!(
                entry.standing,
                Standing::Ended(ParticipantState::Failed { .. } | ParticipantState::Refused { .. })
            )
        })
    }
}

impl Entry {
    fn name(&self) -> String {
        self.enrolment.name.clone()
    }

    /// The news that it has ended.
    fn ended(&self) -> News {
        let state = match &self.standing {
            Standing::Ended(state) => state.clone(),
            _ => ParticipantState::Silent,
        };
        News::Ended {
            name: self.name(),
            state,
            budget: self.enrolment.budget,
            took: self
                .closed_at
                .zip(self.ended_at)
                .map(|(from, to)| to.saturating_sub(from)),
            figures: self.said.figures().to_vec(),
        }
    }

    fn give_up(&mut self, now: Duration) {
        let answered = matches!(self.standing, Standing::Asked { answered: true });
        self.end(now, ParticipantState::Overdue { answered });
    }
}
