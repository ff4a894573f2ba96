//! Drives the machine: one plain thread that owns it, waits, executes effects, publishes the phase.
//!
//! The driver knows neither signals' dispositions nor how a process ends; edges hand it a [`Signals`] and a
//! [`LastWords`]. It is the only place that ends the process, and only where the
//! lifecycle was given the process: never for an embedded one.
//!
//! `thread.rs` is the loop, `execute.rs` does the effects, `shared.rs` is what handles see, `status.rs` what people
//! are told, `holds.rs` its one sentence, `observe.rs` tells whoever observes, `sim.rs` is the same machine under virtual time.

mod budgets;
mod commands;
mod commons;
mod epilogue;
mod execute;
mod facts;
mod figures;
mod grants;
mod health;
mod holds;
mod last;
mod ledger;
mod observe;
mod quit;
mod rehearse;
mod reload;
mod seats;
mod shared;
pub mod sim;
mod status;
mod supervisor;
mod tally;
mod thread;
mod traffic;
mod turns;

pub(crate) use budgets::Budgets;
pub(crate) use epilogue::Speaker;
pub(crate) use facts::Facts;
pub use figures::{Figures, Latency, ParticipantFigures, PhaseFigures, SignalFigures};
pub(crate) use grants::Grants;
pub(crate) use last::{Arrival, DumpCause, LastWords, Signals, Then};
pub use observe::{Observer, Recent};
pub(crate) use seats::{HookRun, Seat, Waited};
pub use shared::Inflight;
pub(crate) use shared::Shared;
pub use status::Status;
pub(crate) use supervisor::Supervisor;
#[cfg(feature = "systemd")]
pub(crate) use supervisor::Word;
pub use tally::{Count, Tally};
pub(crate) use thread::{Authority, Driver};
pub(crate) use turns::{Cancelling, Wished};
