//! Counts for people: how connections and requests ended. Never for correctness.

use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident => $key:literal,)+) => {
        /// Something that is counted, as it stands under `counts` in the report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Count {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Count {
            const NAMES: &'static [&'static str] = &[$($key),+];

            /// Its name in the report.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $key,)+
                }
            }
        }
    };
}

counts! {
    /// Connections accepted.
    Accepted => "accepted",
    /// Connections accepted after the window had ended, by the sweep.
    Swept => "swept",
    /// Errors of accept(2), survived, and connections that the kernel or the runtime had no room for afterwards.
    AcceptError => "accept_errors",
    /// How often a listener paused because there were as many connections as allowed.
    OverLimit => "limit_pauses",
    /// Connections that ended because a request head took too long.
    HeadExpired => "head_expired",
    /// Keep-alive connections that ended because they were idle for too long.
    IdleExpired => "idle_expired",
    /// Transfers that ended because nothing moved for too long.
    StallExpired => "stall_expired",
    /// HTTP/2 clients that left the PING between the two GOAWAYs unanswered.
    PingExpired => "ping_expired",
    /// WebSockets that ended without their client's answer to a Close, or without a place for the Close, in time.
    WsExpired => "ws_expired",
    /// Upgraded connections that had ended, and that the application did not let go of in time.
    WsHeld => "ws_held",
    /// Requests that ended because their connection was older than allowed and its grace was over.
    AgeExpired => "age_expired",
    /// TLS handshakes that failed.
    HandshakeFailed => "handshake_failed",
    /// TLS handshakes that took too long.
    HandshakeExpired => "handshake_expired",
    /// HTTP/2 clients that sent too many frames without content.
    Flooded => "flooded",
    /// Closes that did not wait any longer for the peer.
    LingerExpired => "linger_expired",
    /// Connections without a byte that were closed at the end of the window.
    SilentClosed => "silent_closed",
    /// Idle keep-alive connections that were closed at the end of the window.
    IdleClosed => "idle_closed",
    /// Late requests refused with 503.
    LateRefused => "late_refused",
    /// Responses that were handed over whole after T.
    Served => "served_leaving",
    /// Requests that the drain deadline ended.
    RequestCut => "requests_cut",
    /// Connections on which bytes of a client came after we had ended our side: a request that crossed our FIN.
    LateBytes => "late_bytes",
    /// Responses that told their client to go elsewhere.
    Steered => "steered",
    /// Event streams and the like that were ended between two events when their connection was to go.
    StreamEnded => "streams_ended",
    /// Responses that a layer cut on purpose when their clients had part of them.
    Truncated => "truncated",
    /// Requests that a layer answered in the stead of a handler that was not done.
    FallbackGiven => "fallbacks",
    /// Connections ended by the drain deadline.
    Ended => "ended",
    /// Handlers that panicked.
    Panicked => "panicked",
    /// Request heads that were not HTTP.
    Malformed => "malformed",
}

/// The counts of one lifecycle.
#[derive(Debug)]
pub struct Tally {
    counts: Vec<AtomicU64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            counts: Count::NAMES.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Adds to a count.
    pub fn add(&self, count: Count, more: u64) {
        // Relaxed: a number for people; nothing is ordered by it.
        self.counts[count as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// A count so far.
    #[must_use]
    pub fn value(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// All of them, in the order of the names.
    pub(super) fn values(&self) -> Vec<u64> {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Count::NAMES
            .iter()
            .zip(&self.counts)
            .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
    }
}
