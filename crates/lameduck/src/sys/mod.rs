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
#[cfg(all(
    feature = "dump",
    target_os = "linux",
    target_arch = "x86_64",
    not(lameduck_portable)
))]
mod modules;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
mod portable;
mod process;
#[cfg(all(
    feature = "dump",
    not(all(target_os = "linux", target_arch = "x86_64", not(lameduck_portable)))
))]
#[path = "no_snapshot.rs"]
pub(crate) mod snapshot;
#[cfg(all(
    feature = "dump",
    target_os = "linux",
    target_arch = "x86_64",
    not(lameduck_portable)
))]
pub(crate) mod snapshot;
#[cfg(all(target_os = "linux", not(lameduck_portable)))]
mod threads;

#[cfg(all(target_os = "linux", not(lameduck_portable)))]
use linux as os;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
use portable as os;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
use portable as threads;

pub(crate) use fd::{poll2, read, write_all, write_once};
#[cfg(all(target_os = "linux", target_env = "gnu", not(lameduck_portable)))]
pub(crate) use linux::heap_info;
pub(crate) use mask::{block, current_mask, unblock};
#[cfg(all(
    feature = "dump",
    target_os = "linux",
    target_arch = "x86_64",
    not(lameduck_portable)
))]
pub(crate) use modules::{Module, modules};
pub(crate) use os::{pipe, process_facts, since_boot};
pub(crate) use process::{
    exists, exit_now, getpid, getppid, handler_of, is_ignored, is_pid1, kill_self, limits, raise,
    reset_default,
};
#[cfg(feature = "dump")]
pub(crate) use process::{rtmax, rtmin, set_handler};
#[cfg(all(
    feature = "dump",
    target_os = "linux",
    target_arch = "x86_64",
    not(lameduck_portable)
))]
pub(crate) use threads::blocked_signals;
pub(crate) use threads::{thread_facts, thread_ids, tid};

use std::time::Duration;

/// What the system tells about another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessFacts {
    /// The command name, as raw bytes: any process may put anything but a NUL into its own.
    pub(crate) comm: Vec<u8>,
    /// When it started, on the clock of [`since_boot`], rounded down to a clock tick (10 ms).
    pub(crate) started_at: Duration,
}

/// What the kernel tells about a thread of ours; what it does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadFacts {
    /// The thread's name, at most 15 bytes.
    pub(crate) comm: String,
    /// The letter of proc(5): `R`unning, `S`leeping, `D` uninterruptible, …
    pub(crate) state: char,
    /// User and system time.
    pub(crate) cpu: Duration,
    /// The kernel function in which it sleeps; `0` when it does not.
    pub(crate) wchan: String,
    /// The number of the system call that it is in; -1 when it is in none.
    pub(crate) syscall: Option<i64>,
}
