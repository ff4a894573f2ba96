//! What stands between a socket and HTTP, where something does.
//!
//! Owns the seam: accepting knows that there is something, not what. What there is, `tls` says.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

use super::Protocols;
use super::conn::Rested;
use super::park::Held;
use super::watch::Watch;

/// An accepted connection, as the kernel gives it.
#[derive(Debug)]
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

/// Where the life of a connection under TLS begins.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "made for who takes them: TLS")
)]
pub(crate) enum Begun {
    /// With its handshake.
    Now(Plain),
    /// It was parked: its session goes on.
    Before(Plain, Held),
}

/// The life of one connection, until it ends or rests.
pub(crate) type Driven = Pin<Box<dyn Future<Output = Option<Rested>> + Send>>;

/// What connections are served through.
pub(crate) struct Secure<A> {
    /// Serves a connection until it ends or rests.
    pub(crate) drive: Box<dyn Fn(Begun, A, Arc<Watch>) -> Driven + Send + Sync>,
    /// Why a listener for these protocols cannot use it.
    pub(crate) objection: Box<dyn Fn(Protocols) -> Option<TlsObjection> + Send + Sync>,
}

impl<A> fmt::Debug for Secure<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").finish_non_exhaustive()
    }
}
