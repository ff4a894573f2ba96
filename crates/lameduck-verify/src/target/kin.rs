//! Owns what must not outlive us: the groups of processes that we started, and our directories for temporary files.
//! Not: ending one launch in the ordinary way (see `running`, `driven`), or what may outlive us to clean up (see
//! `driven`).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::shell;

/// What was killed may still write while it dies: so often a directory is tried, so far apart.
const REMOVALS: usize = 50;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Kin {
    /// As many as run at once.
    groups: BTreeSet<u32>,
    directories: BTreeSet<PathBuf>,
    is_over: bool,
}

static KIN: Mutex<Kin> = Mutex::new(Kin {
    groups: BTreeSet::new(),
    directories: BTreeSet::new(),
    is_over: false,
});

/// Held for reading from before a process is there until it is noted.
static STARTING: RwLock<()> = RwLock::new(());

fn kin() -> MutexGuard<'static, Kin> {
    KIN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the leader of a new group.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    if kin().is_over {
        return Err(io::Error::other("this run was abandoned"));
    }
    let child = command.spawn()?;
    kin().groups.insert(child.id());
    Ok(child)
}

/// Reaps a leader that has ended.
pub(super) fn try_wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    // Held meanwhile: once it is reaped, its id may be another's, and nobody may kill that.
    let mut kin = kin();
    let ended = child.try_wait()?;
    if ended.is_some() {
        kin.groups.remove(&child.id());
    }
    Ok(ended)
}

/// Waits for a leader whose group was killed.
pub(super) fn reap(child: &mut Child) {
    kin().groups.remove(&child.id());
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
    for group in &kin.groups {
        shell::kill_group(*group);
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
