//! Starts the target as a child process, waits until it is ready, signals it, sees it exit, and leaves nothing behind.
//! Not: clients, or judging.

mod ask;
mod child;
mod error;
mod place;

pub(crate) use ask::{Answer, ask};
pub(crate) use child::{Exit, Running, launch};
pub use error::{LaunchError, VerifyError};
pub(crate) use place::{Place, Url};
