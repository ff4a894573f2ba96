//! The library's vocabulary of signals, compiled into the test.

#[path = "../../src/vocab/signal.rs"]
mod signal;

pub use signal::{Sender, SenderUnknown, Signal, SignalCode, SignalRecord};
