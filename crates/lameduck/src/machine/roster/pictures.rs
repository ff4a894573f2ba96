//! The participants as pictures for people: in the report, and while it is still going.

use alloc::{sync::Arc, vec::Vec};
use core::time::Duration;

use super::{Entry, HookStanding, Roster, Standing};
use crate::{
    machine::status::ParticipantStatus,
    vocab::{HookState, Hooked, ListenerReport, ParticipantReport, ParticipantState},
};

impl Roster {
    pub(in crate::machine) fn reports(&self) -> Vec<ParticipantReport> {
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
                Standing::Away { why } => ParticipantState::Away { why: why.clone() },
                Standing::Up | Standing::Asked { answered: false } => ParticipantState::Silent,
                Standing::Asked { answered: true } => ParticipantState::Working,
                Standing::Ended(state) => state.clone(),
            },
            budget: entry.enrolment.budget,
            grants: entry.said.grants().to_vec(),
            progress: entry.said.progress().cloned(),
            figures: entry.said.figures().to_vec(),
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
    pub(in crate::machine) fn forget(&mut self) {
        for entry in &mut self.entries {
            entry.listener = None;
            entry.ended_at = None;
            Arc::make_mut(&mut entry.said).forget();
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

    pub(in crate::machine) fn listeners(&self) -> Vec<ListenerReport> {
        self.entries
            .iter()
            .filter_map(|entry| entry.listener.clone())
            .collect()
    }

    /// How each stands; budgets end at `limit` at the latest.
    pub(in crate::machine) fn statuses(&self, limit: Option<Duration>) -> Vec<ParticipantStatus> {
        self.entries
            .iter()
            .map(|entry| ParticipantStatus {
                enrolment: Arc::clone(&entry.enrolment),
                standing: entry.standing.clone(),
                hook: entry.hook.clone(),
                said: Arc::clone(&entry.said),
                budget: entry.budget(),
                admits: entry.admits,
                closed_at: entry.closed_at,
                due_at: limit.and_then(|limit| entry.due(limit)),
                ended_at: entry.ended_at,
            })
            .collect()
    }
}
