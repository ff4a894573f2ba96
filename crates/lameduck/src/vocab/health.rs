//! How the process is doing: what it holds, and what it is at work on. Data.

use core::time::Duration;

use super::Phase;

/// A process at one instant. What the system does not tell is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Health {
    /// The phase.
    pub phase: Phase,
    /// Time since the lifecycle began.
    pub uptime: Duration,
    /// Resident memory in bytes (`rss` of proc(5), to a page and to what the kernel batches), at most a second old.
    pub resident_bytes: Option<u64>,
    /// Threads, at most a second old.
    pub threads: Option<u64>,
    /// Open file descriptors (the size of `/proc/self/fd`, since Linux 6.2), at most a second old.
    pub open_files: Option<u64>,
    /// Tasks of the runtime that have not ended; where a runtime was asked.
    pub tasks: Option<u64>,
    /// Connections that are open and counted, at most a tenth of a second ago.
    pub connections: u64,
    /// Guards that are held, or were a tenth of a second ago.
    pub guards: u64,
}
