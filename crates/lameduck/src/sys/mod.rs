//! The operating system as safe functions.
//!
//! Owns every `unsafe` call into libc that the signal and process edges and the driver need, and nothing that decides:
//! no function here knows what a phase or a deadline of the lifecycle is. What is the same on every POSIX system stands
//! in [`eintr`], [`fd`], [`mask`], [`process`], [`signo`] and [`spawn`]; what is not stands twice, with the same function set, in `linux` and
//! `portable`. `--cfg lameduck_portable` selects the second one on Linux too, so that it is compiled and tested.

pub mod eintr;
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
mod signo;
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
mod spawn;
#[cfg(all(target_os = "linux", not(lameduck_portable)))]
mod threads;
mod turn;

#[cfg(all(target_os = "linux", not(lameduck_portable)))]
use linux as os;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
use portable as os;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
use portable as threads;

pub(crate) use fd::{lock_now, poll_once, poll2, read, unlock, write_all, write_once};
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
pub(crate) use os::{
    own_facts, pipe, process_facts, read_signalfd, signalfd, since_boot, thread_masks,
};
pub(crate) use process::{
    effective_uid, exists, exit_now, getpid, getppid, handler_of, is_ignored, is_pid1, kill_self,
    limits, raise, reset_default,
};
#[cfg(feature = "dump")]
pub(crate) use process::{rtmax, rtmin, set_handler};
pub use signo::{Signo, SignoError};
pub(crate) use signo::{Signos, number_of};
pub(crate) use spawn::{Plan as SpawnPlan, Wait, kill, spawn, wait_for};
#[cfg(all(
    feature = "dump",
    target_os = "linux",
    target_arch = "x86_64",
    not(lameduck_portable)
))]
pub(crate) use threads::blocked_signals;
pub(crate) use threads::{thread_ids, thread_state, tid};
pub(crate) use turn::Turn;

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
pub(crate) struct ThreadState {
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

/// What the system tells about this process, as far as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnFacts {
    /// Resident memory in bytes.
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_files: Option<u64>,
}

/// A thread of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThreadFacts {
    pub(crate) id: u32,
    /// Its name, as raw bytes.
    pub(crate) name: Vec<u8>,
    /// The signals that it blocks.
    pub(crate) blocked: Signos,
}

/// How many signals one read of a signalfd takes.
pub(crate) const FD_BATCH: usize = 16;

/// A signal, as a signalfd tells it (signalfd(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdSignal {
    pub(crate) signo: i32,
    pub(crate) code: i32,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) overrun: u32,
    /// `ssi_ptr`, in which `ssi_int` lies where a C union has it.
    pub(crate) value: usize,
}
