//! The manual: long prose, page by page. No code of its own.

#[doc = include_str!("choosing.md")]
pub mod choosing {}
