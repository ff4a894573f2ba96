//! The manual: long prose, page by page. No code of its own.

#[doc = include_str!("watching.md")]
pub mod watching {}

#[cfg(feature = "control")]
#[doc = include_str!("control.md")]
pub mod control {}

#[cfg(feature = "client")]
#[doc = include_str!("outgoing.md")]
pub mod outgoing {}
