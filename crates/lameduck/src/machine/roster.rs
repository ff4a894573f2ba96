//! The participants: who there is, who depends on whom, how far each has come.

use core::time::Duration;
use std::{borrow::ToOwned, string::String, vec::Vec};

use super::io::{Answer, Enrolment, Hook, Listens, ParticipantId};
use crate::vocab::{HookState, Hooked, ListenerReport, ParticipantReport, ParticipantState};

/// How many participants a lifecycle takes; more are refused at enrolment.
pub const MOST_PARTICIPANTS: usize = 1_024;

/// Where one participant stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// Enrolled, not ready.
    Starting,
    /// Ready.
    Up,
    /// Told to stop; answered or not.
    Asked { answered: bool },
    /// Nothing more is expected of it.
    Ended(ParticipantState),
}

/// How far its stop hook came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum HookStanding {
    Absent,
    Waiting,
    Running { since: Duration, until: Duration },
    Ended(Hooked),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    enrolment: Enrolment,
    pub(super) standing: Standing,
    pub(super) hook: HookStanding,
    /// When it was told to close; its budget runs from here.
    pub(super) closed_at: Option<Duration>,
    pub(super) asked_again: bool,
    /// The listener is open, as far as the machine knows.
    admits: bool,
    listener: Option<ListenerReport>,
    ended_at: Option<Duration>,
}

impl Entry {
    pub(super) const fn id(&self) -> ParticipantId {
        self.enrolment.id
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended(_))
    }

    fn has_started(&self) -> bool {
        !matches!(
            self.standing,
            Standing::Starting | Standing::Ended(ParticipantState::NotStarted)
        )
    }

    fn end(&mut self, now: Duration, state: ParticipantState) {
        debug_assert!(!self.is_ended(), "a participant ends once");
        self.admits = false;
        self.standing = Standing::Ended(state);
        self.ended_at = Some(now);
    }

    /// When its budget ends, at most `limit`; `None` while it has not been told to close.
    fn due(&self, limit: Duration) -> Option<Duration> {
        let closed_at = self.closed_at?;
        let budget = self.enrolment.budget?;
        Some(closed_at.saturating_add(budget).min(limit))
    }

    /// When it is asked again: at half its budget, or at half of what is left to `limit`.
    fn ask_again_at(&self, limit: Duration) -> Option<Duration> {
        let closed_at = self.closed_at?;
        let end = self.due(limit).unwrap_or(limit);
        Some(closed_at + end.saturating_sub(closed_at) / 2)
    }
}

/// What a participant has of time, and what it took so far. Instants since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Spent {
    /// Which participant.
    pub id: ParticipantId,
    /// The budget it asked for; `None`: until the drain ends.
    pub budget: Option<Duration>,
    /// When it was told to close; its budget runs from here.
    pub told_at: Option<Duration>,
    /// When it finished, failed or was given up.
    pub ended_at: Option<Duration>,
}

/// All participants, in the order of enrolment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Roster {
    entries: Vec<Entry>,
}

impl Roster {
    pub(super) fn enrol(&mut self, mut enrolment: Enrolment) -> bool {
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
        self.entries.push(Entry {
            enrolment,
            standing: Standing::Starting,
            hook,
            closed_at: None,
            asked_again: false,
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

    pub(super) fn name(&self, id: ParticipantId) -> String {
        self.find(id)
            .map_or_else(|| id.to_string(), |entry| entry.enrolment.name.clone())
    }

    pub(super) fn ready(&mut self, id: ParticipantId) {
        if let Some(entry) = self.find_mut(id)
            && entry.standing == Standing::Starting
        {
            entry.standing = Standing::Up;
        }
    }

    pub(super) fn hooked(&mut self, id: ParticipantId) {
        if let Some(entry) = self.find_mut(id)
            && entry.hook == HookStanding::Absent
        {
            entry.hook = HookStanding::Waiting;
        }
    }

    /// Whether none is still starting.
    pub(super) fn all_ready(&self) -> bool {
        self.entries
            .iter()
            .all(|entry| entry.standing != Standing::Starting)
    }

    /// The request was made: those that are up are asked, those still starting are not waited for.
    pub(super) fn ask_all(&mut self, now: Duration) {
        for entry in &mut self.entries {
            match entry.standing {
                Standing::Up => entry.standing = Standing::Asked { answered: false },
                Standing::Starting => entry.end(now, ParticipantState::NotStarted),
                Standing::Asked { .. } | Standing::Ended(_) => {}
            }
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
        match answer {
            Answer::Ack | Answer::Working { .. } => match &mut entry.standing {
                Standing::Asked { answered } => *answered = true,
                _ => return false,
            },
            Answer::Done => entry.end(now, ParticipantState::Done),
            Answer::Failed { why } => entry.end(now, ParticipantState::Failed { why: why.clone() }),
        }
        true
    }

    pub(super) fn admission_closed(&mut self, id: ParticipantId, report: ListenerReport) {
        if let Some(entry) = self.find_mut(id) {
            entry.admits = false;
            entry.listener = Some(report);
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

    /// The stop hooks that may run now: every participant that depends on theirs has none left.
    pub(super) fn start_hooks(&mut self, now: Duration, end: Duration) -> Vec<ParticipantId> {
        let held = self.held(Entry::hook_is_open);
        let mut started = Vec::new();
        for (index, held) in held.into_iter().enumerate() {
            let entry = &self.entries[index];
            if held || entry.hook != HookStanding::Waiting || !entry.has_started() {
                continue;
            }
            let id = entry.id();
            let share = end.saturating_sub(now) / self.depth(index);
            self.entries[index].hook = HookStanding::Running {
                since: now,
                until: now + share,
            };
            started.push(id);
        }
        started
    }

    /// How many hooks stand in the longest chain that begins here and goes to what this depends on.
    fn depth(&self, index: usize) -> u32 {
        // Dependencies have lower indices (they enrolled earlier), so one pass upwards sees each before its dependents.
        let mut depth: Vec<u32> = Vec::with_capacity(index + 1);
        for entry in &self.entries[..=index] {
            let below = entry
                .enrolment
                .after
                .iter()
                .filter_map(|id| {
                    self.entries[..depth.len()]
                        .iter()
                        .position(|other| other.id() == *id)
                })
                .map(|position| depth[position])
                .max()
                .unwrap_or(0);
            depth.push(below + u32::from(entry.hook_is_open()));
        }
        depth.last().copied().unwrap_or(1).max(1)
    }

    /// A hook ended; returns whether it was running.
    pub(super) fn hook_ended(
        &mut self,
        now: Duration,
        id: ParticipantId,
        result: Result<(), String>,
    ) -> bool {
        let Some(entry) = self.find_mut(id) else {
            return false;
        };
        let HookStanding::Running { since, .. } = entry.hook else {
            return false;
        };
        let state = match result {
            Ok(()) => HookState::Ok,
            Err(why) => HookState::Failed { why },
        };
        entry.hook = HookStanding::Ended(Hooked::new(state, now.saturating_sub(since)));
        true
    }

    /// Gives up the hooks whose share of the reserve is over; returns whether there were any.
    pub(super) fn overrun_hooks(&mut self, now: Duration) -> bool {
        let mut any = false;
        for entry in &mut self.entries {
            if let HookStanding::Running { since, until } = entry.hook
                && until <= now
            {
                entry.hook =
                    HookStanding::Ended(Hooked::new(HookState::Overran, now.saturating_sub(since)));
                any = true;
            }
        }
        any
    }

    pub(super) fn next_hook_timeout(&self) -> Option<Duration> {
        self.entries
            .iter()
            .filter_map(|entry| match entry.hook {
                HookStanding::Running { until, .. } => Some(until),
                _ => None,
            })
            .min()
    }

    /// Whether a hook is running or waits for its turn.
    pub(super) fn hooks_open(&self) -> bool {
        self.entries.iter().any(Entry::hook_is_open)
    }

    pub(super) fn any_hook_failed(&self) -> bool {
        self.entries.iter().any(|entry| {
            matches!(
                &entry.hook,
                HookStanding::Ended(Hooked {
                    state: HookState::Failed { .. },
                    ..
                })
            )
        })
    }

    pub(super) fn any_failed(&self) -> bool {
        self.entries.iter().any(|entry| {
            matches!(
                entry.standing,
                Standing::Ended(ParticipantState::Failed { .. })
            )
        })
    }

    pub(super) fn reports(&self) -> Vec<ParticipantReport> {
        self.entries
            .iter()
            .map(|entry| self.report(entry))
            .collect()
    }

    fn report(&self, entry: &Entry) -> ParticipantReport {
        ParticipantReport {
            name: entry.enrolment.name.clone(),
            after: entry
                .enrolment
                .after
                .iter()
                .map(|id| self.name(*id))
                .collect(),
            state: match &entry.standing {
                Standing::Starting => ParticipantState::NotStarted,
                Standing::Up | Standing::Asked { answered: false } => ParticipantState::Silent,
                Standing::Asked { answered: true } => ParticipantState::Working,
                Standing::Ended(state) => state.clone(),
            },
            budget: entry.enrolment.budget,
            ended_at: entry.ended_at,
            hook: match &entry.hook {
                HookStanding::Absent => None,
                HookStanding::Waiting => Some(Hooked::new(HookState::NotRun, Duration::ZERO)),
                HookStanding::Running { .. } => {
                    Some(Hooked::new(HookState::Overran, Duration::ZERO))
                }
                HookStanding::Ended(hooked) => Some(hooked.clone()),
            },
        }
    }

    /// Forgets what only a report reads, so that the model's states differ only in what decides.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        for entry in &mut self.entries {
            entry.listener = None;
            entry.ended_at = None;
            if let HookStanding::Ended(hooked) = &mut entry.hook {
                hooked.took = Duration::ZERO;
                if hooked.state == HookState::Overran {
                    hooked.state = HookState::Ok;
                }
            }
            if let Standing::Ended(state) = &mut entry.standing {
                entry.closed_at = None;
                entry.asked_again = false;
                if matches!(state, ParticipantState::Overdue { .. }) {
                    *state = ParticipantState::Done;
                }
            }
        }
    }

    pub(super) fn listeners(&self) -> Vec<ListenerReport> {
        self.entries
            .iter()
            .filter_map(|entry| entry.listener.clone())
            .collect()
    }

    pub(super) fn spent(&self) -> Vec<Spent> {
        let spent = self.entries.iter().map(|entry| Spent {
            id: entry.id(),
            budget: entry.enrolment.budget,
            told_at: entry.closed_at,
            ended_at: entry.ended_at,
        });
        spent.collect()
    }

    /// Names of those not ended, for the status: what blocks.
    pub(super) fn open_names(&self) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| !entry.is_ended())
            .map(|entry| entry.enrolment.name.to_owned())
            .collect()
    }
}

impl Entry {
    fn give_up(&mut self, now: Duration) {
        let answered = matches!(self.standing, Standing::Asked { answered: true });
        self.end(now, ParticipantState::Overdue { answered });
    }

    fn hook_is_open(&self) -> bool {
        match self.hook {
            HookStanding::Waiting => self.has_started(),
            HookStanding::Running { .. } => true,
            HookStanding::Absent | HookStanding::Ended(_) => false,
        }
    }
}
