//! What a dump says of a lifecycle: read without waiting for anybody, because whoever would have to let go may be what hangs.

use std::time::Duration;

use super::Shared;
use crate::{
    inflight::{IdleView, Snapshot, TasksView},
    machine,
    vocab::{Phase, Plan},
};

/// How much of each list is read; the rest is counted.
pub(crate) const MOST_REQUESTS: usize = 256;
pub(crate) const MOST_IDLE: usize = 256;
pub(crate) const MOST_TASKS: usize = 1_024;

/// A lifecycle, as it was; each part at its own instant.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) now: Duration,
    pub(crate) phase: Phase,
    pub(crate) plan: Plan,
    /// `None` while the driver is writing it.
    pub(crate) machine: Option<machine::Status>,
    pub(crate) connections: usize,
    pub(crate) guards: usize,
    pub(crate) requests_so_far: u64,
    /// The oldest requests.
    pub(crate) requests: Snapshot,
    /// Those idle for longest.
    pub(crate) idle: Vec<IdleView>,
    /// `None` while a task begins or ends.
    pub(crate) tasks: Option<TasksView>,
    /// Tasks that are in no list.
    pub(crate) unlisted: u64,
}

impl Shared {
    /// Takes no lock that it would have to wait for.
    pub(crate) fn dump_facts(&self) -> Facts {
        let inflight = self.inflight();
        Facts {
            now: self.now(),
            phase: self.phase(),
            plan: self.plan().clone(),
            machine: self.try_machine(),
            connections: inflight.connections.count(),
            guards: inflight.guards.count(),
            requests_so_far: inflight.requests.total(),
            requests: inflight.slots.snapshot(MOST_REQUESTS),
            idle: inflight.slots.idle(MOST_IDLE),
            tasks: inflight.tasks.snapshot(MOST_TASKS),
            unlisted: inflight.tasks.unlisted(),
        }
    }
}
