//! Channels: signals for whoever wants them, beside the lifecycle's.
//!
//! [`Handlers`] is the default form: handlers that write to a pipe. [`SignalFd`] is the other: signals that stay blocked, read from
//! a signalfd(2). Both give [`Received`] through a descriptor. Who waits, in which order signals are handed over, and what ends a
//! channel is the handles' affair (`signals/`).

mod error;
mod handlers;
mod queue;
mod received;
mod signalfd;

pub use error::ChannelError;
pub(crate) use handlers::{Handlers, Ignored, Registration};
pub use received::{Received, Value};
pub(crate) use signalfd::SignalFd;
pub(super) use signalfd::unblocked;

/// What a read left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// Nothing, for now.
    Empty,
    /// Nothing, for ever.
    Ended,
}
