//! Leaving one after the other: a group of processes lends a few *slots*, and whoever wants to leave waits for one.
//!
//! Replicas that are told to stop at the same moment each drain without a loss, and together leave nobody who serves. In a group, a member
//! that wants to leave asks for a *turn*, waits in the order in which they asked, is lent a *slot*, leaves, and gives the slot back at the very
//! end. It waits with its own deadline in view: when the time is over it leaves without a slot, never late, whatever the group does.
//!
//! | you have | use |
//! |---|---|
//! | processes on one machine | [`UnixCarrier`], and one `lameduck slots` (or [`SlotHost`]) that keeps the book |
//! | many machines, and etcd | `EtcdCarrier` of the crate `lameduck-etcd` |
//! | something else that can keep a lease | [`Carrier`], implemented by you |
//!
//! [`Rules`] say how many may be unavailable at once, as a number or a percentage, of the whole group or of each zone. The [`Book`] decides who is
//! next; it is pure, and every carrier asks it.
//!
//! A lifecycle leaves in its turn with [`Lifecycle::leave_in_turn`](crate::Lifecycle::leave_in_turn); without one, ask [`Group::turn`] yourself.
//!
//! Owns the book, a member's task and the Unix carrier; not the lifecycle, whose termination waits for a turn elsewhere. What is promised,
//! and how it compares with a PodDisruptionBudget: [the manual's page](crate::manual::group).

mod book;
mod carrier;
mod driver;
mod handle;
mod identity;
mod rules;
mod state;
mod unix;
mod work;

pub use book::{Book, Standing};
pub use carrier::{
    Borne, Carrier, CarrierError, Claim, Heard, Link, PUBLISHED_AT_ONCE, Whose, Word,
};
pub use handle::{Group, Slot, Turn};
pub use identity::{Identity, IdentityError, MemberId};
pub use rules::{Rules, RulesError, Share};
pub use unix::{SlotHost, UnixCarrier};
pub use work::{HandedOver, NotTaken, Offer};
