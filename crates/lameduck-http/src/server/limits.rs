//! The limits of a listener and its connections, in one place.
//!
//! Owns the numbers and their defaults; who measures against them is [`super::conn`] (time) and [`super::accept`] (count).

use std::time::Duration;

/// What a client may cost: time, bytes and connections.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use lameduck_http::Limits;
///
/// let mut limits = Limits::default();
/// limits.idle = Duration::from_secs(620); // above the 600 s of a Google load balancer
/// assert_eq!(limits.head, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// From the first byte of a request head to its last: 10 s. Past it the client gets a 408 and the connection ends.
    pub head: Duration,
    /// The same after the lame-duck window ended: 5 s, and never past the drain deadline.
    pub head_draining: Duration,
    /// A TLS handshake, from the client's first byte to its end: 10 s. After the lame-duck window ended also not longer than
    /// `head_draining` from then on, and never past the drain deadline.
    pub handshake: Duration,
    /// How long a connection may stay open without a request: 75 s, above the 60 s after which an AWS ALB closes its side.
    pub idle: Duration,
    /// How long an HTTP/1.1 connection is idle before it is parked: 1 s; `None` is never. A parked connection gives back its task, its buffers and
    /// the state of HTTP, and gets them again with its client's next byte; under TLS its session stays. It is introduced to the application
    /// once, but has a new clone of it after each parking. Its limits go on; `idle` may be exceeded by a 64th of itself. What is given
    /// back reaches the allocator; [`trim_heap`](crate::Serve::trim_heap) hands it on to the system.
    pub park_after: Option<Duration>,
    /// How long a transfer may stand still (no byte read or acknowledged) while the service waits for the client: 30 s.
    pub stall: Duration,
    /// The same after the lame-duck window ended: 5 s, and never past the drain deadline.
    pub stall_draining: Duration,
    /// After the window's end, a connection that never said anything, or whose last response did not say `close`, is kept until
    /// it has been quiet for this long: 250 ms.
    pub settle: Duration,
    /// How long the peer of a closed connection may acknowledge nothing of what was sent: 2 s.
    pub linger: Duration,
    /// Bytes of a request head: 64 KiB; more is answered with 431.
    pub head_bytes: usize,
    /// Header fields of a request: 100; more are answered with 431.
    pub headers: usize,
    /// HTTP/2 streams at the same time on one connection (SETTINGS_MAX_CONCURRENT_STREAMS): 200; more are refused retry-safe.
    pub streams: u32,
    /// Bytes of an HTTP/2 frame's payload (SETTINGS_MAX_FRAME_SIZE): 16 KiB, the least that RFC 9113 allows; at most 16 MiB less one.
    pub frame_bytes: u32,
    /// HTTP/2 streams that a client may take back before the service has seen them: 20; past it the connection ends with ENHANCE_YOUR_CALM
    /// (CVE-2023-44487).
    pub unseen_resets: usize,
    /// HTTP/2 frames without content (PING, SETTINGS, PRIORITY, RST_STREAM, empty DATA, unknown ones) that a client may send at once: 1000; then
    /// a hundred a second, and one for each KiB that moves. Past it the connection ends with ENHANCE_YOUR_CALM (CVE-2019-9512, -9515, -9518).
    pub empty_frames: u32,
    /// Bytes that a client may send on one HTTP/2 stream before the service reads them: 256 KiB.
    pub stream_window: u32,
    /// The same for all streams of a connection together: 1 MiB.
    pub connection_window: u32,
    /// Bytes of a TCP connection that may wait in the kernel for their turn to be sent: 128 KiB (`TCP_NOTSENT_LOWAT`; Linux). The kernel's own limit
    /// is megabytes for each client that does not read, and what stands there can not be taken back when a response must be cut.
    pub unsent_bytes: u32,
    /// How long an HTTP/2 client with open streams may say nothing before it is asked with a PING: 60 s.
    pub ping_every: Duration,
    /// How long it may take to answer a PING, that of the GOAWAY pair too: 10 s; from T on not longer than `stall_draining`, and never past
    /// the drain deadline.
    pub ping_answer: Duration,
    /// How the kernel finds out about a TCP peer that is gone without a word, for requests and WebSockets that are silent for long: not at all.
    pub tcp_keep_alive: Option<TcpKeepAlive>,
    /// How long a WebSocket's client may take to answer a Close at the end, an application to say the farewell that it promised, and to let go of a
    /// connection that has ended: 5 s each, and never past the drain deadline.
    pub ws_close: Duration,
    /// How old a connection may become before its client is told to go elsewhere, as at a shutdown: no limit. Spread by a tenth
    /// in both directions, so that connections made together do not go together.
    pub age: Option<Duration>,
    /// What such a client's open requests may take from then on: no limit.
    pub age_grace: Option<Duration>,
    /// Connections at the same time. At the limit the listener stops accepting and the kernel's queue holds the rest. Default:
    /// 100 000, or what `RLIMIT_NOFILE` leaves after 64 descriptors for the service itself, whichever is less. 0 means 1: a
    /// listener that accepts nobody would hold its clients for ever.
    pub connections: usize,
}

/// TCP keep-alive (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the three options that the kernel has"
)]
pub struct TcpKeepAlive {
    /// Silence before the first probe, in whole seconds (`TCP_KEEPIDLE`).
    pub after: Duration,
    /// From probe to probe, in whole seconds (`TCP_KEEPINTVL`).
    pub every: Duration,
    /// Probes without an answer before the connection is given up (`TCP_KEEPCNT`).
    pub probes: u32,
}

const CONNECTIONS: usize = 100_000;
const RESERVED_DESCRIPTORS: usize = 64;

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            head_draining: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            park_after: Some(Duration::from_secs(1)),
            stall: Duration::from_secs(30),
            stall_draining: Duration::from_secs(5),
            settle: Duration::from_millis(250),
            linger: Duration::from_secs(2),
            head_bytes: 64 * 1024,
            headers: 100,
            streams: 200,
            frame_bytes: 16 * 1024,
            unseen_resets: 20,
            empty_frames: 1000,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            unsent_bytes: 128 * 1024,
            ping_every: Duration::from_secs(60),
            ping_answer: Duration::from_secs(10),
            tcp_keep_alive: None,
            ws_close: Duration::from_secs(5),
            age: None,
            age_grace: None,
            connections: connections_allowed(super::sock::descriptor_limit()),
        }
    }
}

fn connections_allowed(descriptors: Option<usize>) -> usize {
    match descriptors {
        Some(limit) => limit
            .saturating_sub(RESERVED_DESCRIPTORS)
            .clamp(16, CONNECTIONS),
        None => CONNECTIONS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_the_descriptor_limit() {
        assert_eq!(connections_allowed(None), 100_000);
        assert_eq!(connections_allowed(Some(1024)), 960);
        assert_eq!(connections_allowed(Some(20)), 16);
        assert_eq!(connections_allowed(Some(10_000_000)), 100_000);
    }
}
