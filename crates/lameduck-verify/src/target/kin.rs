//! Owns what must not outlive us: the processes that we started, and our directories for temporary files.
//! Not: when one launch ends (see `running`, `driven`), or what may outlive us to clean up (see `driven`, `keeper`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::keeper::{self, Keeper};
use super::shell;
use super::ward;

/// What was killed may still write while it dies: so often a directory is tried, so far apart.
const REMOVALS: usize = 50;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(10);

/// For one between us and a target to see everything gone. Longer takes what it may not kill: a program of another
/// user, or one that the kernel holds.
const PARTING: Duration = Duration::from_secs(10);

/// Who goes with a child of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its group.
    Leader,
    /// It stands between us and a target, and ends all that the target started, in whichever group.
    Ward,
}

#[derive(Debug)]
struct Kin {
    /// As many as run at once.
    children: BTreeMap<u32, Kind>,
    /// From the first leader on.
    keeper: Option<Keeper>,
    directories: BTreeSet<PathBuf>,
    is_over: bool,
}

static KIN: Mutex<Kin> = Mutex::new(Kin {
    children: BTreeMap::new(),
    keeper: None,
    directories: BTreeSet::new(),
    is_over: false,
});

/// Held for reading from before a process is there until it is noted.
static STARTING: RwLock<()> = RwLock::new(());

fn kin() -> MutexGuard<'static, Kin> {
    KIN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kin {
    fn note(&mut self, id: u32, kind: Kind) {
        self.children.insert(id, kind);
        // One that stands between hears of our end by itself.
        if kind == Kind::Leader {
            if self.keeper.is_none() {
                self.keeper = Keeper::start().ok();
            }
            self.tell(keeper::Word::Mind, id);
        }
    }

    /// To be called before `id` is reaped: afterwards it may be another's, and nobody may kill that.
    fn forget(&mut self, id: u32) {
        if self.children.remove(&id) == Some(Kind::Leader) {
            self.tell(keeper::Word::Forget, id);
        }
    }

    fn tell(&mut self, word: keeper::Word, id: u32) {
        if let Some(keeper) = &mut self.keeper {
            keeper.tell(word, id);
        }
    }

    fn end(&self, id: u32) {
        match self.children.get(&id) {
            Some(Kind::Leader) => shell::kill_group(id),
            Some(Kind::Ward) => shell::signal(id, ward::END),
            None => {}
        }
    }
}

/// Starts the leader of a new group.
pub(super) fn spawn(command: &mut Command, kind: Kind) -> io::Result<Child> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    if kin().is_over {
        return Err(io::Error::other("this run was abandoned"));
    }
    let child = command.spawn()?;
    kin().note(child.id(), kind);
    Ok(child)
}

/// Makes an end of a child that was not reaped yet, and of all that goes with it.
pub(super) fn end(child: &Child) {
    kin().end(child.id());
}

/// Reaps a leader that has ended.
pub(super) fn try_wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let mut kin = kin();
    let is_there = shell::await_zombie(child.id(), Instant::now()).is_none();
    if is_there {
        return Ok(None);
    }
    kin.forget(child.id());
    child.try_wait()
}

/// Waits for a child of which an end was made.
pub(super) fn reap(child: &mut Child) {
    let is_ward = kin().children.get(&child.id()) == Some(&Kind::Ward);
    if is_ward && shell::await_zombie(child.id(), Instant::now() + PARTING).is_none() {
        shell::signal(child.id(), libc::SIGKILL);
    }
    kin().forget(child.id());
    let _ = child.wait();
}

pub(crate) fn note_directory(path: &Path) {
    kin().directories.insert(path.to_owned());
}

pub(crate) fn forget_directory(path: &Path) {
    kin().directories.remove(path);
}

/// Makes an end of every launch of this process at once: kills what was started, with all of its group, and removes
/// directories for temporary files. What was started by a command is cleaned up once this process has ended.
///
/// For whoever handles SIGINT and the like, right before the process ends: nothing can be launched afterwards. It
/// takes locks, so it is not for a signal handler itself.
pub fn abandon() {
    let _nothing_starts = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let mut kin = kin();
    kin.is_over = true;
    for id in kin.children.keys() {
        kin.end(*id);
    }
    for directory in &kin.directories {
        for _ in 0..REMOVALS {
            match std::fs::remove_dir_all(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                _ => break,
            }
            std::thread::park_timeout(BETWEEN_REMOVALS);
        }
    }
}
