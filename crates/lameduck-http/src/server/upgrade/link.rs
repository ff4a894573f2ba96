//! The upgraded stream, shared by the application and its keeper.
//!
//! Owns what passes: the application's bytes go to the peer as they are, up to the point where the keeper's Close goes instead of them. Then the
//! application's writes count as written and go nowhere, while its reads go on, so that it sees its peer's answer. When that point comes is
//! [`super::keeper`]'s decision; that it is never inside a frame is assured here.
//!
//! A socket has one waker for each direction. The keeper polls a direction only while the application is kept from it (its waker is kept here then,
//! and called afterwards).

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::follower::Follower;
use super::mint;
use crate::server::io::Stream;
use crate::server::sock;
use crate::server::watch::Watch;

/// A stream that can be upgraded to.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Any + Unpin + Send {
    /// Of the bytes that were written, how many the peer has not got, as far as is known.
    fn unread(&self) -> usize;
}

impl<S: Stream> Duplex for S {
    fn unread(&self) -> usize {
        sock::unacknowledged(self.as_fd()).unwrap_or(0)
    }
}

/// Both sides of an upgraded connection.
#[derive(Debug)]
pub(super) struct Link(Mutex<Passage>);

/// What passes, and who waits for what.
pub(super) struct Passage {
    place: Place,
    /// What the peer had said before the application could hear it.
    said: Bytes,
    /// None where it is not known what may be said.
    follower: Option<Follower>,
    voice: Voice,
    pub(super) wish: Wish,
    /// The application let its side go.
    pub(super) is_left: bool,
    /// The application ended its half: nothing more can be said.
    is_shut: bool,
    /// The application's last write waits for the peer.
    is_blocked: bool,
    watch: Option<Arc<Watch>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    keeper: Option<Waker>,
}

enum Place {
    Minting(Minting),
    Open(Box<dyn Duplex>),
    Ended,
}

/// hyper is being told a canned request. Its answer goes nowhere; with the flush behind it begins what it was minted for.
struct Minting {
    request: &'static [u8],
    is_answered: bool,
    stream: Option<Box<dyn Duplex>>,
}

/// Whose bytes go to the peer.
#[derive(Debug)]
enum Voice {
    Application,
    /// A Close, of which some was sent.
    Close(Bytes),
    /// The Close was sent: the application's bytes go nowhere.
    Nobody,
}

/// Where the keeper wants to say its Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    BetweenMessages,
    BetweenFrames,
}

/// The application's side. Dropping it lets the connection go.
#[derive(Debug)]
pub(super) struct Side(Arc<Link>);

/// A link that is not open yet.
pub(super) fn pair() -> (Arc<Link>, Side) {
    let link = Arc::new(Link(Mutex::new(Passage {
        place: Place::Minting(Minting {
            request: mint::REQUEST,
            is_answered: false,
            stream: None,
        }),
        said: Bytes::new(),
        follower: None,
        voice: Voice::Application,
        wish: Wish::Nothing,
        is_left: false,
        is_shut: false,
        is_blocked: false,
        watch: None,
        reader: None,
        writer: None,
        keeper: None,
    })));
    (link.clone(), Side(link))
}

impl Link {
    pub(super) fn lock(&self) -> MutexGuard<'_, Passage> {
        // What panics under the lock is the stream's; the passage itself is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage {
    /// Opens it to `stream`, of which `said` was read already, as soon as the mint has spoken its last word.
    pub(super) fn open(
        &mut self,
        stream: Box<dyn Duplex>,
        said: Bytes,
        follower: Option<Follower>,
        watch: Arc<Watch>,
    ) {
        if let Place::Minting(minting) = &mut self.place {
            minting.stream = Some(stream);
        }
        self.said = said;
        self.follower = follower;
        self.watch = Some(watch);
    }

    /// Takes the stream away: the application reads the end, and its writes fail.
    pub(super) fn end(&mut self) -> Option<Box<dyn Duplex>> {
        let place = std::mem::replace(&mut self.place, Place::Ended);
        self.said = Bytes::new();
        self.wake_application();
        match place {
            Place::Open(stream) => Some(stream),
            Place::Minting(minting) => minting.stream,
            Place::Ended => None,
        }
    }

    /// The keeper is woken when the application lets go, reaches a place where a wish can be fulfilled, or waits for the peer.
    pub(super) fn wake_keeper_by(&mut self, cx: &mut Context<'_>) {
        remember(&mut self.keeper, cx);
    }

    /// Whether the application's last write waits for the peer.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Of the bytes that were written, how many the peer has not got, as far as is known.
    pub(super) fn unread(&self) -> usize {
        match &self.place {
            Place::Open(stream) => stream.unread(),
            Place::Minting(_) | Place::Ended => 0,
        }
    }

    /// Whether a Close was said, by whomever, or nothing can be said any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_shut
            || matches!(self.voice, Voice::Nobody)
            || self.follower.is_some_and(|follower| follower.is_closed())
    }

    /// Whether a Close could be said here and now.
    pub(super) fn has_room_for(&self, wish: Wish) -> bool {
        let Some(follower) = &self.follower else {
            return false;
        };
        matches!(self.voice, Voice::Application)
            && !self.is_shut
            && !follower.is_closed()
            && match wish {
                Wish::Nothing => false,
                Wish::BetweenMessages => follower.is_between_messages(),
                Wish::BetweenFrames => follower.is_between_frames(),
            }
    }

    /// From now on the application's bytes wait for this Close. Only where there is room for it.
    pub(super) fn begin_close(&mut self, frame: Bytes) {
        debug_assert!(
            self.has_room_for(Wish::BetweenFrames),
            "never inside a frame"
        );
        self.voice = Voice::Close(frame);
    }

    /// Sends what is left of the Close; ready when there is none.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Voice::Close(frame) = &mut self.voice else {
            return Poll::Ready(Ok(()));
        };
        let Place::Open(stream) = &mut self.place else {
            return Poll::Ready(Ok(()));
        };
        let mut stream = Pin::new(&mut **stream);
        while !frame.is_empty() {
            let wrote = stream.as_mut().poll_write(cx, frame);
            note_write(self.watch.as_deref(), &wrote);
            frame.advance(ready!(wrote)?);
        }
        // What encrypts also buffers.
        ready!(stream.poll_flush(cx))?;
        self.voice = Voice::Nobody;
        self.is_blocked = false;
        self.wake_application();
        Poll::Ready(Ok(()))
    }

    /// A write that the application gave up no longer waits for the peer once the peer has everything.
    pub(super) fn look_again(&mut self) {
        if let (true, Place::Open(stream), Some(watch)) =
            (self.is_blocked, &self.place, &self.watch)
            && stream.unread() == 0
        {
            self.is_blocked = false;
            watch.note_written(0);
        }
    }

    fn wake_application(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    fn wake_keeper(&mut self) {
        if let Some(waker) = &self.keeper {
            waker.wake_by_ref();
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Place::Minting(minting) = &mut self.place {
            return minting.read(into);
        }
        if !self.said.is_empty() {
            let count = self.said.len().min(into.remaining());
            into.put_slice(&self.said[..count]);
            self.said.advance(count);
            return Poll::Ready(Ok(()));
        }
        match &mut self.place {
            Place::Open(stream) => {
                let before = into.filled().len();
                let polled = Pin::new(&mut **stream).poll_read(cx, into);
                match &polled {
                    Poll::Pending => remember(&mut self.reader, cx),
                    Poll::Ready(Ok(())) => {
                        if let Some(watch) = &self.watch {
                            watch.note_read(into.filled().len() - before);
                        }
                    }
                    Poll::Ready(Err(_)) => {}
                }
                polled
            }
            Place::Minting(_) | Place::Ended => Poll::Ready(Ok(())),
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = match &mut self.place {
            Place::Minting(minting) => {
                minting.is_answered = true;
                return Poll::Ready(Ok(bytes.len()));
            }
            Place::Ended => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Place::Open(stream) => stream,
        };
        if matches!(self.voice, Voice::Nobody) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let allowed = match (&self.voice, &self.follower, self.wish) {
            (Voice::Application, Some(follower), Wish::BetweenMessages)
                if !follower.is_closed() =>
            {
                follower.until_message_end(bytes)
            }
            (Voice::Application, Some(follower), Wish::BetweenFrames) if !follower.is_closed() => {
                follower.until_frame_end(bytes)
            }
            (Voice::Application, _, _) => bytes.len(),
            _ => 0,
        };
        if allowed == 0 && !bytes.is_empty() {
            // Until the Close was sent.
            remember(&mut self.writer, cx);
            self.wake_keeper();
            return Poll::Pending;
        }
        let was_closed = self.follower.is_some_and(|follower| follower.is_closed());
        let wrote = Pin::new(&mut **stream).poll_write(cx, &bytes[..allowed]);
        note_write(self.watch.as_deref(), &wrote);
        match &wrote {
            Poll::Ready(Ok(count)) => {
                self.is_blocked = false;
                if let Some(follower) = &mut self.follower {
                    follower.feed(&bytes[..*count]);
                }
                let is_last_word = !was_closed && self.is_closed();
                if is_last_word || self.has_room_for(self.wish) {
                    self.wake_keeper();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                remember(&mut self.writer, cx);
                if !self.is_blocked {
                    self.is_blocked = true;
                    // It measures how long this lasts.
                    self.wake_keeper();
                }
            }
        }
        wrote
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Place::Minting(minting) = &mut self.place {
            if let (true, Some(stream)) = (minting.is_answered, minting.stream.take()) {
                self.place = Place::Open(stream);
            }
            return Poll::Ready(Ok(()));
        }
        match (&mut self.place, &self.voice) {
            (Place::Open(stream), Voice::Application) => {
                let flushed = Pin::new(&mut **stream).poll_flush(cx);
                if flushed.is_pending() {
                    remember(&mut self.writer, cx);
                }
                flushed
            }
            (Place::Open(_), Voice::Close(_)) => {
                remember(&mut self.writer, cx);
                Poll::Pending
            }
            (Place::Open(_), Voice::Nobody) | (Place::Minting(_) | Place::Ended, _) => {
                Poll::Ready(Ok(()))
            }
        }
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (Place::Open(stream), Voice::Application) = (&mut self.place, &self.voice) else {
            return self.flush(cx);
        };
        self.is_shut = true;
        let shut = Pin::new(&mut **stream).poll_shutdown(cx);
        if shut.is_pending() {
            remember(&mut self.writer, cx);
        }
        shut
    }
}

impl Minting {
    fn read(&mut self, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.request.is_empty() {
            // The end would be one of the connection; nobody needs to be woken.
            return Poll::Pending;
        }
        let (now, later) = self
            .request
            .split_at(self.request.len().min(into.remaining()));
        into.put_slice(now);
        self.request = later;
        Poll::Ready(Ok(()))
    }
}

fn remember(place: &mut Option<Waker>, cx: &mut Context<'_>) {
    match place {
        Some(known) => known.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

fn note_write(watch: Option<&Watch>, wrote: &Poll<io::Result<usize>>) {
    let Some(watch) = watch else { return };
    match wrote {
        Poll::Ready(Ok(count)) => watch.note_written(*count),
        Poll::Ready(Err(_)) => {}
        Poll::Pending => watch.note_write_blocked(),
    }
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passage")
            .field("follower", &self.follower)
            .field("voice", &self.voice)
            .field("wish", &self.wish)
            .field("is_left", &self.is_left)
            .finish_non_exhaustive()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let mut passage = self.0.lock();
        passage.is_left = true;
        passage.wake_keeper();
    }
}

impl hyper::rt::Read for Side {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: `ReadBuf::uninit` never de-initialises a byte of the cursor's spare room.
        let mut buffer = ReadBuf::uninit(unsafe { into.as_mut() });
        ready!(self.0.lock().read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        // SAFETY: `count` bytes from the cursor's start on were just filled, so they are initialised.
        unsafe { into.advance(count) };
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Side {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().shutdown(cx)
    }
}
