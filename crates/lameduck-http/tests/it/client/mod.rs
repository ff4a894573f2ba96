//! The client: over real sockets, against servers of the test's own that say what no server should, and against this crate's.

mod composable;
mod drain;
mod h2;
mod hops;
mod pool;
mod retry;
mod support;
#[cfg(feature = "tls")]
mod tls;
