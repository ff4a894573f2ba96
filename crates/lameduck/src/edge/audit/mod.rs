//! The audit edge: an append-only record of who stopped this process, what was made of it, and how it ended.
//!
//! Owns the schema `lameduck.audit/1`, what is found out about a sender beyond its name, and the file, stderr or journal
//! that it is written to. It is an observer of the lifecycle: nothing here stands between a signal and its phase. One
//! thread (`witness.rs`) finds out and formats, another (`writer.rs`) writes; both queues are bounded and count.

mod facts;
mod file;
mod home;
mod journal;
mod record;
mod secrets;
mod sink;
mod witness;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Weak,
};

use self::{facts::Argv, file::Rotation, sink::Sink};
use crate::driver::{Observer, Shared};

/// Where an audit is written, and what it holds.
///
/// One record (JSON, schema `lameduck.audit/1`) for every signal, change of phase, reload and end, for participants and
/// hooks that failed or were given up, and for what the drain's end cut. See [the manual](crate::manual::audit).
///
/// # Examples
/// ```
/// use lameduck::{Audit, Plan, Preset, Start};
/// let audit = Audit::file("/var/log/api/audit.jsonl").rotate(1 << 20, 7).with_argv();
/// let start = Start::from(Plan::preset(Preset::Local)).audit(audit);
/// # let _ = start;
/// assert!("journald".parse::<Audit>().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an audit begins with `Start::audit` or `Lifecycle::audit`"]
pub struct Audit {
    to: To,
    argv: Argv,
    rotation: Rotation,
    mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    File(PathBuf),
    Stderr,
    Journal(PathBuf),
}

impl Audit {
    /// Appends to a file, which is made with mode 0600 if it is not there.
    ///
    /// A symbolic link is refused, and so is another user's file. A file that cannot be opened or written is no reason
    /// not to serve: it is said once and tried again with every record, and what was lost is counted.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::to(To::File(path.into()))
    }

    /// Writes lines to stderr.
    pub fn stderr() -> Self {
        Self::to(To::Stderr)
    }

    /// Sends fields to systemd's journal, at `/run/systemd/journal/socket`.
    pub fn journald() -> Self {
        Self::journald_at(journal::SOCKET)
    }

    /// Sends fields to a journal whose socket is somewhere else, as in a container.
    pub fn journald_at(socket: impl AsRef<Path>) -> Self {
        Self::to(To::Journal(socket.as_ref().to_owned()))
    }

    fn to(to: To) -> Self {
        Self {
            to,
            argv: Argv::Left,
            rotation: Rotation::default(),
            mode: 0o600,
        }
    }

    /// Keeps the sender's arguments too, without the secrets that can be told by their names. They are not kept otherwise:
    /// a command line often carries what a log must not.
    pub const fn with_argv(mut self) -> Self {
        self.argv = Argv::Read;
        self
    }

    /// How large a file grows unless [`rotate`](Self::rotate) says otherwise: a record is some 500 bytes, 16 MiB are 30,000 of them.
    pub const ROTATE: u64 = 16 << 20;
    /// How many older files are kept unless [`rotate`](Self::rotate) says otherwise.
    pub const KEEP: u32 = 4;

    /// Begins a new file before one grows beyond `bytes` (4 KiB at least; 16 MiB unless set), and keeps that many old ones
    /// (1 at least; 4 unless set) as `FILE.1`, the youngest, to `FILE.N`.
    pub fn rotate(mut self, bytes: u64, keep: u32) -> Self {
        self.rotation = Rotation::new(bytes, keep);
        self
    }

    /// The mode of a file that is made, such as `0o640`, less the process' umask.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The audit as an observer, its writer begun.
    ///
    /// # Errors
    /// No thread or descriptor is left.
    pub(crate) fn observer(self, shared: Weak<Shared>) -> io::Result<impl Observer + use<>> {
        let place = self.to_string();
        let sink = match self.to {
            To::File(path) => Sink::file(path, self.mode, self.rotation),
            To::Stderr => Sink::stderr()?,
            To::Journal(socket) => Sink::journal(socket)?,
        };
        witness::Witness::begin(sink, place, self.argv, shared)
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            To::File(path) => path.display().fmt(f),
            To::Stderr => f.write_str("stderr"),
            To::Journal(socket) => write!(f, "the journal at {}", socket.display()),
        }
    }
}

/// A text names no place for an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAudit;

impl fmt::Display for NoAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no place for an audit: give a file, stderr, journald or journald:SOCKET")
    }
}

impl std::error::Error for NoAudit {}

impl FromStr for Audit {
    type Err = NoAudit;

    /// `stderr`, `journald`, `journald:SOCKET`, or the path of a file (`./stderr` for one of that name).
    fn from_str(text: &str) -> Result<Self, NoAudit> {
        match text {
            "" | "journald:" => Err(NoAudit),
            "stderr" => Ok(Self::stderr()),
            "journald" => Ok(Self::journald()),
            text => Ok(match text.strip_prefix("journald:") {
                Some(socket) => Self::journald_at(socket),
                None => Self::file(text),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        let rows = [
            ("stderr", Audit::stderr()),
            ("journald", Audit::journald()),
            ("journald:/host/socket", Audit::journald_at("/host/socket")),
            ("./stderr", Audit::file("./stderr")),
            ("/var/log/a.jsonl", Audit::file("/var/log/a.jsonl")),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert_eq!("".parse::<Audit>(), Err(NoAudit));
        assert_eq!("journald:".parse::<Audit>(), Err(NoAudit));
    }
}
