//! What a member writes down: one line for each thing that happened to it, with its time, so that a killed member's lines count too.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a member writes.
#[derive(Debug)]
pub(crate) struct Diary(File);

impl Diary {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self(file))
    }

    /// One write(2), so that no line is torn.
    pub(crate) fn write(&self, what: &str) {
        let line = format!("{} {what}\n", now().as_nanos());
        // A diary that cannot be written shows when it is read: what must stand in it is missing.
        let _ = (&self.0).write_all(line.as_bytes());
    }
}

/// The time of one machine, for all of its processes.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) what: String,
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path)?;
    let entries = text.lines().filter_map(|line| {
        let (at, what) = line.split_once(' ')?;
        Some(Entry {
            at: Duration::from_nanos(at.parse().ok()?),
            what: what.to_owned(),
        })
    });
    Ok(entries.collect())
}
