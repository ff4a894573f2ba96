//! What is in flight: who may still enter, how many are inside, who they are, and how they learn that it is time to go.
//!
//! | type | answers | hot path |
//! |---|---|---|
//! | [`Admission`], [`Pass`] | may this connection or job begin, and has the last one ended? | one `fetch_add`, one load |
//! | [`Token`], [`Fired`] | has that moment come? | one load |
//! | [`Cancellation`], [`Canceller`] | does anybody still wait for this work, and why not? | one load for each step up to the lifecycle |
//! | [`Requests`] | how many requests so far? (for people and for quiet, never for correctness) | one plain store |
//! | [`Slots`], [`Slot`] | who is it that still holds the exit? | a dozen plain stores |
//! | [`Tasks`], [`TaskEntry`] | what are the tasks doing that the program spawned through its lifecycle? | four plain stores a poll |
//! | [`Afterwards`] | what is to happen when this is over? | a lock for each that is added |
//!
//! Nothing here knows phases, clocks, sockets or a runtime: the driver decides, this module only counts and wakes.

mod admission;
mod afterwards;
#[cfg(all(test, not(loom)))]
mod bell;
mod cancellation;
#[cfg(all(test, loom))]
mod loom_tests;
mod requests;
mod shard;
mod slab;
mod slots;
mod tasks;
mod token;

pub use admission::{Admission, Closed, Pass};
pub use afterwards::{Afterwards, NotKept};
pub use cancellation::{Cancellation, Canceller, WhenCancelled};
pub use requests::Requests;
pub use slots::{ByProtocol, Census, Held, IdleView, Protocol, Slot, SlotView, Slots, Snapshot};
pub use tasks::{TaskEntry, TaskView, Tasks, TasksView};
#[cfg(feature = "signals")]
pub(crate) use token::Others;
pub use token::{Fired, Token};
