//! The file of a history: locked by one process, and whole at every moment, whatever kills whoever writes it.
//!
//! A new text is written beside the file, brought to the disk and given the file's name by rename(2): who reads, or is started after a
//! power cut, finds the old one or the new one. The lock stands on a file of its own, because the history itself is another one after each
//! rename.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use super::book::MOST_BYTES;
use crate::sys::{self, eintr};

/// How many that could not be read are kept.
const BROKEN_KEPT: u32 = 3;

/// A history's file, locked.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Locked until this is dropped, or the process has ended.
    lock: File,
}

impl Place {
    /// Locks it, and finds out whether it can be written.
    ///
    /// # Errors
    /// What the system says; that another process has it; that something else has its name.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let lock = open(
            &beside(path, ".lock"),
            OpenOptions::new().create(true).write(true),
        )?;
        if !sys::lock_now(lock.as_fd())? {
            let why = "another process has it; give each instance a file of its own";
            return Err(io::Error::other(why));
        }
        // At the end nobody could be told in time: a directory that takes no files is found out now. A rest of a process that was killed
        // while it wrote goes with it.
        let new = beside(path, ".new");
        create(&new)?;
        fs::remove_file(&new)?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// What stands in it; `None` where there is none.
    ///
    /// # Errors
    /// What the system says. A text that is too long is read to one byte beyond the bound, and what is no text as what it looks like.
    pub(super) fn read(&self) -> io::Result<Option<String>> {
        let file = match open(&self.path, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Keeps one that cannot be used as `FILE.broken.1`, older ones under the next numbers, and forgets the oldest; returns its new name.
    ///
    /// # Errors
    /// What rename(2) says.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let broken = |number: u32| beside(&self.path, &format!(".broken.{number}"));
        for number in (1..BROKEN_KEPT).rev() {
            match fs::rename(broken(number), broken(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, broken(1))?;
        Ok(broken(1))
    }

    /// Puts this text in its place, all of it or nothing.
    ///
    /// # Errors
    /// What the system says. The old text stands there still, then.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        let new = beside(&self.path, ".new");
        let mut file = create(&new)?;
        let written = file
            .write_all(text.as_bytes())
            // Its bytes before its name: a power cut must not leave the name with nothing in it.
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, &self.path));
        if let Err(error) = written {
            // A disk that is full has no use for half a history.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        directory(&self.path)?.sync_all()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Closing it would do, if no child had just been forked: that one has it open, too, until it execs.
        sys::unlock(self.lock.as_fd());
    }
}

/// Makes a file. What has its name goes, and is not written to: it may be somebody else's, or have another name besides.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    eintr::create_new(path, 0o600)
}

/// Opens a file; no link, and nothing that belongs to somebody else or that would make a reader wait.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => io::Error::other("it is a symbolic link; name the file itself"),
            _ => error,
        })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if ![sys::effective_uid(), 0].contains(&found.uid()) {
        let why = format!("it belongs to another user (uid {})", found.uid());
        return Err(io::Error::other(why));
    }
    Ok(file)
}

fn directory(path: &Path) -> io::Result<File> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent),
        _ => File::open("."),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
