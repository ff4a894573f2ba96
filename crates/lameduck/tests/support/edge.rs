//! The library's signal and process edges, compiled into the test: what is tested here is not public.

#[path = "../../src/edge/process/mod.rs"]
pub mod process;
#[path = "../../src/edge/signal/mod.rs"]
pub mod signal;
