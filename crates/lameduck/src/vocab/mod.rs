//! Vocabulary: data that every layer speaks. No clocks, threads, sockets or environment here.

mod cancelled;
mod cause;
mod health;
pub(crate) mod json;
mod learned;
mod negotiated;
mod observed;
mod outcome;
mod phase;
mod plan;
mod preset;
pub(crate) mod read_json;
mod report;
pub(crate) mod report_json;
mod signal;
mod switch;
#[cfg(feature = "signals")]
pub(crate) mod time;

pub use cancelled::{Cancelled, Scope, Why};
pub use cause::Cause;
pub use health::Health;
pub use learned::{Learned, LearnedBy};
pub use negotiated::{Grant, Progress, Terms};
pub(crate) use negotiated::{MOST_FIGURE_NAME, MOST_FIGURES, cut};
pub use observed::{InflightCounts, News, Observed, Weight};
pub use outcome::{CutBy, Outcome};
pub use phase::Phase;
pub use plan::{Late, Plan, PlanError, Repeat, Window};
pub use preset::Preset;
pub use report::{
    Event, HookState, Hooked, Known, ListenerKind, ListenerReport, ParticipantReport,
    ParticipantState, PhaseReport, Report, SignalNote, SignalVerdict, Straggler, SynGate,
};
pub use signal::{Sender, SenderClass, SenderUnknown, Signal, SignalCode, SignalRecord};
pub use switch::Switch;
