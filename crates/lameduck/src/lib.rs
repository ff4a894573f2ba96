#![doc = include_str!("manual/crate.md")]

pub mod machine;
mod vocab;

pub use vocab::*;
