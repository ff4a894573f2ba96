//! Owns one raw client socket: start a connect, look, write, read, without ever blocking.
//! Not: when to do any of it (see `engine`), or what the bytes mean (see `response`).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

/// What a look (`MSG_PEEK`) at a connection shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// No byte and no end: it may be written to.
    Open,
    /// Unread bytes wait.
    Bytes,
    /// The peer ended it in order.
    Fin,
    /// The peer reset it.
    Reset,
}

/// How a connect that was begun stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dial {
    Pending,
    Established,
    Refused,
    /// The peer reset it in the middle, or the local machine ran out of something.
    Failed(i32),
}

/// One non-blocking TCP connection of ours.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Begins a connect.
    pub(crate) fn dial(addr: SocketAddr) -> io::Result<(Self, Dial)> {
        Self::dial_with(addr, None)
    }

    /// The same with a receive buffer of a chosen size, in bytes.
    pub(crate) fn dial_with(
        addr: SocketAddr,
        receive_buffer: Option<usize>,
    ) -> io::Result<(Self, Dial)> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let dial = match socket.connect(&addr.into()) {
            Ok(()) => Dial::Established,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINPROGRESS) => Dial::Pending,
                Some(libc::ECONNREFUSED) => Dial::Refused,
                Some(code) => Dial::Failed(code),
                None => return Err(error),
            },
        };
        Ok((
            Self {
                stream: socket.into(),
            },
            dial,
        ))
    }

    /// How the connect stands; call it when the socket is writable.
    pub(crate) fn dialled(&self) -> Dial {
        match self.stream.take_error() {
            Ok(None) if self.stream.peer_addr().is_ok() => Dial::Established,
            Ok(None) => Dial::Pending,
            Ok(Some(error)) | Err(error) => match error.raw_os_error() {
                Some(libc::ECONNREFUSED) => Dial::Refused,
                code => Dial::Failed(code.unwrap_or(0)),
            },
        }
    }

    pub(crate) fn look(&self) -> Look {
        let mut byte = [0];
        match self.stream.peek(&mut byte) {
            Ok(0) => Look::Fin,
            Ok(_) => Look::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Look::Open,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Look::Open,
            Err(_) => Look::Reset,
        }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    pub(crate) fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(into)
    }

    /// The close to come is a RST.
    pub(crate) fn reset_on_close(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        // A refusal makes it an orderly close: no harm.
        let _ = socket.set_linger(Some(std::time::Duration::ZERO));
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Bytes written that the peer's kernel has not taken yet; 0 where the system does not tell.
    pub(crate) fn unacknowledged(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: TIOCOUTQ writes one int through the pointer; `count` is a live int and the descriptor is open.
        let done = unsafe { libc::ioctl(self.fd(), libc::TIOCOUTQ, &raw mut count) };
        told(done, count)
    }
}

/// Bytes that arrived on a connection and were not read yet.
pub(crate) fn unread(stream: &TcpStream) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int through the pointer; `count` is a live int and the descriptor is open.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    told(done, count)
}

fn told(done: libc::c_int, count: libc::c_int) -> usize {
    if done == 0 {
        usize::try_from(count).unwrap_or(0)
    } else {
        0
    }
}
