//! One thread that plays all clients of a round, sends the signals, and sees the server's end.
//!
//! Owns: the epoll loop, timers, the instants of signal and exit. One thread, so that the order of "look", "write"
//! and "signal" is known exactly and the load costs the machine little. Not here: what one client does with its
//! connection (`client`), what it wants (`script`), what is counted (`tally`).

mod client;
mod connection;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::honest::Watch;
use crate::script::Script;
use crate::server::{Server, Signal};
use crate::tally::Tally;
use client::Client;

const EXIT: Token = Token(usize::MAX);
/// Bounds how long a batch of events can delay a signal whose instant has come.
const EVENTS_AT_ONCE: usize = 256;

/// The load of one round and when it is told to stop.
#[derive(Clone, Debug)]
pub struct Load {
    /// The clients.
    pub scripts: Vec<Script>,
    /// Signals and when they are sent, after the start of the round, ascending; the first is T.
    pub signals: Vec<(Duration, Signal)>,
    /// How long clients and server may take after the last signal before they are given up.
    pub patience: Duration,
}

/// What one round saw.
#[derive(Debug)]
pub struct Round {
    /// The clients' counts.
    pub tally: Tally,
    /// When the first signal was sent.
    pub signalled_at: Instant,
    /// From the first signal to the server's end; nothing if it was given up.
    pub exit_after: Option<Duration>,
    /// How the server ended.
    pub status: Option<ExitStatus>,
}

/// Plays a round against a running server.
///
/// # Errors
///
/// When the kernel refuses the poll descriptor.
///
/// # Panics
///
/// When `load` holds no signal.
pub fn run(load: &Load, server: &mut Server) -> io::Result<Round> {
    run_beside(load, server, &Watch::default())
}

/// Plays a round, and tells those who play beside it when the signal is sent.
///
/// # Errors
///
/// When the kernel refuses the poll descriptor.
///
/// # Panics
///
/// When `load` holds no signal.
pub fn run_beside(load: &Load, server: &mut Server, watch: &Watch) -> io::Result<Round> {
    let mut poll = Poll::new()?;
    let pid_fd = server.pid_fd();
    poll.registry()
        .register(&mut SourceFd(&pid_fd), EXIT, Interest::READABLE)?;
    let started = Instant::now();
    let mut world = World::new(poll.registry().try_clone()?, server.address(), started);
    let mut clients: Vec<Client> = load
        .scripts
        .iter()
        .enumerate()
        .map(|(id, script)| Client::new(id, script.clone()))
        .collect();
    for client in &mut clients {
        client.start(started, &mut world);
    }
    let mut signals = load
        .signals
        .iter()
        .map(|&(after, signal)| (started + after, signal))
        .peekable();
    let last = load.signals.last().expect("a round has a signal").0;
    let give_up_at = started + last + load.patience;
    let mut events = Events::with_capacity(EVENTS_AT_ONCE);
    loop {
        let now = Instant::now();
        while let Some((_, signal)) = signals.next_if(|&(at, _)| at <= now) {
            // Taken before the kill: nothing that the signal causes can seem to precede it.
            world.signalled_at.get_or_insert_with(|| watch.signal());
            server.signal(signal);
        }
        world.play_due_timers(&mut clients);
        let quiet = signals.peek().is_none() && clients.iter().all(Client::is_retired);
        if (quiet && world.exited_at.is_some()) || now >= give_up_at {
            break;
        }
        let signal_at = signals.peek().map(|&(at, _)| at);
        let wake_at = [world.timers.next_at(), signal_at]
            .into_iter()
            .flatten()
            .fold(give_up_at, Instant::min);
        poll_until(&mut poll, &mut events, wake_at)?;
        world.polled_before = std::mem::replace(&mut world.polled, Instant::now());
        for event in &events {
            if event.token() != EXIT {
                clients[event.token().0].wake(&mut world);
            } else if server.exit_status().is_some() {
                world.exited_at.get_or_insert(world.polled);
            }
        }
    }
    for client in &mut clients {
        client.give_up(&mut world);
    }
    Ok(world.close(server))
}

fn poll_until(poll: &mut Poll, events: &mut Events, wake_at: Instant) -> io::Result<()> {
    let wait = wake_at.saturating_duration_since(Instant::now());
    match poll.poll(events, Some(wait)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}

/// What clients share while a round is played.
struct World {
    registry: Registry,
    address: SocketAddr,
    timers: Timers,
    tally: Tally,
    /// When the poll before the current one returned: what is read now arrived after it.
    polled_before: Instant,
    /// When the current poll returned.
    polled: Instant,
    signalled_at: Option<Instant>,
    exited_at: Option<Instant>,
    buffer: Vec<u8>,
}

impl World {
    fn new(registry: Registry, address: SocketAddr, started: Instant) -> Self {
        Self {
            registry,
            address,
            timers: Timers::default(),
            tally: Tally::default(),
            polled_before: started,
            polled: started,
            signalled_at: None,
            exited_at: None,
            buffer: vec![0; 64 * 1024],
        }
    }

    fn close(self, server: &mut Server) -> Round {
        let signalled_at = self
            .signalled_at
            .expect("a round lasts longer than its signals");
        Round {
            exit_after: self
                .exited_at
                .map(|at| at.saturating_duration_since(signalled_at)),
            tally: self.tally,
            signalled_at,
            status: server.exit_status(),
        }
    }

    fn play_due_timers(&mut self, clients: &mut [Client]) {
        let now = Instant::now();
        while let Some((client, generation)) = self.timers.take_due(now) {
            clients[client].time(generation, self);
        }
    }
}

/// Timers of all clients: at most one is live per client, older ones are recognised by their generation.
#[derive(Default)]
struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize, u64)>>,
}

impl Timers {
    fn set(&mut self, at: Instant, client: usize, generation: u64) {
        self.heap.push(Reverse((at, client, generation)));
    }

    fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    fn take_due(&mut self, now: Instant) -> Option<(usize, u64)> {
        let &Reverse((at, client, generation)) = self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((client, generation))
    }
}
