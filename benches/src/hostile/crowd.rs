//! A crowd: one thread that plays one attack with many peers until it is told to stop.
//!
//! Owns: the thread, connects (a bounded number at a time), the life of each peer, and the counts of both sides' ends. Not
//! here: what an attack writes (parent).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Attack, Awaits, Reading, Then};

/// Connects under way at the same time: below the usual backlog.
const CONNECTS_AT_ONCE: usize = 128;
/// Longest wait for a connect, or for a head that a peer awaits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rest before a peer connects again.
const REST: Duration = Duration::from_millis(20);

/// What the peers of a crowd did so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections opened.
    connected: AtomicU64,
    /// Connects that were refused, or failed otherwise.
    failed: AtomicU64,
    /// Connections that the server ended.
    ended_by_server: AtomicU64,
    /// Bytes written.
    written: AtomicU64,
    /// Peers that did all of their opening at least once.
    placed: AtomicUsize,
    /// Connections that are open.
    open: AtomicUsize,
}

impl Counts {
    // Relaxed throughout: counters for people, nothing is published through them.

    /// Connections opened.
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Connects that were refused, or failed otherwise.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Connections that the server ended.
    pub fn ended_by_server(&self) -> u64 {
        self.ended_by_server.load(Ordering::Relaxed)
    }

    /// Bytes written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many peers have done their opening at least once.
    pub fn placed(&self) -> usize {
        self.placed.load(Ordering::Relaxed)
    }
}

/// Peers at work; stopped and joined when dropped.
#[derive(Debug)]
pub struct Crowd {
    stop: CancellationToken,
    counts: Arc<Counts>,
    peers: usize,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Starts `peers` peers against the server behind `address`.
    ///
    /// # Errors
    ///
    /// When the thread or its runtime cannot be had.
    pub fn start(attack: &Attack, peers: usize, address: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let counts = Arc::new(Counts::default());
        let attack = Arc::new(attack.clone());
        let thread = std::thread::Builder::new().name("crowd".into()).spawn({
            let (stop, counts) = (stop.clone(), Arc::clone(&counts));
            move || runtime.block_on(play(attack, peers, address, stop, counts))
        })?;
        Ok(Self {
            stop,
            counts,
            peers,
            thread: Some(thread),
        })
    }

    /// What the peers did so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Waits until every peer has done its opening once, or the time is over; returns how many have.
    pub fn wait_placed(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        while self.counts.placed() < self.peers && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.counts.placed()
    }

    /// Ends all peers and waits for the thread.
    pub fn stop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of a peer has been printed; the crowd is gone either way.
            let _ = thread.join();
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn play(
    attack: Arc<Attack>,
    peers: usize,
    address: SocketAddr,
    stop: CancellationToken,
    counts: Arc<Counts>,
) {
    let connects = Arc::new(Semaphore::new(CONNECTS_AT_ONCE));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..peers {
        let peer = Peer {
            attack: Arc::clone(&attack),
            address,
            connects: Arc::clone(&connects),
            counts: Arc::clone(&counts),
            placed: false,
        };
        let stop = stop.clone();
        tasks.spawn(async move { stop.run_until_cancelled_owned(peer.live()).await });
    }
    while tasks.join_next().await.is_some() {}
    // Those that are done before the end count as placed, and the crowd still ends only when told.
    stop.cancelled().await;
}

struct Peer {
    attack: Arc<Attack>,
    address: SocketAddr,
    connects: Arc<Semaphore>,
    counts: Arc<Counts>,
    placed: bool,
}

impl Peer {
    async fn live(mut self) {
        for _ in 0..=self.attack.again {
            match self.connect().await {
                Ok(stream) => {
                    self.counts.connected.fetch_add(1, Ordering::Relaxed);
                    let _open = Open::count(&self.counts);
                    if self.play(stream).await == Ended::ByServer {
                        self.counts.ended_by_server.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(_) => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            sleep(REST).await;
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let _permit = self.connects.acquire().await.expect("never closed");
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.attack.receive_buffer {
            SockRef::from(&socket).set_recv_buffer_size(bytes)?;
        }
        let stream = timeout(PATIENCE, socket.connect(self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn play(&mut self, stream: TcpStream) -> Ended {
        let (mut read, mut write) = stream.into_split();
        if self.write(&mut write, &self.attack.opening).await.is_err() {
            return Ended::ByServer;
        }
        if self.attack.awaits == Awaits::Head {
            match timeout(PATIENCE, skip_head(&mut read)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ended::ByServer,
                Err(_) => return Ended::ByUs,
            }
        }
        if !std::mem::replace(&mut self.placed, true) {
            self.counts.placed.fetch_add(1, Ordering::Relaxed);
        }
        match self.attack.reading {
            Reading::Never => self.act(&mut write).await,
            Reading::Discard => tokio::select! {
                ended = self.discard(&mut read) => ended,
                ended = self.act(&mut write) => ended,
            },
        }
    }

    /// Does what follows the opening; holds for ever where nothing more is to be done.
    async fn act(&self, write: &mut OwnedWriteHalf) -> Ended {
        match self.attack.then {
            Then::Leave => return Ended::ByUs,
            Then::Hold => {}
            Then::Drip { bytes, every } => loop {
                sleep(every).await;
                if self.write(write, bytes).await.is_err() {
                    return Ended::ByServer;
                }
            },
            Then::Flood { burst, most } => {
                for n in 0..most {
                    if self.write(write, &burst(n)).await.is_err() {
                        return Ended::ByServer;
                    }
                    // The socket may take everything at once: others have their turn too.
                    tokio::task::yield_now().await;
                }
            }
        }
        std::future::pending().await
    }

    async fn write(&self, write: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
        write.write_all(bytes).await?;
        let written = bytes.len() as u64;
        self.counts.written.fetch_add(written, Ordering::Relaxed);
        Ok(())
    }

    async fn discard(&self, read: &mut OwnedReadHalf) -> Ended {
        loop {
            // On the stack only while there is something to read: ten thousand idle peers must stay cheap.
            if read.readable().await.is_err() {
                return Ended::ByServer;
            }
            let mut buffer = [0; 4096];
            match read.try_read(&mut buffer) {
                Ok(0) => return Ended::ByServer,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Ended::ByServer,
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    ByServer,
    ByUs,
}

/// Reads up to the end of a head, byte by byte: what follows it stays in the socket.
async fn skip_head(read: &mut OwnedReadHalf) -> io::Result<()> {
    const LONGEST: usize = 16 * 1024;
    let mut last = [0; 4];
    for _ in 0..LONGEST {
        last.rotate_left(1);
        last[3] = read.read_u8().await?;
        if &last == b"\r\n\r\n" {
            return Ok(());
        }
    }
    Err(io::Error::from(io::ErrorKind::InvalidData))
}

/// Counts an open connection while it lives, also when its peer is stopped in the middle.
struct Open(Arc<Counts>);

impl Open {
    fn count(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
