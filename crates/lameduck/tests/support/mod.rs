//! What the tests of signals share: children, and what they can be told.

pub mod beside_tokio;
pub mod child;
pub mod namespace;
pub mod orders;
pub mod terminal;
