#![doc = include_str!("manual/crate.md")]

mod attempt;
mod breaker;
mod breakers;
mod circuit;
mod clock;
mod course;
#[cfg(feature = "lameduck")]
mod home;
#[cfg(feature = "tower")]
mod layer;
#[cfg(all(test, loom))]
mod loom_tests;
pub mod manual;
#[cfg(all(test, not(loom)))]
mod model_tests;
mod panel;
mod rules;
mod settings;
mod sync;
mod transition;
mod verdict;
mod window;

pub use attempt::{Attempt, CallError};
pub use breaker::Breaker;
pub use breakers::{Beyond, Breakers, BreakersBuilder};
#[cfg(feature = "http")]
pub use layer::{
    BreakBody, BreakRequests, BreakRequestsFuture, BreakRequestsService, HttpOutcome, Until,
};
#[cfg(feature = "tower")]
pub use layer::{
    BreakCalls, BreakCallsFuture, BreakCallsService, By, Choose, Classify, ErrorsFail,
};
pub use panel::{Group, Panel, TableFigures};
pub use rules::Counts;
pub use settings::{Settings, SettingsError};
pub use transition::{Figures, Label, Rejected, State, Transition, Why};
pub use verdict::Verdict;
