#![doc = include_str!("manual/crate.md")]

extern crate alloc;

#[cfg(feature = "signals")]
mod driver;
#[cfg(feature = "signals")]
mod edge;
pub mod inflight;
#[cfg(feature = "tokio")]
pub mod lending;
#[cfg(feature = "signals")]
mod lifecycle;
pub mod machine;
#[cfg(feature = "signals")]
pub mod manual;
pub mod negotiation;
#[cfg(feature = "signals")]
pub mod process;
#[cfg(feature = "signals")]
pub mod signals;
mod sync;
#[cfg(feature = "signals")]
mod sys;
mod vocab;
#[cfg(feature = "serde")]
pub mod wire;

#[cfg(feature = "signals")]
pub use driver::{
    Count, Figures, Inflight, Latency, Observer, ParticipantFigures, PhaseFigures, Recent,
    SignalFigures, Status, Tally, sim,
};
#[cfg(feature = "signals")]
pub use edge::dump;
#[cfg(feature = "profile")]
pub use edge::profile;
#[cfg(feature = "dump")]
pub use edge::signal::StackSignal;
#[cfg(feature = "tracing")]
pub use edge::trace::Tracing;
#[cfg(feature = "signals")]
pub use edge::{
    audit::{Audit, NoAudit},
    platform::{Detected, VARIABLES, parse_duration, parse_window},
    probe::{PROBE_PATHS, ProbeAnswer, is_health_check},
    signal::{SignalError, SignalSet, early},
};
#[cfg(feature = "signals")]
pub use lifecycle::*;
#[cfg(feature = "signals")]
pub use sys::eintr;
pub use vocab::*;
