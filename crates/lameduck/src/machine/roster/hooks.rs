//! Stop hooks: whose turn it is, how long each may run, how each ended (INV-10).

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use super::{Entry, Roster};
use crate::{
    machine::io::ParticipantId,
    vocab::{HookState, Hooked, News},
};

/// How far its stop hook came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::machine) enum HookStanding {
    Absent,
    Waiting,
    Running { since: Duration, until: Duration },
    Ended(Hooked),
}

impl Roster {
    pub(in crate::machine) fn hooked(&mut self, id: ParticipantId) {
        if let Some(entry) = self.find_mut(id)
            && entry.hook == HookStanding::Absent
        {
            entry.hook = HookStanding::Waiting;
        }
    }

    /// The stop hooks that may run now: every participant that depends on theirs has none left.
    pub(in crate::machine) fn start_hooks(
        &mut self,
        now: Duration,
        end: Duration,
    ) -> Vec<ParticipantId> {
        let held = self.held(Entry::hook_is_open);
        let mut started = Vec::new();
        for (index, held) in held.into_iter().enumerate() {
            let entry = &self.entries[index];
            if held || entry.hook != HookStanding::Waiting || !entry.has_started() {
                continue;
            }
            let id = entry.id();
            let name = entry.name();
            let share = end.saturating_sub(now) / self.depth(index);
            self.entries[index].hook = HookStanding::Running {
                since: now,
                until: now + share,
            };
            started.push(id);
            self.news.push((now, News::HookBegan { name }));
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
    pub(in crate::machine) fn hook_ended(
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
        let hooked = Hooked::new(state, now.saturating_sub(since));
        entry.hook = HookStanding::Ended(hooked.clone());
        let name = entry.name();
        self.news.push((now, News::HookEnded { name, hooked }));
        true
    }

    /// Gives up the hooks whose share of the reserve is over; returns whether there were any.
    pub(in crate::machine) fn overrun_hooks(&mut self, now: Duration) -> bool {
        let mut any = false;
        for entry in &mut self.entries {
            if let HookStanding::Running { since, until } = entry.hook
                && until <= now
            {
                let hooked = Hooked::new(HookState::Overran, now.saturating_sub(since));
                entry.hook = HookStanding::Ended(hooked.clone());
                let name = entry.name();
                self.news.push((now, News::HookEnded { name, hooked }));
                any = true;
            }
        }
        any
    }

    pub(in crate::machine) fn next_hook_timeout(&self) -> Option<Duration> {
        self.entries
            .iter()
            .filter_map(|entry| match entry.hook {
                HookStanding::Running { until, .. } => Some(until),
                _ => None,
            })
            .min()
    }

    /// Whether a hook is running or waits for its turn.
    pub(in crate::machine) fn hooks_open(&self) -> bool {
        self.entries.iter().any(Entry::hook_is_open)
    }

    pub(in crate::machine) fn any_hook_failed(&self) -> bool {
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
}

impl Entry {
    pub(super) fn hook_is_open(&self) -> bool {
        match self.hook {
            HookStanding::Waiting => self.has_started(),
            HookStanding::Running { .. } => true,
            HookStanding::Absent | HookStanding::Ended(_) => false,
        }
    }
}
