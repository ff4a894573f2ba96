//! A group on one machine, over a Unix socket: one process keeps the book, each member's connection is its lease.
//!
//! The kernel tells the host at once when a member's process is gone. When the host is gone, members keep trying; the next host takes their
//! word for what they have, and lends nothing until they had time to come back. What a host decides is in `desk`, which is pure.

mod client;
mod desk;
mod host;
mod lines;
mod socket;
mod wire;

pub use client::UnixCarrier;
pub use host::SlotHost;

/// How many members a host takes.
const MOST_MEMBERS: usize = 4_096;
