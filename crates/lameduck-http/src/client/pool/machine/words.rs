//! What the machine is told, and what it says.

use std::time::Duration;

use crate::client::pool::counts::ClosedBy;

/// A connection, from before it is opened until its socket is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnId(pub(super) u64);

/// A request that waits for a connection. The older, the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId(pub(super) u64);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) connections: usize,
    pub(crate) per_host: usize,
    pub(crate) waiting: usize,
    /// Streams at a time on one connection, whatever its server allows.
    pub(crate) streams: usize,
    pub(crate) idle: Duration,
}

/// What connections may still do, by the phase of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Season {
    /// Running.
    Open,
    /// Terminating: nothing is opened in advance.
    Leaving,
    /// Draining: nothing idle is kept from before, and little from now on.
    Draining,
    /// Whoever used it is done.
    Over,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Any,
    /// One to be idle, in advance.
    Spare,
    /// One that has not been idle, after one that was turned out to be gone.
    Fresh,
}

/// What a request does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// It uses this connection.
    Use(ConnId),
    /// It opens this one.
    Open(ConnId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Now(Grant),
    Wait(WaiterId),
    /// There is one that is idle.
    Spare,
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many wait as may.
    Full,
    /// The client is over.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The waiter's turn.
    Grant(WaiterId, Grant),
    /// The waiter waits in vain: the client is over.
    Refuse(WaiterId),
    /// Let go of it; its socket closes when its last stream is over.
    Close(ConnId),
    /// Close its socket, now.
    Cut(ConnId),
}

/// In which condition a request gives a connection of HTTP/1.1 back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// For the next request.
    Again,
    /// For nothing, for this reason.
    Not(ClosedBy),
}
