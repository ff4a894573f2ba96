//! The negotiation of a shutdown between processes, `lameduck.negotiation/1`: messages, and both sides of a session.
//!
//! It owns the words and the rules, and no carrier: whoever carries messages reads them here, writes them here, and asks
//! here what they mean. The coordinator is the [machine](crate::machine); a [`Ledger`] keeps what it must know of one
//! session. The participant's side is a [`Follower`], for participants written in Rust; others find the rules, the state
//! diagram and the JSON Schema under `docs/protocol`.
//!
//! The network may lose, repeat, delay and reorder messages, participants may crash and come back, the coordinator may
//! crash. What holds all the same, and how it is shown, is in `docs/protocol/negotiation.md`, rules N-1 to N-10. Clocks are
//! never compared: durations travel.

mod follower;
mod ledger;
mod malformed;
mod message;
mod parse;
#[cfg(test)]
mod tests;
mod write;

use alloc::string::{String, ToString};

pub use follower::{Event, Follower};
pub use ledger::{Heard, Ledger};
pub use malformed::Malformed;
pub use message::{End, FromParticipant, ToParticipant};

use crate::vocab::{Cause, Progress, cut};

/// The protocol's name and version.
pub const PROTOCOL: &str = "lameduck.negotiation/1";

/// The version of the protocol that a `hello` bears.
pub const VERSION: u8 = 1;

/// How many bytes a message may have.
pub const MOST_BYTES: usize = 16 * 1024;

/// A cause for people, as long as a message bears it.
fn words(cause: &Cause) -> String {
    cut(cause.to_string(), Progress::NOTE)
}
