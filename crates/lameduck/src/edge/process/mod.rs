//! The process edge: last words, what start-up should warn about, and children with a clean mask.
//!
//! Owns writes that must never hold the exit up ([`BoundedWriter`]) the look at our parent, and [`Command`].
//! Does not own the exit itself: dying by a signal is `edge::signal`'s, the decision is the driver's.

mod command;
mod last_words;
mod parent;
mod writer;

pub use command::{Child, Command, Stdio};
pub(crate) use last_words::has_termination_log;
pub(crate) use parent::shell_above_us;
pub(crate) use writer::BoundedWriter;
