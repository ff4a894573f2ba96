//! A connection without its task, its registration and its buffers.
//!
//! Owns how a stream is put aside and which kinds of sockets there are; what is remembered of the connection is [`Facts`]'s business.

use std::any::Any;
use std::io::{self, Read};
use std::net;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net as unix;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::server::host::Stay;
use crate::server::io::Stream;
use crate::server::secure::Plain;
use crate::server::watch::Facts;

/// A connection that waits for its client.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) socket: Socket,
    /// What stands between the socket and HTTP, where something does.
    pub(crate) held: Option<Held>,
    pub(crate) facts: Facts,
    /// What it counts for.
    pub(crate) stay: Stay,
}

impl Parked {
    /// Since when it has been idle.
    pub(crate) const fn since(&self) -> Duration {
        self.facts.since
    }
}

/// A session of TLS without its socket; who made it knows its type.
pub(crate) type Held = Box<dyn Any + Send>;

/// A socket that the runtime does not know.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(net::TcpStream),
    Unix(unix::UnixStream),
}

impl Socket {
    /// Hands the socket to the runtime again.
    ///
    /// The runtime closes what it cannot register: it gets a second descriptor, and this one is closed when that has gone well. Where no
    /// descriptor is to be had it gets this one.
    ///
    /// # Errors
    /// The kernel has no room for its registration. The socket comes back, unless there was no second descriptor.
    pub(crate) fn into_plain(self) -> Result<Plain, Option<Self>> {
        match self.try_clone() {
            Ok(second) => second.register().map_err(|_| Some(self)),
            Err(_) => self.register().map_err(|_| None),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    fn register(self) -> io::Result<Plain> {
        Ok(match self {
            Self::Tcp(socket) => Plain::Tcp(TcpStream::from_std(socket)?),
            Self::Unix(socket) => Plain::Unix(UnixStream::from_std(socket)?),
        })
    }

    /// Whether the client is on this host: what is said is in its own queue then, and nothing has to be repeated.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket
                .peer_addr()
                .is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
            Self::Unix(_) => true,
        }
    }

    /// Reads something and throws it away, without waiting.
    ///
    /// # Errors
    /// There is nothing to read, or the connection is broken.
    pub(super) fn discard(&self) -> io::Result<usize> {
        let mut scratch = [0; 4096];
        match self {
            Self::Tcp(socket) => (&*socket).read(&mut scratch),
            Self::Unix(socket) => (&*socket).read(&mut scratch),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A stream that can be put aside. Whoever does that has seen that nothing of it is under way.
pub(crate) trait Aside: Stream {
    /// How many times it has its connection's notes.
    const WATCHES: usize;

    /// Takes the socket out of the runtime's hands; gives it with what it was held by.
    ///
    /// # Errors
    /// The kernel does not know the socket's registration: it is closed.
    fn put_aside(self) -> io::Result<(Socket, Option<Held>)>;
}

impl Aside for TcpStream {
    const WATCHES: usize = 0;

    fn put_aside(self) -> io::Result<(Socket, Option<Held>)> {
        Ok((Socket::Tcp(self.into_std()?), None))
    }
}

impl Aside for UnixStream {
    const WATCHES: usize = 0;

    fn put_aside(self) -> io::Result<(Socket, Option<Held>)> {
        Ok((Socket::Unix(self.into_std()?), None))
    }
}
