//! One connection of a guest, opened and used in order.
//!
//! Owns: connecting, TLS, one request after the other, bounded in time. Not here: waiting for thousands (`crowd`).

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::speech::{Ear, Speech};

/// Longest wait for an answer; a server under callgrind is fifty times slower than without.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether TLS is spoken, and with which certificate in mind.
#[derive(Clone, Debug)]
pub enum Cover {
    /// Without TLS.
    Plain,
    /// With TLS.
    Tls(Arc<ClientConfig>),
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// An open connection, blocking.
pub struct Link {
    wire: Wire,
    ear: Ear,
    buffer: Box<[u8; 4096]>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("ear", &self.ear)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, and says what the protocol says first.
    ///
    /// # Errors
    ///
    /// When the server is not there, or does not answer in time.
    pub fn open(address: SocketAddr, speech: Speech, cover: &Cover) -> io::Result<Self> {
        Self::open_from(Ipv4Addr::LOCALHOST, address, speech, cover)
    }

    /// The same from another loopback address: one alone has ports for 28 000 connections to a server.
    ///
    /// # Errors
    ///
    /// When the server is not there, or does not answer in time.
    pub fn open_from(
        from: Ipv4Addr,
        address: SocketAddr,
        speech: Speech,
        cover: &Cover,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if from != Ipv4Addr::LOCALHOST {
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        socket.connect_timeout(&address.into(), PATIENCE)?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let wire = match cover {
            Cover::Plain => Wire::Plain(socket),
            Cover::Tls(config) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let session =
                    ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                Wire::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        let ear = Ear::new(speech);
        let opening = ear.opening();
        let mut link = Self {
            wire,
            ear,
            buffer: Box::new([0; 4096]),
        };
        link.write(&opening)?;
        if speech == Speech::WebSocket {
            link.wait_answer()?;
        }
        Ok(link)
    }

    /// Sends a request, without waiting.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn ask(&mut self, path: &str) -> io::Result<()> {
        let request = self.ear.get(path);
        self.write(&request)
    }

    /// Waits for one answer.
    ///
    /// # Errors
    ///
    /// When the connection ends before it, or it takes too long.
    pub fn wait_answer(&mut self) -> io::Result<()> {
        loop {
            let read = match &mut self.wire {
                Wire::Plain(socket) => socket.read(&mut self.buffer[..]),
                Wire::Tls(stream) => stream.read(&mut self.buffer[..]),
            }?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut reply = Vec::new();
            let heard = self.ear.take(&self.buffer[..read], &mut reply);
            self.write(&reply)?;
            if heard.answers > 0 {
                return Ok(());
            }
        }
    }

    /// The socket and what was heard on it; a TLS session stays open at the server and is forgotten here.
    pub(super) fn into_parts(self) -> (TcpStream, Ear) {
        match self.wire {
            Wire::Plain(socket) => (socket, self.ear),
            Wire::Tls(stream) => (stream.into_parts().1, self.ear),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}
