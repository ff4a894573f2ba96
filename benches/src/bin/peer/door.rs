//! Where a contender lets clients in.
//!
//! Owns: the listening socket, TLS, and the loop that accepts until SIGTERM. Not here: what becomes of a connection.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::Args;
use crate::connection::{Serving, Terms};
use crate::keep::Keep;
use crate::stall::Stall;

/// Deep enough that nobody loses a connection to the backlog's size alone.
const BACKLOG: u32 = 4096;

pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) terminate: Signal,
    tls: Option<TlsAcceptor>,
    serving: Serving,
}

impl Door {
    /// Listens, and says so.
    pub(crate) fn open(args: &Args) -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let tls = args.pem().map(|(cert, key)| acceptor(cert, key));
        let tls = tls.transpose().map_err(io::Error::other)?;
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(args.listen)?;
        let listener = socket.listen(BACKLOG)?;
        println!("listening on {}", listener.local_addr()?);
        Ok(Self {
            listener,
            terminate,
            tls,
            serving: Serving {
                speech: args.speech,
                terms: args.terms,
            },
        })
    }

    /// Accepts, and serves each connection in a task of its own, until SIGTERM. Then the listener is closed.
    pub(crate) async fn accept<K: Keep>(mut self, keep: impl Fn() -> K) {
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => continue,
                },
                _ = self.terminate.recv() => return,
            };
            // A socket that refuses NODELAY is only slower.
            let _ = stream.set_nodelay(true);
            let (serving, keep) = (self.serving, keep());
            match &self.tls {
                None => enter(serving, stream, keep),
                Some(tls) => {
                    let handshake = tls.accept(stream);
                    tokio::spawn(async move {
                        // A client that went away is the client's business.
                        if let Ok(stream) = handshake.await {
                            enter(serving, stream, keep);
                        }
                    });
                }
            }
        }
    }
}

fn enter<S>(serving: Serving, stream: S, keep: impl Keep)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match serving.terms {
        Terms::None => serving.spawn(TokioIo::new(stream), keep),
        Terms::Limited => serving.spawn(TokioIo::new(Stall::new(stream)), keep),
    }
}

fn acceptor(
    cert: &std::path::Path,
    key: &std::path::Path,
) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(Arc::new(config).into())
}
