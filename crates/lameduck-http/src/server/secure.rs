//! What stands between a socket and HTTP, where something does.
//!
//! Owns the seam: accepting knows that there is something, not what. What there is, `tls` says.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

use super::Protocols;
use super::watch::Watch;

/// An accepted connection, as the kernel gives it.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "made for who takes them: TLS")
)]
pub(crate) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpStream> for Plain {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Plain {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

/// Why a listener cannot use a TLS configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsObjection {
    /// It offers by ALPN a version of HTTP that the listener does not speak.
    Alpn,
    /// It accepts early data (0-RTT), which is not served.
    EarlyData,
}

impl fmt::Display for TlsObjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alpn => "it offers by ALPN a version of HTTP that the listener does not speak",
            Self::EarlyData => "it accepts early data (0-RTT), which is not served",
        })
    }
}

/// The life of one connection.
pub(crate) type Driven = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What connections are served through.
pub(crate) struct Secure<A> {
    /// Serves a connection to its end.
    pub(crate) drive: Box<dyn Fn(Plain, A, Arc<Watch>) -> Driven + Send + Sync>,
    /// Why a listener for these protocols cannot use it.
    pub(crate) objection: Box<dyn Fn(Protocols) -> Option<TlsObjection> + Send + Sync>,
}

impl<A> fmt::Debug for Secure<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").finish_non_exhaustive()
    }
}
