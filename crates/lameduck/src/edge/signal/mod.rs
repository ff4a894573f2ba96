//! The signal edge: from a delivered signal to a record that says who asked.
//!
//! Owns every signal disposition and mask that lameduck changes (invariant 7): [`early()`], the registration, the pipe
//! between handler and driver, the sender look-up, channels for whoever wants signals too ([`channel`]), and [`die_by`]. Does not own what a signal *means*: merging,
//! escalation and phases are the machine's.
//!
//! The semantics, the mechanism and its limits: the manual page on signals (`manual/signals.md`).

mod blocked;
mod channel;
mod check;
mod claims;
mod die;
mod early;
mod error;
mod handler;
mod intake;
mod record;
mod sender;
mod set;

pub use blocked::{Blocked, block};
pub use channel::{ChannelError, Received, Value};
pub(crate) use channel::{Handlers, Ignored, More, Registration, SignalFd};
pub(crate) use check::check_channels;
pub(crate) use die::die_by;
pub use early::early;
pub use error::SignalError;
pub(crate) use intake::Intake;
pub(crate) use record::{Origin, RawSignal, sort_by_priority};
pub(crate) use sender::resolve;
pub use set::SignalSet;
