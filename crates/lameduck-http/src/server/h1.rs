//! HTTP/1.1 on one connection: hyper driven by our limits and the phases.
//!
//! Owns when a conversation in HTTP/1.1 is over. hyper is always polled first, so what was received is never thrown away by a decision made
//! without looking. Its own graceful shutdown is never used: it closes an idle connection without a look, and drops the half head of a second request.
//! What is due when is [`super::clock`]'s business.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{Ordering::Acquire, fence};
use std::task::Poll;

use bytes::Bytes;
use hyper::server::conn::http1;

use super::clock::{Check, End};
use super::exchange::{App, Exchange};
use super::io::{Io, Stream};
use super::park::Aside;
use super::pulse::Pulse;
use super::upgrade::Pledge;
use super::watch::Watch;
use crate::scope;

type Http<S, A> = http1::Connection<Io<S>, Exchange<A>>;

/// How a conversation came out.
pub(crate) enum Spoken<S, A> {
    /// It is over.
    Ended(S, End),
    /// The client speaks HTTP/2; its first bytes are given back.
    Http2 { stream: S, said: Bytes, app: A },
    /// Nothing is being said, and nothing of it is under way: the stream may be put aside.
    Resting(S),
    /// An upgrade was granted, and its answer sent. What hyper had read beyond the request is given back.
    Upgraded {
        stream: S,
        said: Bytes,
        pledge: Box<Pledge>,
    },
}

/// Why hyper is polled no more.
enum Stop {
    End(End),
    Rest,
}

impl Stop {
    const fn is_for_silence(&self) -> bool {
        matches!(self, Self::Rest | Self::End(End::Quiet(_)))
    }
}

/// Speaks HTTP/1.1 until there is a reason to end, or until the client turns out to speak HTTP/2.
pub(crate) async fn converse<S: Aside, A: App>(
    io: Io<S>,
    app: A,
    watch: &Arc<Watch>,
    mut pulse: Pin<&mut Pulse<'_>>,
) -> Spoken<S, A> {
    let exchange = Exchange::new(app, watch.clone());
    let mut http = Some(connect(watch, io, exchange));
    pulse.as_mut().let_rest();
    poll_fn(|cx| {
        loop {
            let speaking = http.as_mut().expect("taken apart only at the end");
            let stop = match scope::with(watch, || Pin::new(speaking).poll(cx)) {
                Poll::Ready(Ok(())) => {
                    if let Some(pledge) = watch.take_granted() {
                        let parts = http.take().expect("it spoke until now").into_parts();
                        let (stream, _) = parts.io.into_parts();
                        let said = parts.read_buf;
                        return Poll::Ready(Spoken::Upgraded {
                            stream,
                            said,
                            pledge,
                        });
                    }
                    Stop::End(End::Http1(Ok(())))
                }
                Poll::Ready(Err(error)) => Stop::End(End::Http1(Err(error))),
                Poll::Pending if watch.is_http2() => {
                    let parts = http.take().expect("it spoke until now").into_parts();
                    let (stream, said) = parts.io.into_parts();
                    let app = parts.service.into_app();
                    return Poll::Ready(Spoken::Http2 { stream, said, app });
                }
                Poll::Pending => match pulse.as_mut().check(cx) {
                    Check::Wait => return Poll::Pending,
                    Check::Again => continue,
                    Check::Rest if is_held_here::<S>(watch) && watch.is_at_rest() => Stop::Rest,
                    Check::Rest => continue,
                    Check::End(end) => Stop::End(end),
                },
            };
            // INV-12: hyper's state is taken apart, so that what it read beyond the last request is not thrown away.
            let mut parts = http.take().expect("it spoke until now").into_parts();
            if stop.is_for_silence() && !parts.read_buf.is_empty() {
                parts.io.keep(parts.read_buf);
                watch.note_head();
                http = Some(connect(watch, parts.io, parts.service));
                continue;
            }
            let (stream, _) = parts.io.into_parts();
            return Poll::Ready(match stop {
                Stop::End(end) => Spoken::Ended(stream, end),
                Stop::Rest => Spoken::Resting(stream),
            });
        }
    })
    .await
}

/// Whether nobody has this connection's notes but its task, what hyper was given, and the stream: the application may keep the body of a request, or
/// wait for the connection's end.
/// To be asked before what the notes say: what a body noted on another thread before it let them go is seen then.
fn is_held_here<S: Aside>(watch: &Arc<Watch>) -> bool {
    const TASK_IO_EXCHANGE: usize = 3;
    let is_held_here = Arc::strong_count(watch) == TASK_IO_EXCHANGE + S::WATCHES;
    // Pairs with the Release of the body's `Arc` when it is dropped.
    fence(Acquire);
    is_held_here && !watch.is_waited_for()
}

fn connect<S: Stream, A: App>(watch: &Watch, io: Io<S>, exchange: Exchange<A>) -> Http<S, A> {
    let limits = &watch.shared.limits;
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .keep_alive(true)
        .max_header_size(limits.head_bytes);
    if limits.headers != 100 {
        // hyper's own default of 100 lives on the stack; any other number costs an allocation per request.
        builder.max_headers(limits.headers);
    }
    builder.serve_connection(io, exchange)
}
