//! What the program's own tasks are doing: one entry for each, readable while every worker is wedged.
//!
//! Owns the registry. A task writes its own entry with plain atomic stores around each poll; the registry's lock is taken when a task begins
//! and ends, and only tried by a reader, which says so when it did not get it.
//!
//! Bound: [`Tasks::MAX`] tasks at the same time; those past it are counted in [`Tasks::unlisted`] and run all the same.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// The registry of tasks.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use lameduck::inflight::Tasks;
///
/// let tasks = Tasks::new();
/// let task = tasks.enter("outbox", std::panic::Location::caller(), Duration::from_secs(1));
/// task.poll_begins(4711, Duration::from_secs(3));
///
/// let seen = tasks.snapshot(10).expect("nobody holds the lock");
/// assert_eq!((seen.tasks[0].name.as_str(), seen.tasks[0].running_on), ("outbox", Some(4711)));
/// drop(task);
/// assert_eq!(tasks.snapshot(10).expect("nobody holds the lock").tasks.len(), 0);
/// ```
#[derive(Clone, Default)]
pub struct Tasks {
    table: Arc<Table>,
}

#[derive(Default)]
struct Table {
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
    next: AtomicU64,
    unlisted: AtomicU64,
}

struct Entry {
    name: String,
    spawned_at: &'static Location<'static>,
    born: Duration,
    polls: AtomicU64,
    /// Microseconds since when it runs or waits, times two, plus one while it runs; 0 before its first poll.
    mark: AtomicU64,
    /// The thread of its last poll.
    tid: AtomicI32,
}

/// A task's place in the registry; dropping it takes the task out.
pub struct TaskEntry {
    table: Arc<Table>,
    number: u64,
    entry: Arc<Entry>,
}

/// What [`Tasks::snapshot`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TasksView {
    /// The oldest, at most as many as were asked for.
    pub tasks: Vec<TaskView>,
    /// How many there were.
    pub total: usize,
}

/// One task. Its fields are read one after the other, so that they may be of two polls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskView {
    /// Its number, counted from 1.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// When it was spawned.
    pub born: Duration,
    /// How often it was polled.
    pub polls: u64,
    /// The kernel's id of the thread that polls it now; `None` while it waits.
    pub running_on: Option<i32>,
    /// Since when it has run or waited; `None` before its first poll.
    pub since: Option<Duration>,
}

impl Tasks {
    /// How many tasks are listed at the same time.
    pub const MAX: usize = 16_384;

    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists a task that begins at `at`.
    #[must_use]
    pub fn enter(
        &self,
        name: impl Into<String>,
        spawned_at: &'static Location<'static>,
        at: Duration,
    ) -> TaskEntry {
        let entry = Arc::new(Entry {
            name: name.into(),
            spawned_at,
            born: at,
            polls: AtomicU64::new(0),
            mark: AtomicU64::new(0),
            tid: AtomicI32::new(0),
        });
        // Relaxed: only a number that nobody else has.
        let number = 1 + self.table.next.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.table.lock();
        if entries.len() < Self::MAX {
            entries.insert(number, Arc::clone(&entry));
        } else {
            // Relaxed: a figure.
            self.table.unlisted.fetch_add(1, Ordering::Relaxed);
        }
        drop(entries);
        TaskEntry {
            table: Arc::clone(&self.table),
            number,
            entry,
        }
    }

    /// The `limit` oldest tasks; `None` while another thread holds the registry. Never waits.
    #[must_use]
    pub fn snapshot(&self, limit: usize) -> Option<TasksView> {
        let entries = match self.table.entries.try_lock() {
            Ok(entries) => entries,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let tasks = entries.iter().take(limit);
        Some(TasksView {
            tasks: tasks.map(|(number, entry)| entry.view(*number)).collect(),
            total: entries.len(),
        })
    }

    /// How many tasks were not listed because [`MAX`](Self::MAX) were.
    #[must_use]
    pub fn unlisted(&self) -> u64 {
        self.table.unlisted.load(Ordering::Relaxed)
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskEntry {
    /// A poll begins on this thread. Three plain stores.
    #[inline]
    pub fn poll_begins(&self, tid: i32, at: Duration) {
        let entry = &self.entry;
        // Relaxed, all: written by whoever polls, which is one thread at a time; a reader takes them as they come.
        let polls = entry.polls.load(Ordering::Relaxed);
        entry.polls.store(polls + 1, Ordering::Relaxed);
        entry.tid.store(tid, Ordering::Relaxed);
        entry.mark.store(micros(at) << 1 | 1, Ordering::Relaxed);
    }

    /// The poll is over: the task waits. One plain store.
    #[inline]
    pub fn poll_ends(&self, at: Duration) {
        self.entry.mark.store(micros(at) << 1, Ordering::Relaxed);
    }
}

impl Drop for TaskEntry {
    fn drop(&mut self) {
        self.table.lock().remove(&self.number);
    }
}

impl Entry {
    fn view(&self, number: u64) -> TaskView {
        let mark = self.mark.load(Ordering::Relaxed);
        let running = mark & 1 == 1;
        TaskView {
            number,
            name: self.name.clone(),
            spawned_at: self.spawned_at,
            born: self.born,
            polls: self.polls.load(Ordering::Relaxed),
            running_on: running.then(|| self.tid.load(Ordering::Relaxed)),
            since: (mark != 0).then(|| Duration::from_micros(mark >> 1)),
        }
    }
}

/// At least one, so that a mark is never that of a task which was not polled.
fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX).max(1)
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("total", &self.snapshot(0).map(|seen| seen.total))
            .field("unlisted", &self.unlisted())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TaskEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.view(self.number).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(1);

    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    #[test]
    fn a_task_is_new_runs_and_waits() {
        let tasks = Tasks::new();
        let task = tasks.enter("one", here(), AT);
        let look = || tasks.snapshot(1).expect("no lock is held").tasks.remove(0);
        let new = look();
        assert_eq!((new.polls, new.running_on, new.since), (0, None, None));
        task.poll_begins(7, AT * 2);
        let running = look();
        assert_eq!(
            (running.polls, running.running_on, running.since),
            (1, Some(7), Some(AT * 2))
        );
        task.poll_ends(AT * 3);
        let waiting = look();
        assert_eq!(
            (waiting.polls, waiting.running_on, waiting.since),
            (1, None, Some(AT * 3))
        );
        assert!(waiting.spawned_at.file().ends_with("tasks.rs"));
    }

    #[test]
    fn a_held_lock_is_said_and_not_waited_for() {
        let tasks = Tasks::new();
        let _task = tasks.enter("one", here(), AT);
        let held = tasks.table.lock();
        assert_eq!(tasks.snapshot(1), None);
        drop(held);
        assert_eq!(tasks.snapshot(0).expect("free").total, 1);
    }

    #[test]
    fn invariant_11_tasks_past_the_bound_are_counted() {
        let tasks = Tasks::new();
        let all: Vec<_> = (0..=Tasks::MAX)
            .map(|_| tasks.enter("", here(), AT))
            .collect();
        assert_eq!(tasks.unlisted(), 1);
        all[Tasks::MAX].poll_begins(1, AT);
        let seen = tasks.snapshot(2).expect("free");
        assert_eq!((seen.total, seen.tasks.len()), (Tasks::MAX, 2));
        assert_eq!(seen.tasks[0].number, 1, "the oldest first");
        drop(all);
        assert_eq!(tasks.snapshot(1).expect("free"), TasksView::default());
    }
}
