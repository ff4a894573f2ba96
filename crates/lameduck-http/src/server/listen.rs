//! Addresses and bound sockets.
//!
//! Owns what happens before the first accept: resolving, bind(2), listen(2), and the removal of a Unix socket's file. Binding and listening
//! are apart, so that a service that is not ready refuses connections instead of letting them wait.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that the kernel may hold for us before they are accepted (capped by `net.core.somaxconn`, 4096 since Linux 5.4).
pub(crate) const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// The first of these TCP addresses that can be bound.
    Tcp(Vec<SocketAddr>),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

/// What can be given as an address to listen on: `"127.0.0.1:8080"`, `"[::]:8080"`, `"unix:/run/app.sock"`, a `SocketAddr`, an address and a port.
///
/// Port 0 lets the kernel choose. A host name is resolved at once, blocking.
pub trait ToListenAddr {
    /// The addresses meant.
    ///
    /// # Errors
    /// When the text is no address, or the name does not resolve.
    fn to_listen_addr(&self) -> io::Result<ListenAddr>;
}

impl ToListenAddr for str {
    fn to_listen_addr(&self) -> io::Result<ListenAddr> {
        match self.strip_prefix("unix:") {
            Some(path) => Ok(ListenAddr::Unix(PathBuf::from(path))),
            None => Ok(ListenAddr::Tcp(self.to_socket_addrs()?.collect())),
        }
    }
}

impl ToListenAddr for String {
    fn to_listen_addr(&self) -> io::Result<ListenAddr> {
        self.as_str().to_listen_addr()
    }
}

impl ToListenAddr for SocketAddr {
    fn to_listen_addr(&self) -> io::Result<ListenAddr> {
        Ok(ListenAddr::Tcp(vec![*self]))
    }
}

impl ToListenAddr for (IpAddr, u16) {
    fn to_listen_addr(&self) -> io::Result<ListenAddr> {
        SocketAddr::from(*self).to_listen_addr()
    }
}

impl ToListenAddr for ListenAddr {
    fn to_listen_addr(&self) -> io::Result<ListenAddr> {
        Ok(self.clone())
    }
}

impl<T: ToListenAddr + ?Sized> ToListenAddr for &T {
    fn to_listen_addr(&self) -> io::Result<ListenAddr> {
        (**self).to_listen_addr()
    }
}

/// The address of a bound listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalAddr {
    /// A TCP address, with the port that the kernel chose.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl LocalAddr {
    /// The TCP address; `None` for a Unix socket.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket that may not listen yet.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: Socket,
    pub(crate) local: LocalAddr,
    /// The file of a Unix socket that is ours to remove.
    file: Option<SocketFile>,
    listening: bool,
}

impl Bound {
    pub(crate) fn bind(addr: &ListenAddr) -> io::Result<Self> {
        match addr {
            ListenAddr::Tcp(candidates) => {
                let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "no address to bind");
                for candidate in candidates {
                    match bind_tcp(*candidate) {
                        Ok(bound) => return Ok(bound),
                        Err(error) => failed = error,
                    }
                }
                Err(failed)
            }
            ListenAddr::Unix(path) => bind_unix(path),
        }
    }

    /// A Unix socket that was bound elsewhere, and listens; its file is ours to remove.
    #[cfg(feature = "control")]
    pub(crate) const fn unix(socket: Socket, path: PathBuf, file: SocketFile) -> Self {
        Self {
            socket,
            local: LocalAddr::Unix(path),
            file: Some(file),
            listening: true,
        }
    }

    /// A listener made elsewhere; whether it listens already is its maker's business.
    pub(crate) fn inherited(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let local = LocalAddr::Tcp(listener.local_addr()?);
        Ok(Self {
            socket: Socket::from(listener),
            local,
            file: None,
            listening: true,
        })
    }

    /// Takes out the file of a Unix socket, which outlives the socket by a moment.
    pub(crate) fn into_parts(mut self) -> (Self, Option<SocketFile>) {
        let file = self.file.take();
        (self, file)
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// listen(2), unless it was done.
    pub(crate) fn listen(&self) -> io::Result<()> {
        if self.listening {
            Ok(())
        } else {
            self.socket.listen(BACKLOG)
        }
    }
}

fn bind_tcp(addr: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // A restart must not wait for the last process's TIME_WAIT connections.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    let local = socket
        .local_addr()?
        .as_socket()
        .expect("a TCP socket has an internet address");
    Ok(Bound {
        socket,
        local: LocalAddr::Tcp(local),
        file: None,
        listening: false,
    })
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let addr = SockAddr::unix(path)?;
    match socket.bind(&addr) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            socket.bind(&addr)?;
        }
        bound => bound?,
    }
    let file = Some(SocketFile::of(path)?);
    Ok(Bound {
        socket,
        local: LocalAddr::Unix(path.to_owned()),
        file,
        listening: false,
    })
}

/// Whether a socket file stands there that nobody listens on.
fn is_abandoned(path: &Path) -> bool {
    connect_now(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Without waiting: where the queue is full, connect(2) of a blocking socket waits until somebody accepts, and a wedged process never does.
pub(crate) fn connect_now(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// The file of a Unix socket, by path and inode: a successor may have put its own there.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            inode: inode(path)?,
        })
    }

    /// Removes the file if it is still ours.
    pub(crate) fn remove(self) {
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            // Nothing depends on it: an abandoned file is removed by the next bind.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let tcp: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        assert_eq!(
            "127.0.0.1:80".to_listen_addr().expect("tcp"),
            ListenAddr::Tcp(vec![tcp])
        );
        assert_eq!(
            "unix:/run/x.sock".to_listen_addr().expect("unix"),
            ListenAddr::Unix("/run/x.sock".into())
        );
        assert!("8080".to_listen_addr().is_err());
    }

    #[test]
    fn a_bound_socket_refuses_until_it_listens() {
        let bound = Bound::bind(&"127.0.0.1:0".to_listen_addr().expect("addr")).expect("bind");
        let addr = bound.local.tcp().expect("tcp");
        let refused = std::net::TcpStream::connect(addr).expect_err("not listening yet");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        bound.listen().expect("listen");
        std::net::TcpStream::connect(addr).expect("listening now");
    }
}
