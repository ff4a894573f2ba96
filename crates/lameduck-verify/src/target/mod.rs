//! Starts the target (or finds it running), waits until it is ready, tells it to stop, sees it exit, and leaves nothing
//! behind that it started. Not: clients, or judging.

mod ask;
mod attached;
mod birth;
mod driven;
mod error;
mod keeper;
pub(crate) mod kin;
mod output;
mod place;
pub(crate) mod proc;
mod ready;
mod running;
mod scratch;
pub(crate) mod shell;
mod stop;
mod ward;

pub(crate) use ask::{Answer, ask};
pub use error::{LaunchError, VerifyError};
pub(crate) use output::Output;
pub(crate) use place::{Place, Url};
pub(crate) use running::{Ending, Exit, Ledger, Running, launch, launch_behind, spawn_behind};
pub(crate) use scratch::Scratch;
pub(crate) use ward::{NO_NAMESPACE, Ward};
