//! One connection: hyper driven by our limits and the phases.
//!
//! Owns when a connection ends. hyper is always polled first, so what was received is never thrown away by a decision made without
//! looking. Its own graceful shutdown is never used: it closes an idle connection without a look, and drops the half head of a second request.
//! What is due when is [`super::clock`]'s business.

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::server::conn::http1;
use lameduck::inflight::Fired;
use lameduck::{Count, Drain};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::clock::{Check, Clock, End, UNARMED};
use super::exchange::{App, Exchange};
use super::io::{Io, Stream};
use super::linger::{self, Input, Lingered};
use super::watch::{Situation, Watch};
use crate::scope;

/// The answer to a head that did not complete in time.
const TIMED_OUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

type Http<S, A> = http1::Connection<Io<S>, Exchange<A>>;

/// Where in the floor a connection accepted now is steered: spread evenly when it is open at T, at the floor's end when accepted after it.
pub(crate) fn place_in_floor(drain: &Drain) -> u64 {
    static SEED: OnceLock<RandomState> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if drain.is_steering() {
        return u64::MAX;
    }
    // Relaxed: only uniqueness matters.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut hasher = SEED.get_or_init(RandomState::new).build_hasher();
    hasher.write_u64(number);
    hasher.finish()
}

/// Serves a connection to its end.
///
/// # Cancel safety
/// Dropping the future drops the connection: whatever was in flight is lost.
pub(crate) async fn drive<S: Stream, A: App>(stream: S, app: A, watch: Arc<Watch>) {
    let mut ending = pin!(watch.shared.drain.ending());
    let (stream, end) = converse(stream, app, &watch, ending.as_mut()).await;
    watch.slot.idle();
    // In a box of its own, so that a connection does not carry the room for its end all its life.
    Box::pin(finish(stream, end, &watch, ending)).await;
}

/// Speaks HTTP until there is a reason to end.
async fn converse<S: Stream, A: App>(
    stream: S,
    app: A,
    watch: &Arc<Watch>,
    mut ending: Pin<&mut Fired>,
) -> (S, End) {
    let drain = &watch.shared.drain;
    let mut closing = Closing {
        fired: drain.closing(),
        waker: None,
    };
    let mut alarm = pin!(sleep(UNARMED));
    let mut clock = Clock::new(watch, stream.as_fd().as_raw_fd());
    let exchange = Exchange::new(app, watch.clone());
    let mut http = Some(connect(watch, Io::new(stream, watch.clone()), exchange));
    poll_fn(|cx| {
        loop {
            let speaking = http.as_mut().expect("taken apart only at the end");
            let end = match scope::with(drain, || Pin::new(speaking).poll(cx)) {
                Poll::Ready(result) => End::Http(result),
                Poll::Pending => {
                    if !clock.is_closing() && closing.came(drain, cx) {
                        clock.begin_closing();
                    }
                    if clock.is_closing() && ending.as_mut().poll(cx).is_ready() {
                        End::Cut
                    } else {
                        match clock.check(alarm.as_mut(), cx) {
                            Check::Wait => return Poll::Pending,
                            Check::Again => continue,
                            Check::End(end) => end,
                        }
                    }
                }
            };
            // INV-12: hyper's state is taken apart, so that what it read beyond the last request is not thrown away.
            let mut parts = http.take().expect("it spoke until now").into_parts();
            if matches!(end, End::Quiet(_)) && !parts.read_buf.is_empty() {
                parts.io.keep(parts.read_buf);
                watch.note_head();
                http = Some(connect(watch, parts.io, parts.service));
                continue;
            }
            return Poll::Ready((parts.io.into_stream(), end));
        }
    })
    .await
}

/// The window's end, heard without a lock per request: a task keeps its waker, so registering it once is enough.
struct Closing {
    fired: Fired,
    waker: Option<Waker>,
}

impl Closing {
    fn came(&mut self, drain: &Drain, cx: &mut Context<'_>) -> bool {
        if self
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            return drain.is_closing();
        }
        self.waker = Some(cx.waker().clone());
        Pin::new(&mut self.fired).poll(cx).is_ready()
    }
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

/// Ends the socket in the way that the reason asks for, and counts it.
async fn finish<S: Stream>(mut stream: S, end: End, watch: &Watch, mut ending: Pin<&mut Fired>) {
    let shared = &watch.shared;
    match &end {
        End::Http(Ok(())) => {}
        End::Http(Err(error)) if error.is_parse() => shared.tally(Count::Malformed),
        End::Http(Err(_)) => {}
        End::Quiet(situation) => shared.tally(quiet_count(*situation, shared.drain.is_closing())),
        End::Expired(Situation::Head) => shared.tally(Count::HeadExpired),
        End::Expired(_) => shared.tally(Count::StallExpired),
        End::Cut => shared.tally(Count::Ended),
    }
    match end {
        // The peer does not read or does not send: waiting for it is what just failed.
        End::Cut | End::Expired(Situation::Transfer) => return cut(&stream, watch),
        End::Expired(Situation::Head) => {
            // Best effort: the answer is a courtesy, the send queue is empty.
            let _ =
                tokio::time::timeout(Duration::from_millis(100), stream.write_all(TIMED_OUT)).await;
        }
        _ => {}
    }
    let limit = shared.before_deadline(shared.limits.linger, shared.life.elapsed());
    let unread = watch.leaves_input_unread() && !watch.is_ended_by_peer();
    let input = match (unread, shared.drain.is_closing()) {
        (false, _) => Input::Complete,
        (true, false) => Input::UnreadUntilQuiet(limit),
        (true, true) => Input::UnreadUntilQuiet(shared.limits.settle),
    };
    let mut lingering = pin!(linger::close(stream, input, limit));
    let lingered = poll_fn(|cx| match lingering.as_mut().poll(cx) {
        Poll::Ready(lingered) => Poll::Ready(Some(lingered)),
        Poll::Pending => ending.as_mut().poll(cx).map(|()| None),
    });
    match lingered.await {
        Some(Lingered::Done) => {}
        Some(Lingered::Expired) => shared.tally(Count::LingerExpired),
        None => shared.tally(Count::Ended),
    }
}

fn quiet_count(situation: Situation, closing: bool) -> Count {
    match (closing, situation) {
        (false, _) => Count::IdleExpired,
        (true, Situation::Silent) => Count::SilentClosed,
        (true, _) => Count::IdleClosed,
    }
}

/// Ends the socket now. A response whose end is told by the connection's end alone must not look complete: it is reset.
fn cut<S: Stream>(stream: &S, watch: &Watch) {
    if watch.is_close_delimited() {
        // Without it the client would see a shorter, whole response; nothing better is left to try.
        let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}
