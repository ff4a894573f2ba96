//! Signals.
#![cfg(feature = "signals")]
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the edges are compiled in whole, and used in part"
)]

#[path = "support/edge.rs"]
mod edge;
#[path = "../src/sys/mod.rs"]
mod sys;
#[path = "support/vocab.rs"]
mod vocab;
