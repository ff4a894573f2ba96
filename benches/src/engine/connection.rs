//! One connection as a careful client holds it: opened without blocking, looked at before it is written to.
//!
//! Owns: the socket, and what must be known about it when a request on it is lost. Not here: what is sent on it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use crate::tally::Age;

pub(super) struct Connection {
    pub(super) socket: TcpStream,
    /// The client's port.
    pub(super) port: u16,
    pub(super) age: Age,
    /// Label of the request before.
    pub(super) before: &'static str,
    /// It was surely busy until here: its connect, or the last poll before the answer's end was read.
    pub(super) busy_until: Instant,
    /// When its connect began.
    pub(super) since: Instant,
}

/// What the look at a connection shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Look {
    Clear,
    Closed,
}

/// How far a connect has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    Pending,
    Connected,
    Failed(ErrorKind),
}

impl Connection {
    /// Begins a connect.
    pub(super) fn open(
        registry: &Registry,
        token: Token,
        address: SocketAddr,
        receive_buffer: Option<usize>,
    ) -> io::Result<Self> {
        let since = Instant::now();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let mut socket = TcpStream::from_std(socket.into());
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            port: socket.local_addr().map_or(0, |address| address.port()),
            socket,
            age: Age::Fresh,
            before: "nothing",
            busy_until: since,
            since,
        })
    }

    /// Says how far the connect has come.
    pub(super) fn progress(&self) -> Progress {
        match self.socket.take_error() {
            Ok(Some(error)) | Err(error) => return Progress::Failed(error.kind()),
            Ok(None) => {}
        }
        match self.socket.peer_addr() {
            Ok(_) => Progress::Connected,
            // An event of the descriptor's former owner: nothing has happened yet.
            Err(error) if error.kind() == ErrorKind::NotConnected => Progress::Pending,
            Err(error) => Progress::Failed(error.kind()),
        }
    }

    /// Looks whether the server has closed.
    pub(super) fn look(&self) -> Look {
        match self.socket.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Look::Clear,
            // A byte that nobody asked for is a farewell: the connection is not to be used either.
            Ok(_) | Err(_) => Look::Closed,
        }
    }
}
