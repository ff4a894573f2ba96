//! What is lent out and must come back: connections of a pool, clients with idle connections of their own.
//!
//! A database pool, or an HTTP client, is shared by everything that serves. At the end it has to be emptied in an order: nothing more is
//! lent, what is idle is closed, what is lent is waited for, and then somebody has to look whether it is really empty, because pools say
//! "closed" with connections still out. [`Enrol::drains`](crate::Enrol::drains) makes a participant of that, and names what leaked.
//!
//! | you have | use |
//! |---|---|
//! | a pool that can be closed and counts (sqlx, deadpool) | [`Lending`]: a closure for each step |
//! | a pool that can't stop lending (bb8, r2d2), or leaks to be named by line | [`Gate`] before it |
//! | an HTTP client that can't close its idle connections (reqwest, hyper-util's legacy client) | [`Swap`] |
//! | something else | [`Pool`], implemented by you |
//!
//! Owns the steps, the counting of what is lent, and the gate; not the participant, which is in `lifecycle`. It names no pool: closures do.
//! What is to be known about each of them: [the manual's page](crate::manual::lending).

mod calls;
mod emptying;
mod gate;
mod ledger;
mod pool;
mod steps;
mod swap;
mod turn;

use calls::Call;
pub(crate) use calls::Panicked;
pub(crate) use emptying::empty;
pub use gate::{Gate, LendError};
pub use ledger::{Closed, Lease, Lent};
pub use pool::{Counts, Pool};
pub use steps::Lending;
pub use swap::Swap;

use std::time::Duration;

/// The budget of a participant that [drains](crate::Enrol::drains) a pool, unless it was given one. Whatever uses the pool has ended
/// when it begins, so that what is lent then is leaked, or about to come back.
pub const BUDGET: Duration = Duration::from_secs(5);
