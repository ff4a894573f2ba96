//! Honest clients of every protocol, on one thread of their own: what they ask for, they are owed.
//!
//! Owns: who takes part, the thread they live on, what they know of the round (the signal), and how they connect. Not here:
//! one protocol each (the modules beside), what is counted (`ledger`), the HTTP/1.1 clients without TLS of `chaos`
//! (`crate::engine`).

mod door;
mod events;
mod grpc;
mod http1;
mod http2;
pub mod ledger;
mod tunnel;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::rng::Rng;
use crate::script::{AfterClose, Kind, Promise, Script, Think};
use crate::target::{Door, Speech};
use door::Path;
pub use door::Route;
use ledger::Ledger;

/// What all who take part in a round know of it.
#[derive(Debug, Default)]
pub struct Watch {
    signalled_at: OnceLock<Instant>,
}

impl Watch {
    /// Says that the first signal is about to be sent; returns when that was first said.
    pub fn signal(&self) -> Instant {
        *self.signalled_at.get_or_init(Instant::now)
    }

    /// When the first signal was sent, once it was.
    pub fn signalled_at(&self) -> Option<Instant> {
        self.signalled_at.get().copied()
    }
}

/// What one client does for the whole round.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// Requests of HTTP/1.1, one after the other.
    Http1 {
        /// Where it connects.
        door: Door,
        /// Its requests.
        script: Script,
    },
    /// One HTTP/2 connection with so many streams at a time, each with one request after the other.
    Http2 {
        /// Where it connects.
        door: Door,
        /// Streams at a time.
        streams: u64,
        /// What each asks for.
        kind: Kind,
        /// Rest between two requests of a stream.
        think: Think,
    },
    /// gRPC calls of `Say`, so many at a time on one connection.
    Grpc {
        /// Where it connects.
        door: Door,
        /// Calls at a time.
        streams: u64,
        /// Longest that a call takes on the server.
        longest: Duration,
        /// Rest between two calls.
        think: Think,
    },
    /// Messages that must come back.
    WebSocket {
        /// Where it connects.
        door: Door,
        /// By upgrade of HTTP/1.1, or by extended CONNECT of HTTP/2.
        route: Route,
        /// Largest message in bytes.
        largest: u64,
        /// Rest between two messages.
        think: Think,
    },
    /// A reader of events, which reconnects when its stream has ended.
    Events {
        /// Where it connects.
        door: Door,
        /// How often an event comes.
        every: Duration,
    },
}

impl Role {
    /// What the server must speak for it.
    pub fn speaks(&self) -> impl Iterator<Item = Speech> {
        let (door, speech) = match self {
            Self::Http1 { door, .. } => (door, Speech::Http1),
            Self::Http2 { door, .. } => (door, Speech::Http2),
            Self::Grpc { door, .. } => (door, Speech::Grpc),
            Self::WebSocket { door, route, .. } => match route {
                Route::Http1 => (door, Speech::WebSocket),
                Route::Http2 => (door, Speech::Tunnel),
            },
            Self::Events { door, .. } => (door, Speech::Events),
        };
        let tls = (*door == Door::Tls).then_some(Speech::Tls);
        [Some(speech), tls].into_iter().flatten()
    }
}

/// One client.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What it does.
    pub role: Role,
    /// What it does when its connection has ended after the signal.
    pub after_close: AfterClose,
    /// Seed of its own random sequence.
    pub seed: u64,
    /// When it begins, after the start of the party.
    pub start: Duration,
}

/// What the clients of one party share.
#[derive(Debug)]
pub struct Field {
    /// The listener without TLS.
    pub plain: SocketAddr,
    /// The listener with TLS, where there is one.
    pub tls: Option<SocketAddr>,
    /// What is promised to idle HTTP/1.1 connections.
    pub promise: Promise,
    /// How long one exchange may take before it counts as hung.
    pub patience: Duration,
    /// What is known of the round.
    pub watch: Arc<Watch>,
    ledger: Mutex<Ledger>,
}

impl Field {
    /// A field without a count yet.
    pub fn new(
        plain: SocketAddr,
        tls: Option<SocketAddr>,
        promise: Promise,
        patience: Duration,
        watch: Arc<Watch>,
    ) -> Self {
        Self {
            plain,
            tls,
            promise,
            patience,
            watch,
            ledger: Mutex::default(),
        }
    }

    /// The counts so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients at work on a thread of their own.
#[derive(Debug)]
pub struct Party {
    field: Arc<Field>,
    stop: CancellationToken,
    over: mpsc::Receiver<()>,
}

impl Party {
    /// Starts all members.
    ///
    /// # Errors
    ///
    /// When the thread or its runtime cannot be had.
    pub fn start(field: Field, members: Vec<Member>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (field, stop) = (Arc::new(field), CancellationToken::new());
        let (tell, over) = mpsc::channel();
        std::thread::Builder::new().name("honest".into()).spawn({
            let (field, stop) = (Arc::clone(&field), stop.clone());
            move || {
                runtime.block_on(stop.run_until_cancelled_owned(play(field, members)));
                // Nobody waits for a party that was given up.
                let _ = tell.send(());
            }
        })?;
        Ok(Self { field, stop, over })
    }

    /// What the members share, and what was counted so far.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// Waits until every member has gone home; false when some had to be sent away after `within`.
    pub fn finish(&self, within: Duration) -> bool {
        let at_once = self.over.recv_timeout(within);
        if at_once == Err(RecvTimeoutError::Timeout) {
            self.stop.cancel();
            let _ = self.over.recv_timeout(Duration::from_secs(5));
        }
        // A disconnect without a word is a panic of the thread.
        at_once.is_ok()
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whether a gRPC call of the demo's echo is answered as gRPC answers, on a fresh connection.
pub fn speaks_grpc(address: SocketAddr, within: Duration) -> bool {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .is_ok_and(|runtime| runtime.block_on(grpc::is_spoken(address, within)))
}

async fn play(field: Arc<Field>, members: Vec<Member>) {
    let mut tasks = tokio::task::JoinSet::new();
    for member in members {
        tasks.spawn(live(Arc::clone(&field), member));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            field
                .ledger()
                .complain(format!("a client of ours failed: {error}"));
        }
    }
}

async fn live(field: Arc<Field>, member: Member) {
    let rng = Rng::new(member.seed);
    let after_close = member.after_close;
    let path = |door| Path::new(&field, door, after_close);
    sleep(member.start).await;
    match member.role {
        Role::Http1 { door, script } => http1::live(path(door), &script, rng).await,
        Role::Http2 {
            door,
            streams,
            kind,
            think,
        } => http2::live(path(door), streams, &http2::Plan { kind, think }, rng).await,
        Role::Grpc {
            door,
            streams,
            longest,
            think,
        } => http2::live(path(door), streams, &grpc::Plan { longest, think }, rng).await,
        Role::WebSocket {
            door,
            route,
            largest,
            think,
        } => websocket::live(path(door), route, largest, &think, rng).await,
        Role::Events { door, every } => events::live(path(door), every).await,
    }
}
