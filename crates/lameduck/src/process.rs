//! Children with a clean mask of signals: what a program that blocks signals starts its children with.
//!
//! A mask of blocked signals survives fork(2) and execve(2). The standard library's `Command` leaves it as it is, so that a child of a
//! thread that blocks SIGTERM cannot be stopped by it; a `pre_exec` closure that clears the mask makes it fork instead of
//! posix_spawn(3), which with 2 GiB resident costs 146 ms instead of 3.8 ms. [`Command`] asks posix_spawn itself.
//!
//! Owns the names; the mechanism is the process edge's.

pub use crate::edge::process::{Child, Command, Stdio};
