//! HTTP on a new connection: the handshake, hyper's task, and the end to send with.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::ClientLimits;
use super::body::Sent;
use super::pool::lease::{Lease, Opening};
use super::pool::machine::Speaks;
use super::wire::{Stream, Wire};

/// When a server of HTTP/2 that has streams open is asked whether it is still there, and how long it has for the answer.
const PING_AFTER: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Streams before the server has said how many it allows: nearly every server allows the first.
const STREAMS_AT_FIRST: usize = 1;

/// hyper's least buffer, below which it panics.
const LEAST_BUFFER: usize = 8_192;

/// The end of a connection to send with.
pub(super) enum Sender {
    Http1(http1::SendRequest<Sent>),
    Http2(http2::SendRequest<Sent>),
}

impl Sender {
    pub(super) const fn speaks(&self) -> Speaks {
        match self {
            Self::Http1(_) => Speaks::Http1,
            Self::Http2(_) => Speaks::Http2,
        }
    }

    /// One more, where requests share a connection.
    pub(super) fn another(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }

    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    /// Hands a request over. The future does not hold on to the sender, and nobody must who has a clone of it: a request that is handed over in the
    /// moment in which hyper lets go of the other end comes back only when the last clone is dropped.
    pub(super) fn try_send(&mut self, request: Request<Sent>) -> Sending {
        match self {
            Self::Http1(sender) => Box::pin(sender.try_send_request(request)),
            Self::Http2(sender) => Box::pin(sender.try_send_request(request)),
        }
    }
}

/// A request under way.
pub(super) type Sending =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Sent>>>> + Send>>;

/// Begins HTTP on a socket. `Ok(None)`: it is not wanted any more.
pub(super) async fn begin(
    mut opening: Opening,
    stream: Box<dyn Stream>,
    speaks: Speaks,
    limits: &ClientLimits,
) -> hyper::Result<Option<Lease>> {
    let (pool, id) = (Arc::clone(&opening.pool), opening.id);
    let wire = Wire::new(stream, Arc::clone(&opening.wire), Arc::clone(&pool), id);
    opening.is_open();
    let runtime = pool.runtime.clone();
    let head = limits.head.max(1);
    let sender = match speaks {
        Speaks::Http1 => {
            let mut builder = http1::Builder::new();
            builder
                .max_header_size(head)
                .max_buf_size(head.saturating_mul(2).max(LEAST_BUFFER));
            let (sender, connection) = builder.handshake(TokioIo::new(wire)).await?;
            // Its errors are those of its requests, and its end is told by its socket.
            runtime.spawn(async move { _ = connection.await });
            Sender::Http1(sender)
        }
        Speaks::Http2 => {
            let head = u32::try_from(head).unwrap_or(u32::MAX);
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_header_list_size(head)
                .initial_max_send_streams(limits.streams)
                .keep_alive_interval(PING_AFTER)
                .keep_alive_timeout(PONG_WITHIN);
            let wire = TokioIo::new(wire.following(limits.streams));
            let (sender, connection) = builder.handshake(wire).await?;
            runtime.spawn(async move { _ = connection.await });
            Sender::Http2(sender)
        }
    };
    Ok(pool.opened(id, sender, STREAMS_AT_FIRST))
}
