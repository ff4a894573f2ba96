//! HTTP/2 on one connection: h2 driven by our limits and the phases.
//!
//! | module | owns |
//! |---|---|
//! | this one | how a conversation begins |
//! | `crew` | the tasks of its streams |
//! | `session` | how it goes on: streams, and what is due when |
//! | `leave` | how a client is told to go, and when it has gone |
//! | `inflow` | which clients only make noise |
//! | `ping` | whether a silent client is still there |
//! | `stream` | one request and its response |
//! | `tunnel` | a stream that was answered with a tunnel |
//! | `lent` | the stream under h2 |

mod crew;
mod inflow;
mod leave;
mod lent;
mod ping;
mod session;
mod stream;
mod tunnel;

use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use ::h2::server::{Builder, Connection};
use bytes::Bytes;
use http_body::Body as HttpBody;

use self::lent::{Lent, lend};
use self::session::Session;
use super::clock::{Check, End};
use super::exchange::App;
use super::io::Stream;
use super::piece::Piece;
use super::pulse::Pulse;
use super::watch::Watch;

/// RFC 9113 §6.5.2.
const FRAME_AT_LEAST: u32 = 1 << 14;
const FRAME_AT_MOST: u32 = (1 << 24) - 1;

type Data<A> = <<A as App>::ResponseBody as HttpBody>::Data;
type Http<S, A> = Connection<Lent<S>, Piece<Data<A>>>;

/// Speaks HTTP/2 with a client that said `said` already, until there is a reason to end.
///
/// The stream comes back unless h2 broke down with it.
pub(crate) async fn converse<S: Stream, A: App>(
    stream: S,
    said: Bytes,
    app: A,
    watch: &Arc<Watch>,
    mut pulse: Pin<&mut Pulse<'_>>,
) -> (Option<S>, End) {
    watch.note_http2();
    let socket = stream.as_fd().as_raw_fd();
    let (io, back) = lend(stream, said, watch);
    let end = match greet::<S, A>(io, watch, pulse.as_mut()).await {
        Ok(http) => Session::new(http, app, watch, socket).run().await,
        Err(end) => end,
    };
    (back.take(), end)
}

/// Exchanges the prefaces, within the limits of a request head.
async fn greet<S: Stream, A: App>(
    io: Lent<S>,
    watch: &Watch,
    mut pulse: Pin<&mut Pulse<'_>>,
) -> Result<Http<S, A>, End> {
    let limits = &watch.shared.limits;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        // Of what a client has a window for, no more than this waits in h2 for room in the socket: the client chooses its windows.
        .max_send_buffer_size(stream::RESERVED_AT_MOST)
        .max_pending_accept_reset_streams(limits.unseen_resets)
        // h2 takes no other values.
        .max_frame_size(limits.frame_bytes.clamp(FRAME_AT_LEAST, FRAME_AT_MOST))
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .enable_connect_protocol();
    let mut greeting = pin!(builder.handshake(io));
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(greeted) = greeting.as_mut().poll(cx) {
                return Poll::Ready(greeted.map_err(|error| End::Http2(Err(error))));
            }
            match pulse.as_mut().check(cx) {
                Check::Wait => return Poll::Pending,
                Check::Again | Check::Rest => {}
                Check::End(end) => return Poll::Ready(Err(end)),
            }
        }
    })
    .await
}
