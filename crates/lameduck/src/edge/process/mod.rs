//! The process edge: last words, and what start-up should warn about.
//!
//! Owns writes that must never hold the exit up ([`BoundedWriter`]) and the look at our parent.
//! Does not own the exit itself: dying by a signal is `edge::signal`'s, the decision is the driver's.

mod last_words;
mod parent;
mod writer;

pub(crate) use last_words::has_termination_log;
pub(crate) use parent::shell_above_us;
pub(crate) use writer::BoundedWriter;
