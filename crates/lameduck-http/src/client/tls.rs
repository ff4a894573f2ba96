//! TLS on a new connection, by rustls (feature `tls`).

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::{Connected, Secure, Securing, Unconnected};
use super::pool::machine::Speaks;
use super::wire::Stream;
use crate::server::Protocols;

struct Tls {
    connector: TlsConnector,
    protocols: Protocols,
}

/// `https` with this configuration; the protocols in it are replaced.
pub(super) fn secure(config: &ClientConfig, protocols: Protocols) -> Arc<dyn Secure> {
    let mut config = config.clone();
    let names: &[&[u8]] = match protocols {
        Protocols::Both => &[b"h2", b"http/1.1"],
        Protocols::Http1 => &[b"http/1.1"],
        Protocols::Http2 => &[b"h2"],
    };
    config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
    Arc::new(Tls {
        connector: TlsConnector::from(Arc::new(config)),
        protocols,
    })
}

impl Secure for Tls {
    fn secure<'a>(&'a self, host: &'a str, tcp: TcpStream) -> Securing<'a> {
        Box::pin(self.shake(host, tcp))
    }
}

impl Tls {
    async fn shake(&self, host: &str, tcp: TcpStream) -> Result<Connected, Unconnected> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| Unconnected::Unsuited(error.into()))?;
        let stream = self.connector.connect(name, tcp).await.map_err(|error| {
            // What rustls says about the peer stays; what the network does may pass.
            let inner = error.get_ref();
            if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
                Unconnected::Unsuited(error.into())
            } else {
                Unconnected::Unreached(error.into())
            }
        })?;
        let agreed = stream.get_ref().1.alpn_protocol();
        let speaks = match (agreed, self.protocols) {
            (Some(b"h2"), _) => Speaks::Http2,
            (_, Protocols::Http2) => {
                let error = io::Error::other("the server does not agree on HTTP/2");
                return Err(Unconnected::Unsuited(error.into()));
            }
            _ => Speaks::Http1,
        };
        Ok((Box::new(stream), speaks))
    }
}

impl Stream for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn is_opaque(&self) -> bool {
        true
    }
}
