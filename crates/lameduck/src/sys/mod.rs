//! The operating system as safe functions.
//!
//! Owns every `unsafe` call into libc that the signal and process edges and the driver need, and nothing that decides:
//! no function here knows what a phase or a deadline of the lifecycle is. What is the same on every POSIX system stands
//! in [`fd`], [`mask`] and [`process`]; what is not stands twice, with the same function set, in `linux` and
//! `portable`. `--cfg lameduck_portable` selects the second one on Linux too, so that it is compiled and tested.

mod fd;
#[cfg(all(target_os = "linux", not(lameduck_portable)))]
mod linux;
mod mask;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
mod portable;
mod process;

#[cfg(all(target_os = "linux", not(lameduck_portable)))]
use linux as os;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
use portable as os;

pub(crate) use fd::{poll2, read, write_all, write_once};
pub(crate) use mask::{block, current_mask, unblock};
pub(crate) use os::{own_facts, pipe, process_facts, since_boot};
pub(crate) use process::{
    exists, exit_now, getpid, getppid, handler_of, is_ignored, is_pid1, kill_self, raise,
    reset_default,
};

use std::time::Duration;

/// What the system tells about another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessFacts {
    /// The command name, as raw bytes: any process may put anything but a NUL into its own.
    pub(crate) comm: Vec<u8>,
    /// When it started, on the clock of [`since_boot`], rounded down to a clock tick (10 ms).
    pub(crate) started_at: Duration,
}

/// What the system tells about this process, as far as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnFacts {
    /// Resident memory in bytes.
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_files: Option<u64>,
}
