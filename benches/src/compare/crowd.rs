//! Guests that wait, and what they see of a server that leaves.
//!
//! Owns: the epoll loop of one departure: who was told, closed and answered when, and when the process had ended. The few
//! guests with a request in flight, and the process itself, have an epoll of their own that is looked at between small
//! batches of the others: what is to be timed must not queue behind ten thousand closes. Not here: the server's listener.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::link::{Cover, Link};
use super::speech::{Ear, Heard, Speech};
use crate::server::{Server, Signal};

const PRESSING: Token = Token(usize::MAX);
const EXIT: Token = Token(usize::MAX - 1);
/// The most events that are handled before the pressing ones are looked at.
const BATCH: usize = 32;
/// Guests that come from one loopback address, which has ports for 28 000. Only those from a further one have to bind to
/// it, for which the kernel searches long among thousands of ports.
const FROM_ONE_SOURCE: usize = 20_000;
/// How long guests are watched after the process has ended.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// What a guest does when it is told to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parting {
    /// Closes its side where the protocol leaves that to the client (HTTP/2).
    Closes,
    /// Keeps its side open until the server closes.
    Stays,
}

struct Guest {
    socket: Option<TcpStream>,
    ear: Ear,
    speech: Speech,
    told: bool,
}

/// Connections that have had an answer each, and wait.
pub struct Crowd {
    poll: Poll,
    guests: Vec<Guest>,
}

impl std::fmt::Debug for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crowd")
            .field("guests", &self.guests.len())
            .finish_non_exhaustive()
    }
}

/// What was seen of a departure, on the signal's clock.
#[derive(Debug, Default)]
pub struct Departure {
    /// When idle guests were told to go, in order.
    pub told: Vec<Duration>,
    /// When idle guests saw the end, in order.
    pub closed: Vec<Duration>,
    /// When requests in flight were answered whole, in order.
    pub answered: Vec<Duration>,
    /// When the process had ended; nothing if it did not.
    pub exit: Option<Duration>,
    /// How.
    pub status: Option<ExitStatus>,
}

/// How a departure is brought about.
#[derive(Clone, Copy, Debug)]
pub struct Farewell<'a> {
    /// The signal.
    pub signal: Signal,
    /// Requests that are in flight when it is sent: how many, and for which path.
    pub busy: Option<(usize, &'a str)>,
    /// How long they have been when it is sent.
    pub before: Duration,
    /// What guests do who are told to go.
    pub parting: Parting,
    /// The longest wait for the end.
    pub patience: Duration,
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the poll descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            guests: Vec::new(),
        })
    }

    /// Lets `count` more in, one after the other, each with one answer to `GET /`.
    ///
    /// # Errors
    ///
    /// When a connection or its answer fails.
    pub fn admit(
        &mut self,
        address: SocketAddr,
        speech: Speech,
        cover: &Cover,
        count: usize,
    ) -> io::Result<()> {
        for _ in 0..count {
            let source = self.guests.len() / FROM_ONE_SOURCE;
            let from = Ipv4Addr::new(127, 0, 0, 1 + source as u8);
            let mut link = Link::open_from(from, address, speech, cover)?;
            if speech != Speech::WebSocket {
                link.ask("/")?;
                link.wait_answer()?;
            }
            let token = Token(self.guests.len());
            let guest = Guest::new(link, speech, &self.poll, token)?;
            self.guests.push(guest);
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.guests.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Sends the signal and watches until the process has ended.
    ///
    /// `at_signal` is called with the instant before the signal is sent.
    ///
    /// # Errors
    ///
    /// When a request in flight cannot be made, or the kernel refuses to poll.
    pub fn watch(
        mut self,
        server: &mut Server,
        farewell: Farewell<'_>,
        at_signal: impl FnOnce(Instant),
    ) -> io::Result<Departure> {
        let mut pressing = Pressing::new(&self.poll, server, farewell.busy)?;
        std::thread::sleep(farewell.before);
        let signalled_at = Instant::now();
        at_signal(signalled_at);
        server.signal(farewell.signal);
        let mut departure = Departure::default();
        let mut give_up_at = signalled_at + farewell.patience;
        let mut events = Events::with_capacity(BATCH);
        let mut buffer = vec![0; 4096];
        while Instant::now() < give_up_at {
            if departure.exit.is_some() && departure.closed.len() == self.guests.len() {
                break;
            }
            poll_within(
                &mut self.poll,
                &mut events,
                give_up_at.saturating_duration_since(Instant::now()),
            )?;
            pressing.look(server, signalled_at, &mut departure, &mut buffer)?;
            if departure.exit.is_some() {
                give_up_at = give_up_at.min(Instant::now() + AFTERWARDS);
            }
            for event in &events {
                if event.token() != PRESSING {
                    let guest = &mut self.guests[event.token().0];
                    guest.wake(farewell.parting, signalled_at, &mut departure, &mut buffer);
                }
            }
        }
        departure.status = server.exit_status();
        Ok(departure)
    }
}

/// Those whose moments are measured.
struct Pressing {
    poll: Poll,
    events: Events,
    guests: Vec<Guest>,
}

impl Pressing {
    fn new(outer: &Poll, server: &Server, busy: Option<(usize, &str)>) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut SourceFd(&server.pid_fd()), EXIT, Interest::READABLE)?;
        let mut guests = Vec::new();
        let (count, path) = busy.unwrap_or((0, "/"));
        let mut links = Vec::new();
        for _ in 0..count {
            links.push(Link::open(server.address(), Speech::Http1, &Cover::Plain)?);
        }
        for (number, mut link) in links.into_iter().enumerate() {
            link.ask(path)?;
            guests.push(Guest::new(link, Speech::Http1, &poll, Token(number))?);
        }
        let fd = poll.as_raw_fd();
        outer
            .registry()
            .register(&mut SourceFd(&fd), PRESSING, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(BATCH),
            guests,
        })
    }

    fn look(
        &mut self,
        server: &mut Server,
        since: Instant,
        departure: &mut Departure,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        loop {
            poll_within(&mut self.poll, &mut self.events, Duration::ZERO)?;
            if self.events.is_empty() {
                return Ok(());
            }
            let now = since.elapsed();
            for event in &self.events {
                if event.token() != EXIT {
                    let guest = &mut self.guests[event.token().0];
                    let (heard, ended) = guest.read(buffer);
                    // As clients do: who is told `close`, or sees the end, closes.
                    if heard.told || ended {
                        guest.socket = None;
                    }
                    departure.answered.extend((0..heard.answers).map(|_| now));
                } else if server.exit_status().is_some() {
                    departure.exit.get_or_insert(now);
                }
            }
        }
    }
}

impl Guest {
    fn new(link: Link, speech: Speech, poll: &Poll, token: Token) -> io::Result<Self> {
        let (socket, ear) = link.into_parts();
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        poll.registry()
            .register(&mut socket, token, Interest::READABLE)?;
        Ok(Self {
            socket: Some(socket),
            ear,
            speech,
            told: false,
        })
    }

    fn wake(
        &mut self,
        parting: Parting,
        since: Instant,
        departure: &mut Departure,
        buffer: &mut [u8],
    ) {
        if self.socket.is_none() {
            return;
        }
        let (heard, ended) = self.read(buffer);
        if heard.told && !self.told {
            self.told = true;
            departure.told.push(since.elapsed());
        }
        let leaves = self.told && parting == Parting::Closes && self.speech == Speech::Http2;
        if ended || leaves {
            self.socket = None;
            departure.closed.push(since.elapsed());
        }
    }

    /// Reads what there is; says whether the connection has ended.
    fn read(&mut self, buffer: &mut [u8]) -> (Heard, bool) {
        let mut all = Heard::default();
        let Some(socket) = &mut self.socket else {
            return (all, true);
        };
        loop {
            match socket.read(buffer) {
                Ok(0) => return (all, true),
                Ok(read) => {
                    let mut reply = Vec::new();
                    let heard = self.ear.take(&buffer[..read], &mut reply);
                    all.answers += heard.answers;
                    all.told |= heard.told;
                    // A few bytes on an idle connection; if they cannot be written, it has ended, and the read says so.
                    let _ = socket.write(&reply);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (all, false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return (all, true),
            }
        }
    }
}

fn poll_within(poll: &mut Poll, events: &mut Events, wait: Duration) -> io::Result<()> {
    match poll.poll(events, Some(wait)) {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}
