//! Edges: the only modules that touch the world. They never import each other; `lifecycle/start.rs` puts them together.

pub(crate) mod audit;
pub mod dump;
pub(crate) mod history;
pub(crate) mod platform;
pub(crate) mod probe;
pub(crate) mod process;
#[cfg(feature = "profile")]
pub mod profile;
pub(crate) mod signal;
#[cfg(feature = "systemd")]
pub(crate) mod systemd;
#[cfg(feature = "tracing")]
pub(crate) mod trace;
