//! Why a channel was not opened.

use core::fmt;
use std::error::Error;
use std::io;

use crate::edge::signal::claims::{Conflict, Taker};
use crate::sys::Signo;

/// Why a channel was not opened; nothing of it stays behind.
#[derive(Debug)]
pub struct ChannelError {
    why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    NoSignals,
    Descriptor(io::Error),
    Handler(Signo, io::Error),
    Held(Conflict),
    /// A thread does not block it.
    Unblocked {
        signo: Signo,
        thread: u32,
        name: String,
        is_this: bool,
    },
    HasHandler(Signo),
    Unsure(io::Error),
    SignalFd(io::Error),
    #[allow(dead_code, reason = "only the feature tokio has a runtime to miss")]
    Runtime(io::Error),
}

impl ChannelError {
    pub(super) const fn new(why: Why) -> Self {
        Self { why }
    }

    /// No runtime to wait with.
    #[cfg(feature = "tokio")]
    pub(crate) const fn runtime(source: io::Error) -> Self {
        Self::new(Why::Runtime(source))
    }

    /// No descriptors.
    pub(crate) const fn descriptor(source: io::Error) -> Self {
        Self::new(Why::Descriptor(source))
    }

    /// The signal that stands in the way, where it is one.
    #[must_use]
    pub const fn signal(&self) -> Option<Signo> {
        match &self.why {
            Why::Handler(signo, _)
            | Why::HasHandler(signo)
            | Why::Unblocked { signo, .. }
            | Why::Held(Conflict { signo, .. }) => Some(*signo),
            Why::NoSignals
            | Why::Descriptor(_)
            | Why::Unsure(_)
            | Why::SignalFd(_)
            | Why::Runtime(_) => None,
        }
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::NoSignals => f.write_str("a channel of no signals would wait for ever: name one"),
            Why::Descriptor(_) => f.write_str("cannot create the channel's pipe"),
            Why::Handler(signo, _) => write!(f, "cannot install a handler for {signo}"),
            Why::Held(Conflict { signo, holder }) => {
                let (holder, hint) = match holder {
                    Taker::Lifecycle => (
                        "the lifecycle takes it, on a thread that has it unblocked",
                        "start the lifecycle without it, or open the channel without signalfd",
                    ),
                    Taker::Channel => (
                        "another channel takes it with a handler, which would never run again",
                        "close that one first, or open this one without signalfd too",
                    ),
                    Taker::SignalFd => (
                        "a signalfd channel takes it and shares it with nobody",
                        "close that one first, or open both without signalfd",
                    ),
                };
                write!(f, "{signo} cannot be taken: {holder}; {hint}")
            }
            Why::Unblocked {
                signo,
                thread,
                name,
                is_this,
            } => {
                let which = if *is_this { "this thread" } else { "a thread that runs already" };
                write!(
                    f,
                    "a signalfd for {signo} is not safe: {which} ({thread}, {name}) does not block it and would die of it; \
                     call `signals::block` in the first line of main, before any thread (and any runtime) is started"
                )
            }
            Why::HasHandler(signo) => write!(
                f,
                "a signalfd for {signo} is not safe: another library has a handler for it (tokio::signal, signal-hook, or C \
                 code), which would never run again; open the channel without signalfd"
            ),
            Why::Unsure(_) => f.write_str(
                "a signalfd may not be safe: /proc/self/task does not say what the threads block; open the channel without \
                 signalfd",
            ),
            Why::SignalFd(_) => f.write_str("cannot create a signalfd; open the channel without"),
            Why::Runtime(_) => {
                f.write_str("cannot wait on this runtime: call it inside a tokio runtime with `enable_io`")
            }
        }?;
        match self.source() {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for ChannelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Why::Descriptor(error)
            | Why::Handler(_, error)
            | Why::Unsure(error)
            | Why::SignalFd(error)
            | Why::Runtime(error) => Some(error),
            Why::NoSignals | Why::Held(_) | Why::Unblocked { .. } | Why::HasHandler(_) => None,
        }
    }
}

impl From<Conflict> for ChannelError {
    fn from(conflict: Conflict) -> Self {
        Self::new(Why::Held(conflict))
    }
}
