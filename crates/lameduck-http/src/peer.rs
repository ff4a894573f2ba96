//! Who is at the other end of a connection, as handlers may ask.
//!
//! Owns [`Peer`] and what becomes of it: one value for each connection, made once, put into each request's extensions.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Extensions;

use crate::server::listen::LocalAddr;

/// One connection's two ends, as [`connect_info`](crate::Serve::connect_info) gets them.
///
/// Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(crate) addr: Option<SocketAddr>,
    pub(crate) local: LocalAddr,
    /// A `TlsInfo`, where there is TLS.
    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "read where TLS exists")
    )]
    pub(crate) tls: Option<Arc<dyn Any + Send + Sync>>,
}

impl Peer {
    /// The client's address, or that of the nearest proxy; `None` on a Unix socket, whose clients have none.
    #[must_use]
    pub const fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// The address that the client connected to: of a listener on `0.0.0.0` the one of them that it chose.
    #[must_use]
    pub const fn local_addr(&self) -> &LocalAddr {
        &self.local
    }

    /// What the TLS handshake agreed on; `None` on a connection without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&crate::tls::TlsInfo> {
        self.tls.as_ref()?.downcast_ref()
    }
}

/// What the application is told about one connection: put into the extensions of each of its requests.
#[derive(Clone)]
pub(crate) struct Introduced(Arc<dyn Fn(&mut Extensions) + Send + Sync>);

impl Introduced {
    pub(crate) fn to(&self, extensions: &mut Extensions) {
        (self.0)(extensions);
    }
}

impl fmt::Debug for Introduced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introduced").finish_non_exhaustive()
    }
}

/// How a listener's connections are introduced.
pub(crate) struct Introduction {
    local: LocalAddr,
    make: Make,
}

/// What makes the value of one connection; boxed, so that the builder does not carry its type.
pub(crate) type Make = Box<dyn Fn(&Peer) -> Introduced + Send + Sync>;

/// Forgets what type a connection's value has.
pub(crate) fn erased<T, F>(make: F) -> Make
where
    T: Clone + Send + Sync + 'static,
    F: Fn(&Peer) -> T + Send + Sync + 'static,
{
    Box::new(move |peer| {
        let value = make(peer);
        Introduced(Arc::new(move |extensions| {
            extensions.insert(value.clone());
        }))
    })
}

impl Introduction {
    /// `local` is the listener's address.
    pub(crate) const fn new(local: LocalAddr, make: Make) -> Self {
        Self { local, make }
    }

    /// The connection from `addr` to `local`, of which the kernel may know more than the listener does.
    pub(crate) fn of(&self, addr: Option<SocketAddr>, local: Option<SocketAddr>) -> Peer {
        Peer {
            addr,
            local: local.map_or_else(|| self.local.clone(), LocalAddr::Tcp),
            tls: None,
        }
    }

    pub(crate) fn introduce(&self, peer: &Peer) -> Introduced {
        (self.make)(peer)
    }
}

impl fmt::Debug for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introduction")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
