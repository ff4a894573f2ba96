//! A group's slots, lent by etcd: members on many machines that must not all leave at once, and workers that hand their partitions over.
//!
//! [`EtcdCarrier`] carries a [`Group`](lameduck::group::Group) of `lameduck`. What a group promises, and its rules, are told there; this
//! crate adds how etcd keeps it:
//!
//! - A member is a key under a lease that is kept alive. When the process is gone, or cut off for longer than the lease lasts (10 s unless set), the
//!   lease runs out, and everything that the member had is free.
//! - Members that wait are keys in the order of their creation, by etcd's own counter.
//! - A slot is lent by one transaction, which the waiting member makes itself. It is guarded by the revision of the group's *ledger*, a key that
//!   every lending writes. A member that has read something old cannot lend to itself: its transaction fails, and it reads on. So slots are never
//!   oversold, whatever anybody has read.
//! - Where the rules depend on how many members there are (a percentage, or a number that is expected), a lending is guarded by those that it
//!   counted, too, in its zone or the group: but by 100 at most. In a larger one a member beyond them (in the order of names) that dies while a
//!   lending is under way is counted as if it lived; the next lending counts it no more.
//! - Whatever a link writes is guarded by its own lease: what an earlier link of the member had under way comes to nothing. A link whose member's
//!   slot or place was taken away is over, and the member comes back with what it has: it leaves on, without a slot.
//! - Everybody watches, and nobody polls.
//! - When a node dies, or the leader changes, the link is made again, by whichever endpoint answers, with pauses that grow and are random in
//!   part. Slot and place are kept as long as the old lease lives.
//!
//! A member that is cut off keeps its own deadline, and leaves alone.
//!
//! # Examples
//! ```no_run
//! use lameduck::{Lifecycle, group::{Group, Identity, Rules, Share}};
//! use lameduck_etcd::EtcdCarrier;
//!
//! # fn join(life: &Lifecycle) -> Result<(), Box<dyn std::error::Error>> {
//! let rules = Rules::new(Share::percent(25)?).per_zone();
//! let etcd = EtcdCarrier::new(["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"], "shop", rules)?;
//! let group = Group::join(etcd, Identity::new("shop-7f9c")?.in_zone("eu-1")?);
//! life.leave_in_turn(group, None)?;
//! # Ok(()) }
//! ```
//!
//! # Keys
//!
//! Below `/lameduck/groups/NAME/`, for whoever looks with `etcdctl`:
//!
//! | key | value | lease |
//! |---|---|---|
//! | `ledger` | the rules; its revision guards every lending | none |
//! | `members/ID` | which process has the name, and its zone | the member's |
//! | `waiting/ID` | which of its wishes waits; its create revision is the ticket | the member's |
//! | `slots/ID` | `lent WISH`, or `alone` for a member that leaves without | the member's |
//! | `work/ID/NAME`, `taken/ID/NAME` | what a member hands over, and who has taken it | the leaving member's |
//!
//! With authentication a member needs to read and write that prefix.
//!
//! # Rules that change
//!
//! The rules stand in the ledger. A member that joins with others writes its own: the last deployment decides, for all.
//!
//! # Features and what it builds with
//!
//! `tls`: https endpoints, with ring. The messages of etcd are made by `protoc` when `etcd-client` is compiled: Debian's `protobuf-compiler` and
//! `libprotobuf-dev`.

mod carrier;
mod keys;
mod link;
mod mirror;

pub use carrier::EtcdCarrier;
/// How etcd is reached: user and password, TLS, times.
pub use etcd_client::ConnectOptions;
#[cfg(feature = "tls")]
pub use etcd_client::{Certificate, Identity as TlsIdentity, TlsOptions};
