//! What `/proc` tells of the sender besides its name: executable, home, arguments. Bounded reads, soon after the signal.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    time::Duration,
};

use super::{home::Home, secrets::masked};
use crate::sys;

/// The most that is read of a file of `/proc`: a page, as much as the kernel gives at once.
const MOST_BYTES: u64 = 4_096;
/// How many arguments are kept, and how much of each.
const MOST_ARGUMENTS: usize = 32;
const MOST_OF_ARGUMENT: usize = 256;

/// Facts of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its executable, as `/proc/<pid>/exe` names it.
    pub(super) exe: Option<String>,
    /// Its home.
    pub(super) home: Option<Home>,
    /// Its arguments, secrets masked; only when they were asked for.
    pub(super) argv: Option<Vec<String>>,
    /// What could not be found out, and why, as a sentence without a full stop.
    pub(super) unknown: Option<String>,
}

/// Whether arguments are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argv {
    Left,
    Read,
}

impl Facts {
    /// Nothing is known, because of this.
    pub(super) fn unknown(why: &str) -> Self {
        Self {
            unknown: Some(why.to_owned()),
            ..Self::default()
        }
    }

    /// Reads the facts of a process that sent a signal at `sent_at` (on the clock of [`sys::since_boot`]).
    ///
    /// What is read of a process that has exited meanwhile, or whose number has gone to another one, is not used.
    pub(super) fn of(pid: u32, sent_at: Duration, argv: Argv) -> Self {
        let mut facts = Self::default();
        let exe = fs::read_link(format!("/proc/{pid}/exe"));
        let home = read(pid, "cgroup");
        let arguments = match argv {
            Argv::Left => None,
            Argv::Read => read(pid, "cmdline").ok(),
        };
        // Last: what was read before belongs to whoever has the number now.
        match sys::process_facts(pid) {
            Ok(now) if now.started_at > sent_at => {
                return Self::unknown(
                    "pid reused: the process with that number started after the signal",
                );
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::unknown(
                    "sender exited before its executable and cgroup could be read",
                );
            }
            Err(error) => return Self::unknown(&format!("/proc cannot be read: {error}")),
        }
        match exe {
            Ok(exe) => facts.exe = Some(printable(&exe.to_string_lossy())),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                facts.unknown = Some(
                    "its executable may not be read: it runs as another user (ptrace(2), access mode checking)"
                        .to_owned(),
                );
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                facts.unknown = Some(
                    "it was exiting when it was looked at: it has no executable any more"
                        .to_owned(),
                );
            }
            Err(error) => facts.unknown = Some(format!("its executable cannot be read: {error}")),
        }
        facts.home = home.ok().and_then(|text| {
            let text: String = text.lines().map(|line| printable(line) + "\n").collect();
            Home::read(&text)
        });
        facts.argv = arguments.map(|text| arguments_of(&text));
        facts
    }
}

fn read(pid: u32, name: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/{name}"))?
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The arguments of a command line in which each ends with a NUL, masked, then cut.
fn arguments_of(text: &str) -> Vec<String> {
    let whole: Vec<String> = text
        .trim_end_matches('\0')
        .split('\0')
        .map(printable)
        .collect();
    let more = whole.len().saturating_sub(MOST_ARGUMENTS);
    let mut kept: Vec<String> = masked(&whole)
        .into_iter()
        .take(MOST_ARGUMENTS)
        .map(
            |argument| match argument.char_indices().nth(MOST_OF_ARGUMENT) {
                Some((end, _)) => format!("{}…", &argument[..end]),
                None => argument,
            },
        )
        .collect();
    if more > 0 {
        kept.push(format!("… and {more} more"));
    }
    kept
}

/// A text that cannot forge a line of a log: whoever runs a program chooses its path and its arguments.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(target_os = "linux", not(lameduck_portable)))]
    #[test]
    fn our_own_facts_are_right() {
        let facts = Facts::of(sys::getpid(), sys::since_boot(), Argv::Read);
        let exe = std::env::current_exe().expect("it has a path");
        assert_eq!(facts.exe.as_deref(), exe.to_str());
        assert!(facts.home.is_some(), "{facts:?}");
        let own: Vec<String> = std::env::args().collect();
        assert_eq!(facts.argv.expect("asked for")[0], own[0]);
        let silent = Facts::of(sys::getpid(), sys::since_boot(), Argv::Left);
        assert_eq!(silent.argv, None);
    }

    #[cfg(all(target_os = "linux", not(lameduck_portable)))]
    #[test]
    fn a_process_that_started_later_is_not_the_sender() {
        let facts = Facts::of(sys::getpid(), Duration::ZERO, Argv::Read);
        assert_eq!(
            (&facts.exe, &facts.home, &facts.argv),
            (&None, &None, &None)
        );
        assert!(facts.unknown.expect("said").starts_with("pid reused"));
        // Above the kernel's largest pid (PID_MAX_LIMIT, 2^22).
        let gone = Facts::of(1 << 30, Duration::MAX, Argv::Left);
        assert!(gone.unknown.expect("said").starts_with("sender exited"));
    }

    #[test]
    fn arguments_are_bounded_and_cannot_forge_a_line() {
        let long = "x".repeat(1_000);
        let text = format!("sh\0a\nb\0{long}\0{}", "y\0".repeat(40));
        let arguments = arguments_of(&text);
        assert_eq!(arguments[1], "a\u{fffd}b");
        assert_eq!(arguments[2].chars().count(), MOST_OF_ARGUMENT + 1);
        assert_eq!(arguments[MOST_ARGUMENTS], "… and 11 more");
        assert_eq!(arguments.len(), MOST_ARGUMENTS + 1);
    }
}
