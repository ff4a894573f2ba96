//! The history edge: what participants needed in earlier shutdowns, in a file, so that their budgets learn from it.
//!
//! Owns the schema `lameduck.history/1`, its file and the file's lock. What a budget becomes is decided by
//! [`learn`](crate::machine::learn). It is an observer of the lifecycle (`recorder.rs`): what it writes delays no phase, and the end only
//! inside the reserve. A history that cannot be used is said once, and budgets are what the program gave.

mod book;
mod file;
mod memory;
mod recorder;
#[cfg(test)]
mod tests;

use std::{
    env,
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use self::{book::Book, file::Place, memory::Memory, recorder::Recorder};
use crate::driver::{Budgets, Observer, Shared};

/// Where it is remembered what participants needed in earlier shutdowns: with it, budgets learn.
///
/// Without one a budget is what the program gave, in every shutdown: that is the default, because a shutdown whose length depends on
/// a file is harder to predict, and many services have no file that outlives them. With one, a participant that has a budget gets
/// [what follows from its history](crate::machine::learn): never less than its budget, 30 s at most, and never more than the drain has.
/// See [the manual](crate::manual::budgets).
///
/// A file belongs to one running instance, which locks it. One that cannot be locked, read or written is no reason not to serve: it is
/// said once, on stderr and in the report, and nothing is learned.
///
/// # Examples
/// ```
/// use lameduck::{History, Plan, Preset, Start};
/// let history = History::file("/var/lib/api/budgets.json");
/// let start = Start::from(Plan::preset(Preset::Kubernetes)).history(history);
/// # let _ = start;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a history is used by `Start::history` or `Lifecycle::history`"]
pub struct History {
    path: PathBuf,
}

impl History {
    /// This file; where it names a directory, the file in it that is named after the program.
    ///
    /// It is made with mode 0600. Beside it stand `FILE.lock`, which is locked for as long as the history is used, `FILE.new` while it
    /// is written, and at most three that could not be read, `FILE.broken.1` the youngest.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file of one instance among several that share a directory. What file names should not hold is escaped with `%`.
    pub fn in_directory(directory: impl Into<PathBuf>, instance: &str) -> Self {
        let mut path = directory.into();
        path.push(file_name(instance.as_bytes()));
        Self { path }
    }

    fn resolved(&self) -> PathBuf {
        if !self.path.is_dir() {
            return self.path.clone();
        }
        let program = env::args_os().next().map(PathBuf::from);
        let name = program.as_deref().and_then(Path::file_name);
        let name = name.unwrap_or(OsStr::new("lameduck"));
        self.path.join(file_name(name.as_encoded_bytes()))
    }

    /// Takes the file, and reads it; the third says what was wrong with the one that was there.
    ///
    /// # Errors
    /// Why nothing is learned.
    pub(crate) fn open(
        &self,
        drain_end: Duration,
        shared: Weak<Shared>,
    ) -> Result<(Arc<dyn Budgets>, impl Observer + use<>, Option<String>), Unusable> {
        let path = self.resolved();
        let unusable = |why| Unusable {
            path: path.clone(),
            why,
        };
        let place = Place::take(&path).map_err(unusable)?;
        let text = place.read().map_err(unusable)?;
        let (book, said) = match text.as_deref().map(Book::read) {
            None => (Book::default(), None),
            Some(Ok(book)) => (book, None),
            // Nothing of it is lost: whoever wrote it may come back.
            Some(Err(why)) if why.is_foreign() => return Err(unusable(io::Error::other(why))),
            Some(Err(why)) => {
                let aside = place.set_aside().map_err(unusable)?;
                let (path, aside) = (path.display(), aside.display());
                let said = format!(
                    "the history {path} {why}; it was set aside as {aside}, and budgets begin to learn anew"
                );
                (Book::default(), Some(said))
            }
        };
        let memory = Arc::new(Memory::new(book, drain_end));
        let recorder = Recorder::new(place, Arc::clone(&memory), shared);
        Ok((memory, recorder, said))
    }
}

/// The name of an instance's file: letters, digits and `-_.@` stand for themselves, but no dot first.
fn file_name(instance: &[u8]) -> String {
    let mut name = String::new();
    for byte in instance {
        let plain = match byte {
            b'.' => !name.is_empty(),
            byte => byte.is_ascii_alphanumeric() || b"-_@".contains(byte),
        };
        if plain {
            name.push(char::from(*byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    name.push_str(".json");
    name
}

/// Why a history is not used.
#[derive(Debug)]
pub(crate) struct Unusable {
    path: PathBuf,
    why: io::Error,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(
            f,
            "budgets do not learn, each is what the program gave: the history {path} cannot be used: {}",
            self.why
        )
    }
}
