//! The bytes of one connection: counted, followed, and cut where its end cannot wait.
//!
//! Owns the socket, and with it the truth about whether the connection is open: whatever holds it, hyper or h2, it is over when this is
//! dropped, and then the pool is told.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::frames::{Frames, Said};
use super::pool::Pool;
use super::pool::counts::ClosedBy;
use super::pool::machine::{ConnId, Speaks};

/// How many interim responses (1xx) may come to a request; more are a flood.
const MOST_INTERIM: u32 = 32;

/// Of how many streams of a connection heads are counted at a time, beyond those that may be open: h2 ignores what comes for some that were
/// reset here, so that their ids can push out those of others.
const MORE_COUNTED: usize = 64;

/// What a socket can do, in the clear or under TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    fn tcp(&self) -> &TcpStream;

    /// Whether bytes may have left when it says that writing failed: what it was given goes on in records of its own, by several calls.
    fn is_opaque(&self) -> bool {
        false
    }
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
    /// On HTTP/1.1: interim responses to the request that is under way.
    interim: AtomicU32,
    /// Heads that were written, on HTTP/2.
    sent: AtomicU64,
    /// Requests that were handed to hyper and are not over.
    under_way: AtomicUsize,
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
    pub(super) fn ask(&self) -> Mark {
        self.interim.store(0, Ordering::Relaxed);
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

    /// An interim response came on HTTP/1.1. More than any honest server sends end the connection.
    pub(super) fn interim(&self) {
        if self.interim.fetch_add(1, Ordering::Relaxed) >= MOST_INTERIM {
            self.flood();
        }
    }

    fn flood(&self) {
        self.flooded.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// A request is handed to hyper.
    pub(crate) fn begins(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// One that was handed over is over.
    pub(crate) fn ends(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether no request is on it. Relaxed: whoever comes at the same moment as another races with the server anyway.
    pub(crate) fn rests(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
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

    fn is_opaque(&self) -> bool {
        self.stream()
            .as_ref()
            .is_some_and(|stream| stream.is_opaque())
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
    heads: Heads,
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
            heads: Heads::default(),
            gone: Gone { pool, id },
        }
    }

    /// Follows the frames that pass.
    pub(super) fn following(mut self, streams: usize) -> Self {
        self.heads.most = streams.saturating_add(MORE_COUNTED);
        self.frames = Some([Frames::default(), Frames::of_client()]);
        self
    }

    fn came(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.state.read.fetch_add(count, Ordering::Relaxed);
        let Some([frames, _]) = &mut self.frames else {
            return;
        };
        let (state, gone, heads) = (&self.state, &self.gone, &mut self.heads);
        frames.follow(bytes, |said| match said {
            Said::Head { stream, is_last } => {
                if heads.is_flood(stream, is_last) {
                    state.flood();
                }
            }
            Said::End(stream) => heads.forget(stream),
            Said::Allows(streams) => gone.pool.allow(gone.id, streams),
            Said::GoAway => gone.pool.retire(gone.id, ClosedBy::Peer),
        });
    }
}

/// On HTTP/2: heads that came for streams that are not over.
#[derive(Debug, Default)]
struct Heads {
    of: BTreeMap<u32, u32>,
    most: usize,
}

impl Heads {
    /// One more came. Among those that do not end their stream is one that is final.
    fn is_flood(&mut self, stream: u32, is_last: bool) -> bool {
        if is_last {
            self.forget(stream);
            return false;
        }
        if self.of.len() >= self.most && !self.of.contains_key(&stream) {
            self.of.pop_first();
        }
        let count = self.of.entry(stream).or_default();
        *count += 1;
        *count > MOST_INTERIM + 1
    }

    fn forget(&mut self, stream: u32) {
        self.of.remove(&stream);
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
        if matches!(polled, Poll::Ready(Err(_))) && state.is_opaque() {
            state.written.fetch_add(1, Ordering::Relaxed);
            state.sent.fetch_add(1, Ordering::Relaxed);
        }
        if let Poll::Ready(Ok(count)) = &polled {
            let mut left = *count;
            state.written.fetch_add(left as u64, Ordering::Relaxed);
            if let Some([_, frames]) = &mut self.frames {
                for slice in slices {
                    let took = left.min(slice.len());
                    left -= took;
                    frames.follow(&slice[..took], |said| {
                        if matches!(said, Said::Head { .. }) {
                            state.sent.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            }
        }
        state.check(WRITES, cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use crate::client::pool::machine::Bounds;

    /// Whatever it is given goes out, and then it fails.
    struct Torn {
        tcp: TcpStream,
        is_opaque: bool,
    }

    impl Stream for Torn {
        fn tcp(&self) -> &TcpStream {
            &self.tcp
        }

        fn is_opaque(&self) -> bool {
            self.is_opaque
        }
    }

    impl AsyncRead for Torn {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Torn {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.tcp.try_write(bytes).expect("there is room");
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_may_have_gone_out_before_an_error_counts_as_written() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("an address");
        let pool = Pool::new(Bounds {
            connections: 1,
            per_host: 1,
            waiting: 1,
            streams: 1,
            idle: Duration::ZERO,
        });
        for (is_opaque, speaks) in [
            (true, Speaks::Http1),
            (true, Speaks::Http2),
            (false, Speaks::Http1),
            (false, Speaks::Http2),
        ] {
            let tcp = TcpStream::connect(addr).await.expect("connect");
            let state = Arc::<WireState>::default();
            let stream = Box::new(Torn { tcp, is_opaque });
            let (pool, id) = (Arc::clone(&pool), ConnId::default());
            let mut wire = Wire::new(stream, Arc::clone(&state), pool, id).following(1);
            let mark = state.ask();
            wire.write_all(b"a request").await.expect_err("torn");
            assert_eq!(state.has_written(mark, speaks), is_opaque, "{speaks:?}");
        }
    }

    #[test]
    fn heads_are_counted_by_stream_and_for_no_more_streams_than_may_be() {
        let mut heads = Heads {
            most: 4,
            ..Heads::default()
        };
        for stream in 0..1_000 {
            for _ in 0..=MOST_INTERIM {
                assert!(!heads.is_flood(stream, false));
            }
            assert!(!heads.is_flood(stream, true));
        }
        assert!(heads.of.is_empty());
        for stream in 0..1_000 {
            assert!(!heads.is_flood(stream, false));
            assert!(heads.of.len() <= 4);
        }
        for _ in 0..MOST_INTERIM {
            assert!(!heads.is_flood(999, false));
        }
        assert!(heads.is_flood(999, false));
    }
}
