//! Signal channels: signals for whoever wants them, beside the lifecycle's and each other's.
//!
//! A [`Channel`] takes a set of its own and delivers whole records: which signal, how it was sent, by whom, with which value, when.
//! It has one reader, a bounded queue that counts what it drops, and an end: its scope, or the value's. Whoever else takes the
//! same signals, the lifecycle among them, gets them all the same.
//!
//! ```no_run
//! use lameduck::{Lifecycle, signals::{Channel, Signo}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let life = Lifecycle::from_env()?;
//! let mut channel = Channel::of([Signo::USR1, Signo::WINCH, Signo::real_time(1)?])
//!     .until(life.drain().closing())
//!     .open()?;
//! std::thread::spawn(move || {
//!     while let Some(one) = channel.recv() {
//!         println!("{one} from {}", one.sender());
//!     }
//! });
//! # Ok(()) }
//! ```
//!
//! Two forms, one type: [`open`](Opening::open) installs handlers, and is right unless you know better;
//! [`open_signalfd`](Opening::open_signalfd) reads a signalfd(2), which tells a program with several threads 30 %
//! sooner, and asks for a program that was written for it. How they compare, measured: the [manual](crate::manual::channels).
//!
//! This module owns who waits, in which order signals are handed over, and what ends a channel; handlers and masks are the signal
//! edge's.

#[cfg(feature = "tokio")]
mod asynchronous;
mod channel;
mod opening;
mod scope;
mod waiting;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncChannel;
pub use channel::{Channel, Disturbed, RecvError};
pub use opening::Opening;

pub use crate::edge::signal::{Blocked, ChannelError, Received, Value, block};
pub use crate::sys::{Signo, SignoError};
