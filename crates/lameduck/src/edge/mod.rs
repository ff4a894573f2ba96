//! Edges: the only modules that touch the world. They never import each other; `lifecycle/start.rs` puts them together.

pub(crate) mod audit;
pub(crate) mod platform;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod signal;
