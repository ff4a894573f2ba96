//! Whether a client with open streams is still there.
//!
//! Owns the keep-alive PING (RFC 9113 §6.7): asked after silence, answered by any byte. Without open streams the idle limit does without it.

use std::task::{Context, Poll};
use std::time::Duration;

use ::h2::{Ping, PingPong};

/// The keep-alive of one connection.
pub(super) struct KeepAlive {
    pings: PingPong,
    /// Bytes received when last looked at.
    received: u64,
    /// Bytes delivered when last looked at; None if that was before the last byte came.
    delivered: Option<u64>,
    /// When either changed.
    heard_at: Duration,
    /// When the client was asked.
    asked_at: Option<Duration>,
}

/// What [`KeepAlive::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alive {
    /// Look again at this time.
    Until(Duration),
    /// A PING is to be written: poll the connection again.
    Asked,
    /// The client is gone without a word.
    Gone,
}

impl KeepAlive {
    pub(super) const fn new(pings: PingPong, now: Duration) -> Self {
        Self {
            pings,
            received: 0,
            delivered: None,
            heard_at: now,
            asked_at: None,
        }
    }

    /// `received` is the number of bytes that came from the client so far, `delivered` tells how many it has taken: a system call, which is spared
    /// as long as bytes come.
    pub(super) fn check(
        &mut self,
        received: u64,
        delivered: impl FnOnce() -> u64,
        now: Duration,
        (every, answer): (Duration, Duration),
        cx: &mut Context<'_>,
    ) -> Alive {
        let delivered = (received == self.received).then(delivered);
        let has_taken = self.delivered.is_some() && delivered.is_some();
        if delivered.is_none() || has_taken && delivered != self.delivered {
            self.heard_at = now;
            self.asked_at = None;
        }
        (self.received, self.delivered) = (received, delivered);
        if let Some(asked_at) = self.asked_at {
            let until = asked_at + answer;
            return if now < until {
                Alive::Until(until)
            } else {
                Alive::Gone
            };
        }
        let due = self.heard_at + every;
        if now < due {
            return Alive::Until(due);
        }
        // An answer that came late still stands in the way of the next question.
        while let Poll::Ready(Ok(_)) = self.pings.poll_pong(cx) {}
        self.asked_at = Some(now);
        // Refused when the last question was never answered, or the connection is over: silence decides then.
        let _ = self.pings.send_ping(Ping::opaque());
        Alive::Asked
    }
}
