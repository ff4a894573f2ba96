//! Parked connections: idle ones that are only a socket and a few facts, until their client says something.
//!
//! | module | owns |
//! |---|---|
//! | `still` | a connection without its task, its registration and its buffers |
//! | `table` | where they lie, in the order in which they are due |
//! | `heap` | that what is given back leaves the process, where that is wanted |
//! | `leaving` | their end, for many at a time |
//! | `lot` | who may lie there, and how one learns that a client has said something |
//!
//! A connection is parked by its own task, which ends with it, and taken up by a new one ([`super::host`]). Between the two nothing of it
//! is on the heap but what lies in the table, its session under TLS, and what it was introduced as: that is what makes it cheap, and what lets
//! thousands without TLS be closed without waking a task each.

pub(crate) mod heap;
mod leaving;
mod lot;
mod still;
mod table;

pub(crate) use self::leaving::{Leaving, Parting};
pub(crate) use self::lot::{Bell, Lot};
pub(crate) use self::still::{Aside, Held, Parked, Socket};
