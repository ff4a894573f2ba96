//! The manual: long prose, page by page. No code of its own.

#[doc = include_str!("signals.md")]
pub mod signals {}

#[doc = include_str!("audit.md")]
pub mod audit {}

#[doc = include_str!("budgets.md")]
pub mod budgets {}

#[doc = include_str!("cancellation.md")]
pub mod cancellation {}

#[doc = include_str!("dumps.md")]
pub mod dumps {}

#[doc = include_str!("channels.md")]
pub mod channels {}

#[cfg(feature = "tokio")]
#[doc = include_str!("lending.md")]
pub mod lending {}

#[cfg(feature = "group")]
#[doc = include_str!("group.md")]
pub mod group {}
