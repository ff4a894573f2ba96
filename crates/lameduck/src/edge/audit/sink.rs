//! Where records go: a file, stderr, or the journal.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    file::{AppendFile, Rotation},
    journal::Journal,
    record::Record,
};
use crate::sys;

/// How long a record waits for room in a pipe that does not block.
const ROOM: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Sink {
    File(AppendFile),
    Stderr(OwnedFd),
    Journal(Journal),
}

impl Sink {
    pub(super) const fn file(path: PathBuf, mode: u32, rotation: Rotation) -> Self {
        Self::File(AppendFile::new(path, mode, rotation))
    }

    pub(super) fn stderr() -> io::Result<Self> {
        Ok(Self::Stderr(io::stderr().as_fd().try_clone_to_owned()?))
    }

    pub(super) fn journal(socket: PathBuf) -> io::Result<Self> {
        Journal::new(socket).map(Self::Journal)
    }

    /// Writes one record, with how many were lost before it.
    ///
    /// # Errors
    /// What the system says. The record is lost then.
    pub(super) fn write(&mut self, record: &Record, dropped: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.append(&line(record, dropped)),
            Self::Stderr(stderr) => sys::write_all(
                stderr.as_fd(),
                line(record, dropped).as_bytes(),
                Instant::now() + ROOM,
            ),
            Self::Journal(journal) => journal.send(record, dropped),
        }
    }

    /// Why a file grows beyond what was asked for, once.
    pub(super) fn take_stuck(&mut self) -> Option<io::Error> {
        match self {
            Self::File(file) => file.take_stuck(),
            Self::Stderr(_) | Self::Journal(_) => None,
        }
    }

    /// Brings what was written to the disk, where there is one.
    ///
    /// # Errors
    /// What fdatasync(2) reports.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync(),
            Self::Stderr(_) | Self::Journal(_) => Ok(()),
        }
    }
}

fn line(record: &Record, dropped: u64) -> String {
    let mut line = record.json(dropped);
    line.push('\n');
    line
}
