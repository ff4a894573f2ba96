//! The bytes of one connection: counted, followed, and cut where its end cannot wait.
//!
//! Owns the socket, and with it the truth about whether the connection is open: whatever holds it, hyper or h2, it is over when this is
//! dropped, and then the pool is told.

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::frames::{Frames, Said};
use super::pool::Pool;
use super::pool::machine::{ConnId, Speaks};

/// How many interim responses (1xx) may come to a request, on HTTP/2 to all of a connection; more are a flood.
const MOST_INTERIM: u64 = 32;

/// What a socket can do, in the clear or under TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// What is known of a wire by those who do not hold it.
///
/// The counters are relaxed: they are read when hyper has said that a try is over, and its channel orders that after what was counted.
#[derive(Default)]
pub(crate) struct WireState {
    /// Here, so that whoever wants to send can look whether anything came; gone when hyper is done with it.
    stream: Mutex<Option<Box<dyn Stream>>>,
    read: AtomicU64,
    written: AtomicU64,
    asked: AtomicU64,
    /// Heads that came since what `asked` counts.
    heads: AtomicU64,
    /// Heads that were written, on HTTP/2.
    sent: AtomicU64,
    /// The socket is closed, and everybody who waits for that is told.
    is_gone: AtomicBool,
    gone: Notify,
    flooded: AtomicBool,
    cut: AtomicBool,
    wakers: Mutex<[Option<Waker>; 3]>,
}

/// How far a connection had come when a try began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    read: u64,
    written: u64,
    sent: u64,
}

impl WireState {
    /// A request is about to be written.
    pub(super) fn ask(&self, speaks: Speaks) -> Mark {
        match speaks {
            // One at a time: what came before does not count.
            Speaks::Http1 => {
                self.asked.store(1, Ordering::Relaxed);
                self.heads.store(0, Ordering::Relaxed);
            }
            Speaks::Http2 => _ = self.asked.fetch_add(1, Ordering::Relaxed),
        }
        Mark {
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        }
    }

    /// Whether anything of a request may have been written since: on HTTP/2 a head, be it another's.
    pub(super) fn has_written(&self, mark: Mark, speaks: Speaks) -> bool {
        match speaks {
            Speaks::Http1 => self.written.load(Ordering::Relaxed) != mark.written,
            Speaks::Http2 => self.sent.load(Ordering::Relaxed) != mark.sent,
        }
    }

    /// Resolves when the socket is closed.
    pub(super) async fn gone(&self) {
        let mut told = pin!(self.gone.notified());
        told.as_mut().enable();
        // Pairs with the store in `Wire`'s drop: either that is seen here, or its word.
        if !self.is_gone.load(Ordering::SeqCst) {
            told.await;
        }
    }

    /// Whether anything was read since.
    pub(super) fn has_read(&self, mark: Mark) -> bool {
        self.read.load(Ordering::Relaxed) != mark.read
    }

    /// A head came: interim, final, or trailers. More than any honest server sends end the connection.
    pub(super) fn head(&self) {
        let heads = self.heads.fetch_add(1, Ordering::Relaxed) + 1;
        // A head and trailers of each.
        if heads > MOST_INTERIM + 2 * self.asked.load(Ordering::Relaxed) {
            self.flooded.store(true, Ordering::Relaxed);
            self.cut();
        }
    }

    /// Whether the kernel has nothing for us, not even an end. Asked of a connection that rests before it is used: its task may not have had
    /// a turn since its server ended it.
    pub(crate) fn is_quiet(&self) -> bool {
        let stream = self.stream();
        let Some(stream) = &*stream else {
            return false;
        };
        // SO_RCVLOWAT and the like aside, recv(2) with MSG_PEEK on a socket that does not block says EAGAIN if nothing came.
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(stream.tcp()).peek(&mut byte) {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        }
    }

    fn stream(&self) -> MutexGuard<'_, Option<Box<dyn Stream>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the socket.
    fn with<T>(
        &self,
        deed: impl FnOnce(Pin<&mut dyn Stream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.stream() {
            Some(stream) => deed(Pin::new(&mut **stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    /// Ends the connection: whoever reads or writes gets an error.
    pub(crate) fn cut(&self) {
        // Pairs with the look in `check`: either that sees it, or its waker is here.
        self.cut.store(true, Ordering::SeqCst);
        let wakers = {
            let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// An error once it is cut; otherwise `polled`, and if that is pending the waker is kept.
    fn check<T>(
        &self,
        side: usize,
        cx: &Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            self.keep(side, cx);
        }
        if self.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }

    fn keep(&self, side: usize, cx: &Context<'_>) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut wakers[side] {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Resolves when it is cut, for whoever opens it.
    pub(super) async fn cut_seen(&self) {
        std::future::poll_fn(|cx| {
            self.keep(OPENS, cx);
            if self.is_cut() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

const READS: usize = 0;
const WRITES: usize = 1;
const OPENS: usize = 2;

/// Who is told when the socket is closed.
struct Gone {
    pool: Arc<Pool>,
    id: ConnId,
}

/// One connection's socket.
pub(super) struct Wire {
    state: Arc<WireState>,
    is_vectored: bool,
    /// On HTTP/2: what comes, and what goes.
    frames: Option<[Frames; 2]>,
    gone: Gone,
}

impl Wire {
    /// From now on the pool is told of its end by this.
    pub(super) fn new(
        stream: Box<dyn Stream>,
        state: Arc<WireState>,
        pool: Arc<Pool>,
        id: ConnId,
    ) -> Self {
        let is_vectored = stream.is_write_vectored();
        *state.stream() = Some(stream);
        Self {
            state,
            is_vectored,
            frames: None,
            gone: Gone { pool, id },
        }
    }

    /// Follows the frames that pass.
    pub(super) fn following(mut self) -> Self {
        self.frames = Some([Frames::default(), Frames::of_client()]);
        self
    }

    fn came(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.state.read.fetch_add(count, Ordering::Relaxed);
        let Some([frames, _]) = &mut self.frames else {
            return;
        };
        let (state, gone) = (&self.state, &self.gone);
        frames.follow(bytes, |said| match said {
            Said::Head => state.head(),
            Said::Allows(streams) => gone.pool.allow(gone.id, streams),
            Said::GoAway => gone.pool.retire(gone.id),
        });
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // First the socket, then the word of it.
        let stream = self.state.stream().take();
        drop(stream);
        self.state.is_gone.store(true, Ordering::SeqCst);
        self.state.gone.notify_waiters();
        self.gone.pool.closed(self.gone.id);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let polled = this.state.with(|stream| stream.poll_read(cx, into));
        if polled.is_ready() {
            this.came(&into.filled()[before..]);
        }
        this.state.check(READS, cx, polled)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = this.state.with(|stream| stream.poll_write(cx, bytes));
        this.went(cx, &[io::IoSlice::new(bytes)], polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = this
            .state
            .with(|stream| stream.poll_write_vectored(cx, bytes));
        this.went(cx, bytes, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = this.state.with(|stream| stream.poll_flush(cx));
        this.state.check(WRITES, cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = this.state.with(|stream| stream.poll_shutdown(cx));
        this.state.check(WRITES, cx, polled)
    }
}

impl Wire {
    fn went(
        &mut self,
        cx: &Context<'_>,
        slices: &[io::IoSlice<'_>],
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let state = &self.state;
        if let Poll::Ready(Ok(count)) = &polled {
            let mut left = *count;
            state.written.fetch_add(left as u64, Ordering::Relaxed);
            if let Some([_, frames]) = &mut self.frames {
                for slice in slices {
                    let took = left.min(slice.len());
                    left -= took;
                    frames.follow(&slice[..took], |said| {
                        if said == Said::Head {
                            state.sent.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            }
        }
        state.check(WRITES, cx, polled)
    }
}
