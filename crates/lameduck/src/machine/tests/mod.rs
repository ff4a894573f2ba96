//! Tests of the machine: every interleaving of a small world, random ones of a large world, and what has no phase.
//!
//! `model.rs` searches exhaustively, `properties.rs` draws at random. Stories that people read are in `tests/scripts.rs`.

mod model;
mod properties;
