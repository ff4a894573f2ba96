//! One connection, from accept to its end.
//!
//! Owns the order of its life: the protocol is found out, spoken until there is a reason to end, and the socket is ended in the way that the
//! reason asks for. How each protocol is spoken is the business of [`super::h1`] and [`super::h2`].

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use lameduck::Count;
use tokio::io::AsyncWriteExt;

use super::Protocols;
use super::clock::End;
use super::course::Course;
use super::exchange::App;
use super::h1::{self, Spoken};
use super::h2;
use super::io::{Io, Stream};
use super::linger::{self, Ended, Input, Lingered};
use super::park::{Aside, Held, Socket};
use super::pulse::Pulse;
use super::sock;
use super::upgrade;
use super::watch::{Facts, Situation, Watch};
use crate::peer::Peer;

/// The answer to a head that did not complete in time.
const TIMED_OUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Two plaintext alerts, user_canceled and close_notify (RFC 8446 §6.1): what can be said to a client that did not finish its first message.
const GIVEN_UP: &[u8] = &[21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0];

/// Where in the floor a connection accepted now is steered: spread evenly when it is open at T, at the floor's end when accepted after it.
pub(crate) fn place_in_floor(drain: &Course) -> u64 {
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

/// A connection that rests: what its task gives away when it ends.
#[derive(Debug)]
pub(crate) struct Rested {
    pub(crate) socket: Socket,
    pub(crate) held: Option<Held>,
    pub(crate) facts: Facts,
}

/// Serves a connection until it ends or rests; None when it has ended.
///
/// # Cancel safety
/// Dropping the future drops the connection: whatever was in flight is lost.
pub(crate) async fn drive<S: Aside, A: App>(
    stream: S,
    app: A,
    watch: Arc<Watch>,
) -> Option<Rested> {
    if watch.introduced().is_none() {
        introduce(&stream, &watch, |peer| peer);
    }
    let opening = match watch.shared.protocols {
        // It may be parked before it has said which; never in the middle of that.
        Protocols::Both if !watch.has_spoken() => Opening::Detected,
        Protocols::Both | Protocols::Http1 => Opening::Http1,
        Protocols::Http2 => Opening::Http2,
    };
    converse_until_rest(stream, opening, app, watch).await
}

/// Speaks from here on; puts the stream aside if it rests.
pub(super) async fn converse_until_rest<S: Aside, A: App>(
    stream: S,
    opening: Opening,
    app: A,
    watch: Arc<Watch>,
) -> Option<Rested> {
    let (stream, since) = {
        let mut pulse = pin!(Pulse::new(&watch, stream.as_fd().as_raw_fd()));
        let stream = speak(stream, opening, app, &watch, pulse.as_mut()).await?;
        (stream, pulse.as_ref().since())
    };
    rest(stream, since, watch)
}

/// Puts a stream aside that has been idle since `since`.
pub(super) fn rest<S: Aside>(stream: S, since: Duration, watch: Arc<Watch>) -> Option<Rested> {
    match stream.put_aside() {
        Ok((socket, held)) => {
            let watch =
                Arc::into_inner(watch).expect("who spoke made sure that nobody else has it");
            Some(Rested {
                socket,
                held,
                facts: watch.into_facts(since),
            })
        }
        Err(_) => {
            watch.shared.tally(Count::AcceptError);
            None
        }
    }
}

/// Tells the application who is there, if it wants to know.
pub(super) fn introduce<S: Stream>(stream: &S, watch: &Watch, complete: impl FnOnce(Peer) -> Peer) {
    if let Some(introduction) = &watch.shared.introduction {
        let local = socket2::SockRef::from(stream).local_addr();
        let local = local.ok().and_then(|local| local.as_socket());
        let peer = complete(introduction.of(watch.peer, local));
        watch.introduce(introduction.introduce(&peer));
    }
}

/// How a conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// In the protocol that the client's first bytes belong to.
    Detected,
    Http1,
    Http2,
}

/// Whether all that is left of an idle connection is to say FIN: at the window's end many do that together, without a task each.
fn can_part<S: Aside>(stream: &S, watch: &Arc<Watch>) -> bool {
    // Over TLS there is more to say, and a body that the application keeps holds the notes. Pairs with the Release of its `Arc`.
    let is_held_here = S::WATCHES == 0 && Arc::strong_count(watch) == 1 && !watch.is_waited_for();
    fence(Ordering::Acquire);
    is_held_here
        && watch.shared.drain.is_closing()
        && watch.is_at_rest()
        && sock::unacknowledged(stream.as_fd()) == Some(0)
}

/// Speaks until the connection ends, or rests: then it gives the stream back.
pub(super) async fn speak<S: Aside, A: App>(
    stream: S,
    opening: Opening,
    app: A,
    watch: &Arc<Watch>,
    mut pulse: Pin<&mut Pulse<'_>>,
) -> Option<S> {
    let conversed = converse(stream, opening, app, watch, pulse.as_mut()).await;
    watch.slot.idle();
    match conversed {
        Conversed::Resting(stream) => return Some(stream),
        Conversed::Ended(stream, End::Quiet(_)) if can_part(&stream, watch) => return Some(stream),
        Conversed::Broken => {}
        // In a box of its own, so that a connection does not carry the room for its end all its life.
        Conversed::Ended(stream, end) => Box::pin(finish(stream, end, watch, pulse)).await,
    }
    watch.end_connection();
    None
}

/// What becomes of a stream.
enum Conversed<S> {
    Ended(S, End),
    Resting(S),
    /// The stream broke with the conversation.
    Broken,
}

impl<S> From<(Option<S>, End)> for Conversed<S> {
    fn from((stream, end): (Option<S>, End)) -> Self {
        stream.map_or(Self::Broken, |stream| Self::Ended(stream, end))
    }
}

/// Speaks whatever protocol the client speaks.
async fn converse<S: Aside, A: App>(
    stream: S,
    opening: Opening,
    app: A,
    watch: &Arc<Watch>,
    mut pulse: Pin<&mut Pulse<'_>>,
) -> Conversed<S> {
    let (stream, said, app) = if opening == Opening::Http2 {
        (stream, Bytes::new(), app)
    } else {
        let io = Io::new(stream, watch.clone());
        let io = if opening == Opening::Http1 {
            watch.note_http1();
            io
        } else {
            io.detecting()
        };
        match h1::converse(io, app, watch, pulse.as_mut()).await {
            Spoken::Ended(stream, end) => return Conversed::Ended(stream, end),
            Spoken::Resting(stream) => return Conversed::Resting(stream),
            Spoken::Http2 { stream, said, app } => (stream, said, app),
            Spoken::Upgraded {
                stream,
                said,
                pledge,
            } => {
                let kept = Box::pin(upgrade::keep(stream, said, *pledge, watch, pulse)).await;
                return kept.into();
            }
        }
    };
    // In a box of its own: an HTTP/1.1 connection does not carry the room for the other protocol.
    let spoken = Box::pin(h2::converse(stream, said, app, watch, pulse)).await;
    spoken.into()
}

/// Ends the socket in the way that the reason asks for, and counts it.
pub(super) async fn finish<S: Stream>(
    mut stream: S,
    end: End,
    watch: &Watch,
    mut pulse: Pin<&mut Pulse<'_>>,
) {
    let shared = &watch.shared;
    count(&end, watch);
    match &end {
        // The peer does not read or does not send: waiting for it is what just failed.
        End::Cut | End::Expired(Situation::Transfer) => return cut(&stream, watch),
        // The application gave its response up: its end must not look like one.
        End::Http1(Err(error)) if error.is_user() && watch.is_close_delimited() => {
            return cut(&stream, watch);
        }
        // Best effort, all of them: the last words are a courtesy, and the send queue is empty.
        End::Expired(Situation::Head) if !watch.is_http2() => say(&mut stream, TIMED_OUT).await,
        End::Expired(Situation::Handshake) => say(&mut stream, GIVEN_UP).await,
        _ => {}
    }
    let now = shared.now();
    let limit = shared.before_deadline(shared.limits.linger, now);
    let stall = match shared.drain.is_closing() {
        false => shared.limits.stall,
        true => shared.before_deadline(shared.limits.stall_draining, now),
    };
    // An HTTP/2 client always has something to say, if only about its windows.
    let unread = (watch.leaves_input_unread() || watch.is_http2()) && !watch.is_ended_by_peer();
    let input = match (unread, shared.drain.is_closing()) {
        // What a client says that failed to shake hands is read on, so that it can read why.
        _ if matches!(end, End::Handshake(Err(_))) => Input::UnreadUntilQuiet(shared.limits.settle),
        // Its last frames, a Close among them, may be on their way.
        _ if matches!(end, End::Upgraded(_)) && !watch.is_ended_by_peer() => {
            Input::UnreadUntilQuiet(shared.limits.settle)
        }
        (false, _) => Input::Complete,
        (true, false) => Input::UnreadUntilQuiet(limit),
        (true, true) => Input::UnreadUntilQuiet(shared.limits.settle),
    };
    let ended = until_ending(linger::end(&mut stream, stall), pulse.as_mut()).await;
    if let None | Some(Ended::Unsent) = ended {
        shared.tally(ended.map_or(Count::Ended, |_| Count::LingerExpired));
        return cut(&stream, watch);
    }
    if ended == Some(Ended::Gone) {
        return;
    }
    let settled = until_ending(linger::settle(&mut stream, input, limit), pulse.as_mut()).await;
    let Some(settled) = settled else {
        return shared.tally(Count::Ended);
    };
    if settled.how == Lingered::Expired {
        shared.tally(Count::LingerExpired);
    }
    // Under TLS a client that understood answers with bytes, too.
    if settled.discarded > 0
        && input == Input::Complete
        && !watch.is_tls()
        && shared.drain.is_closing()
    {
        shared.tally(Count::LateBytes);
    }
    if let End::Upgraded(tenant) = &end {
        until_ending(tenant.left(), pulse).await;
    }
}

/// What comes of `future`; None when the drain's end comes first.
async fn until_ending<F: Future>(future: F, mut pulse: Pin<&mut Pulse<'_>>) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => pulse.as_mut().poll_ending(cx).map(|()| None),
    })
    .await
}

/// Says a connection's last words, if they find room at once.
async fn say<S: Stream>(stream: &mut S, words: &[u8]) {
    let _ = tokio::time::timeout(Duration::from_millis(100), async {
        stream.write_all(words).await?;
        stream.flush().await
    })
    .await;
}

pub(super) fn count(end: &End, watch: &Watch) {
    let shared = &watch.shared;
    match end {
        End::Http1(Ok(())) | End::Http2(Ok(())) | End::Handshake(Ok(())) | End::Upgraded(_) => {}
        End::Handshake(Err(_)) => shared.tally(Count::HandshakeFailed),
        End::Expired(Situation::Handshake) => shared.tally(Count::HandshakeExpired),
        End::Http1(Err(error)) if error.is_parse() => shared.tally(Count::Malformed),
        End::Http2(Err(error)) if error.is_go_away() && error.is_library() => {
            shared.tally(Count::Malformed);
        }
        End::Http1(Err(_)) | End::Http2(Err(_)) => {}
        End::Quiet(situation) => shared.tally(quiet_count(*situation, shared.drain.is_closing())),
        End::Expired(Situation::Head) => shared.tally(Count::HeadExpired),
        End::Expired(_) => shared.tally(Count::StallExpired),
        End::Cut => shared.tally(Count::Ended),
    }
}

pub(super) fn quiet_count(situation: Situation, closing: bool) -> Count {
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
