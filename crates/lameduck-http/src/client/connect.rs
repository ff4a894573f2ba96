//! A socket to a server: its name looked up, the families raced (RFC 8305), and the seam where TLS stands if the scheme says so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tower_service::Service as _;

use super::pool::machine::Speaks;
use super::target::Target;
use super::wire::Stream;
use crate::server::Protocols;
use crate::server::exchange::BoxError;

#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    protocols: Protocols,
    secure: Option<Arc<dyn Secure>>,
}

/// A socket, and what will be spoken on it.
pub(super) type Connected = (Box<dyn Stream>, Speaks);

pub(super) type Securing<'a> =
    Pin<Box<dyn Future<Output = Result<Connected, Unconnected>> + Send + 'a>>;

/// What makes a socket one for `https`.
pub(super) trait Secure: Send + Sync {
    fn secure<'a>(&'a self, host: &'a str, tcp: TcpStream) -> Securing<'a>;
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Unconnected {
    /// For a reason that may pass.
    Unreached(BoxError),
    /// For a reason that stays.
    Unsuited(BoxError),
    /// Nothing was configured for `https`.
    NoTls,
}

impl Connector {
    /// `limit`: for all of the addresses of a name together; each of a family has its share.
    pub(super) fn new(
        protocols: Protocols,
        secure: Option<Arc<dyn Secure>>,
        limit: Duration,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Otherwise the first address has all of the time, and is the only one that is ever tried if it is a black hole.
        tcp.set_connect_timeout(Some(limit));
        Self {
            tcp,
            protocols,
            secure,
        }
    }

    /// What a connection will speak, where that is known before it is opened: in the clear by prior knowledge, HTTP/1.1 if nothing is said.
    pub(super) const fn presumed(&self, target: &Target) -> Option<Speaks> {
        match self.protocols {
            Protocols::Http2 => Some(Speaks::Http2),
            Protocols::Http1 => Some(Speaks::Http1),
            Protocols::Both if target.is_secure => None,
            Protocols::Both => Some(Speaks::Http1),
        }
    }

    pub(super) async fn connect(&self, target: &Target) -> Result<Connected, Unconnected> {
        let secure = match &self.secure {
            _ if !target.is_secure => None,
            Some(secure) => Some(secure),
            None => return Err(Unconnected::NoTls),
        };
        let root = target.root().ok_or_else(|| {
            Unconnected::Unsuited(io::Error::from(io::ErrorKind::InvalidInput).into())
        })?;
        let tcp = self.tcp.clone().call(root).await;
        let tcp = tcp.map_err(|error| Unconnected::Unreached(error.into()))?;
        let tcp = tcp.into_inner();
        match secure {
            Some(secure) => secure.secure(&target.host, tcp).await,
            None => {
                let speaks = self.presumed(target).unwrap_or(Speaks::Http1);
                Ok((Box::new(tcp), speaks))
            }
        }
    }
}
