//! The operating system as safe functions.
//!
//! Owns every `unsafe` call into libc that the signal and process edges and the driver need, and nothing that decides:
//! no function here knows what a phase or a deadline of the lifecycle is. What is the same on every POSIX system stands
//! in [`fd`], [`mask`], [`process`], [`signo`] and [`spawn`]; what is not stands twice, with the same function set, in `linux` and
//! `portable`. `--cfg lameduck_portable` selects the second one on Linux too, so that it is compiled and tested.

mod fd;
#[cfg(all(target_os = "linux", not(lameduck_portable)))]
mod linux;
mod mask;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
mod portable;
mod process;
mod signo;
mod spawn;

#[cfg(all(target_os = "linux", not(lameduck_portable)))]
use linux as os;
#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
use portable as os;

pub(crate) use fd::{lock_now, poll_once, poll2, read, write_all, write_once};
pub(crate) use mask::{block, current_mask, unblock};
pub(crate) use os::{pipe, process_facts, read_signalfd, signalfd, since_boot, thread_masks};
pub(crate) use process::{
    effective_uid, exists, exit_now, getpid, getppid, handler_of, is_ignored, is_pid1, kill_self,
    raise, reset_default,
};
pub use signo::{Signo, SignoError};
pub(crate) use signo::{Signos, number_of};
pub(crate) use spawn::{Plan as SpawnPlan, Wait, kill, spawn, wait_for};

use std::time::Duration;

/// What the system tells about another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessFacts {
    /// The command name, as raw bytes: any process may put anything but a NUL into its own.
    pub(crate) comm: Vec<u8>,
    /// When it started, on the clock of [`since_boot`], rounded down to a clock tick (10 ms).
    pub(crate) started_at: Duration,
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
