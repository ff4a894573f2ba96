//! Dumps: what every thread, task, request and participant of a process is doing, as text for people.
//!
//! Owns the order and the bounds of the text, the thread that writes it, and two views of the process that are asked for by name: where its
//! threads wait ([`waits`]) and what its heap holds ([`heap`]). Which signal asks for a dump, and that SIGQUIT ends the process, is decided
//! elsewhere. How to read one: the manual page on dumps (`manual/dumps.md`).
//!
//! # What it may touch
//!
//! The process may be wedged in any way. Nothing here waits for a lock of the program, of a runtime or of this crate: what is locked is said
//! to be. What is certain is written before what is doubtful: first what the lifecycle knows, then the bare addresses of all stacks, then
//! their names, for which files are read and much memory is used.
//!
//! # Bounds
//!
//! 4,096 threads with 96 frames each, 256 requests, 256 idle connections, 1,024 tasks, 1,024 participants, 8 MiB of text; 3 s for the stacks
//! and 100 ms for any one of them. What is left out is counted in the text.

mod facts;
mod heap;
#[cfg(feature = "dump")]
pub(crate) mod stacks;
mod syscalls;
mod text;
mod threads;
mod waits;
mod writer;

use std::io;
use std::sync::Arc;

pub use heap::{Heap, heap};
pub use waits::{NotSampled, WaitGroup, Waits, waits};
pub(crate) use writer::Dumper;

use self::text::Text;
use crate::driver::{DumpCause, Shared};

/// The most bytes of one dump.
const MOST_BYTES: usize = 8 << 20;

/// Writes a dump, part by part. Blocks: on `into`, on the threads that are asked (3 s at most), and on the files that have their names.
///
/// # Errors
///
/// What `into` reports; nothing more is written then.
pub(crate) fn write(
    shared: &Arc<Shared>,
    why: DumpCause,
    into: &mut dyn io::Write,
) -> io::Result<()> {
    let mut text = Text::new(into, MOST_BYTES);
    facts::write(&shared.dump_facts(), why, &mut text);
    text.flush()?;
    threads::write(&mut text)?;
    text.end()
}
