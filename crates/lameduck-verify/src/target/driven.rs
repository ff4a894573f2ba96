//! Owns a service that is started and cleaned up by commands, and is no child of ours: a container, a unit, a pod.
//! Not: how it is told to stop (see `stop`).

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::LaunchError;
use super::kin::{self, Kind};
use super::output::Output;
use super::place::Place;
use super::shell::{self, await_zombie};
use crate::options::Driven as Spec;

/// For one question whether it is still there.
pub(crate) const ALIVE_BOUND: Duration = Duration::from_secs(10);
/// For cleaning up after one launch.
const CLEANUP_BOUND: Duration = Duration::from_secs(60);
/// Cleans up if we are gone before we could: our end of its standard input closes then. It is there before anything is
/// started, is told the group of what was, and `done` when the cleanup was done in the ordinary way. The group is killed
/// first: its leader is init's to reap by now, and once the group is empty its id may be another's. What the cleanup does to
/// its shell is its own business.
const GUARD: &str = "read -r group; [ \"$group\" = done ] && exit 0; read -r word; [ \"$word\" = done ] && exit 0; \
    [ -n \"$group\" ] && kill -s KILL -- -\"$group\"; ( eval \"$CLEANUP\" )";

/// What was started, and what is due at its end.
#[derive(Debug)]
pub(crate) struct Driven {
    /// The shell of the start command. It is not reaped before the end, so that its group stays ours: what it left in
    /// the background is in there.
    starter: Child,
    guard: Option<Child>,
    cleanup: Mutex<Option<String>>,
    place: Place,
    pub(crate) alive: Option<String>,
}

impl Driven {
    /// Runs the start command to its end, for `bound` at most.
    pub(crate) fn start(
        spec: &Spec,
        place: &Place,
        output: &Arc<Output>,
        bound: Duration,
    ) -> Result<Self, LaunchError> {
        let command = shell::command(&spec.start, place, None);
        let cleanup = spec.cleanup.as_deref().map(|line| place.fill(line));
        // First: whoever interrupts us finds it, whatever has been started by then.
        let mut guard = guard(cleanup.as_deref().unwrap_or(":"), place).ok();
        let starter = match shell::spawn(command, Kind::Leader, output) {
            Ok(starter) => starter,
            Err(error) => {
                dismiss(guard.take());
                return Err(LaunchError::Spawn("sh".to_owned(), error));
            }
        };
        tell(guard.as_mut(), &format!("{}\n", starter.id()));
        let driven = Self {
            starter,
            guard,
            cleanup: Mutex::new(cleanup),
            place: place.clone(),
            alive: spec.alive.clone(),
        };
        match await_zombie(driven.starter.id(), Instant::now() + bound) {
            Some(0) => Ok(driven),
            Some(code) => {
                output.settle();
                Err(LaunchError::StartFailed {
                    how: format!("exited with {code}"),
                    output: output.all(),
                })
            }
            None => Err(LaunchError::StartHangs {
                waited: bound,
                output: output.all(),
            }),
        }
    }

    /// Makes an end of it at once: the cleanup, and whatever the start command left in its group.
    pub(crate) fn kill(&self) {
        let mut cleanup = self.cleanup.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = cleanup.take() {
            shell::succeeds(shell::command(&line, &self.place, None), CLEANUP_BOUND);
        }
        kin::end(&self.starter);
    }
}

impl Drop for Driven {
    /// On every way out. What was started late, or by a start command that failed, is cleaned up too.
    fn drop(&mut self) {
        self.kill();
        kin::reap(&mut self.starter);
        dismiss(self.guard.take());
    }
}

/// A guard that is gone has nobody to tell.
fn tell(guard: Option<&mut Child>, word: &str) {
    if let Some(stdin) = guard.and_then(|guard| guard.stdin.as_mut()) {
        let _ = stdin.write_all(word.as_bytes());
    }
}

/// There is nothing to clean up any more.
fn dismiss(mut guard: Option<Child>) {
    tell(guard.as_mut(), "done\n");
    if let Some(mut guard) = guard {
        drop(guard.stdin.take());
        let _ = guard.wait();
    }
}

/// A shell that outlives us: Ctrl-C and even SIGKILL find somebody who cleans up.
fn guard(cleanup: &str, place: &Place) -> std::io::Result<Child> {
    Command::new("sh")
        .args(["-c", GUARD])
        .envs(place.environment())
        .env("CLEANUP", cleanup)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::options::TargetSpec;

    #[test]
    fn whoever_goes_before_anything_was_started_is_cleaned_up_after_too() {
        let place = Place::choose(&TargetSpec::default()).unwrap();
        let mut alone = guard("exit 7", &place).unwrap();
        drop(alone.stdin.take());
        assert_eq!(alone.wait().unwrap().code(), Some(7), "it cleaned up");
        let mut told = guard("exit 7", &place).unwrap();
        tell(Some(&mut told), "done\n");
        assert_eq!(told.wait().unwrap().code(), Some(0), "it had nothing to do");
    }

    #[test]
    fn the_group_goes_before_the_cleanup_whatever_that_does() {
        let place = Place::choose(&TargetSpec::default()).unwrap();
        let mut left = Command::new("sleep")
            .arg("600")
            .process_group(0)
            .spawn()
            .unwrap();
        let id = left.id();
        // Ends the shell that runs it: whatever came after it would not come.
        let mut guard = guard("exit 7", &place).unwrap();
        tell(Some(&mut guard), &format!("{id}\n"));
        drop(guard.stdin.take());
        let cleaned = guard.wait().unwrap();
        let ended = await_zombie(id, Instant::now() + Duration::from_secs(30));
        let _ = left.kill();
        assert_eq!(left.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(ended, Some(128 + libc::SIGKILL), "it was spared");
        assert_eq!(cleaned.code(), Some(7), "it was not run");
    }
}
