//! How a client gets a connection: plain or TLS, and what the look at it shows before a write.
//!
//! Owns: connect, handshake (any certificate is taken: the demo's is self-signed), the look below TLS. Not here: what is
//! said on the connection.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Field;
use crate::script::AfterClose;
use crate::target::Door;

/// Rest after a connect that failed before the signal.
const REST: Duration = Duration::from_millis(20);

/// Which HTTP a client speaks; with TLS, ALPN asks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// An open connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What the look at a connection shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Look {
    /// Nothing has come.
    Clear,
    /// An end, orderly by the manners of its protocol, or a byte that nobody asked for.
    Closed,
    /// A TCP end without close_notify before it.
    Cut,
}

/// One client's way to the server.
#[derive(Debug)]
pub(super) struct Path<'a> {
    pub(super) field: &'a Field,
    pub(super) door: Door,
    after_close: AfterClose,
    opened: bool,
}

impl<'a> Path<'a> {
    pub(super) fn new(field: &'a Field, door: Door, after_close: AfterClose) -> Self {
        Self {
            field,
            door,
            after_close,
            opened: false,
        }
    }

    /// Opens the client's next connection; nothing when the client is to go home: the server has left, or has told it to.
    pub(super) async fn open(&mut self, route: Route) -> Option<Stream> {
        let told_to_go = self.opened && self.field.watch.signalled_at().is_some();
        if told_to_go && self.after_close == AfterClose::Leave {
            return None;
        }
        self.opened = true;
        self.field.open(self.door, route).await
    }
}

impl Field {
    /// Opens a connection; nothing when the server has left.
    ///
    /// A refused or failed connect before the signal, and one that was accepted and then dropped, is written down.
    async fn open(&self, door: Door, route: Route) -> Option<Stream> {
        loop {
            let connect = timeout(self.patience, self.try_open(door, route));
            let error = match connect.await {
                Ok(Ok(stream)) => {
                    self.ledger().connect();
                    return Some(stream);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    self.ledger()
                        .complain("a connect or handshake hung".to_owned());
                    return None;
                }
            };
            let signalled = self.watch.signalled_at().is_some();
            match (error, signalled) {
                (OpenError::Refused, true) => {
                    self.ledger().refuse_connect();
                    return None;
                }
                (OpenError::Refused, false) => {
                    let complaint = "a connect was refused before the signal";
                    self.ledger().complain(complaint.to_owned());
                }
                (OpenError::Connect(error), _) => {
                    self.ledger().complain(format!("a connect failed: {error}"));
                }
                (OpenError::Handshake(error), _) => {
                    let complaint = format!("accepted, then the handshake failed: {error}");
                    self.ledger().complain(complaint);
                }
            }
            sleep(REST).await;
        }
    }

    async fn try_open(&self, door: Door, route: Route) -> Result<Stream, OpenError> {
        let address = match door {
            Door::Plain => self.plain,
            Door::Tls => self
                .tls
                .expect("TLS clients only where there is a TLS listener"),
        };
        let tcp = match TcpStream::connect(address).await {
            Ok(tcp) => tcp,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                return Err(OpenError::Refused);
            }
            Err(error) => return Err(OpenError::Connect(error)),
        };
        tcp.set_nodelay(true).map_err(OpenError::Connect)?;
        match door {
            Door::Plain => Ok(Stream::Plain(tcp)),
            Door::Tls => {
                let name = ServerName::try_from("localhost").expect("a host name");
                let connector = TlsConnector::from(configuration(route));
                let stream = connector.connect(name, tcp).await;
                let stream = stream.map_err(OpenError::Handshake)?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }
}

enum OpenError {
    Refused,
    Connect(io::Error),
    Handshake(io::Error),
}

/// A byte stream whose unread input can be seen.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin + Send {
    /// Whether the kernel holds something that was not read yet, an end included.
    fn has_news(&self) -> bool;

    /// Waits until what the kernel holds can be read here.
    fn arrival(&self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Line for Stream {
    fn has_news(&self) -> bool {
        has_news(&SockRef::from(self.tcp()))
    }

    async fn arrival(&self) -> io::Result<()> {
        self.tcp().readable().await
    }
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// A second descriptor of the connection, by which it can be looked at while others own it.
    pub(super) fn witness(&self) -> io::Result<Witness> {
        SockRef::from(self.tcp()).try_clone().map(Witness)
    }

    /// Looks whether the connection may be written to; what is no data (session tickets) is taken on the way.
    pub(super) async fn look(&mut self) -> Look {
        while self.has_news() {
            // The kernel has something; the reactor may not know it yet.
            if self.tcp().readable().await.is_err() {
                return Look::Closed;
            }
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            let once = std::future::poll_fn(|context| {
                Poll::Ready(Pin::new(&mut *self).poll_read(context, &mut buffer))
            });
            match once.await {
                Poll::Pending => {}
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Look::Cut;
                }
                Poll::Ready(_) => return Look::Closed,
            }
        }
        Look::Clear
    }
}

/// Looks at a connection that something else owns.
#[derive(Debug)]
pub(super) struct Witness(socket2::Socket);

impl Witness {
    /// Whether the kernel holds something that was not read yet, an end included.
    pub(super) fn has_news(&self) -> bool {
        has_news(&SockRef::from(&self.0))
    }
}

fn has_news(socket: &SockRef<'_>) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    match socket.recv_with_flags(&mut byte, flags) {
        Err(error) => error.kind() != ErrorKind::WouldBlock,
        Ok(_) => true,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

fn configuration(route: Route) -> Arc<ClientConfig> {
    static HTTP1: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    static HTTP2: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let (made, protocol) = match route {
        Route::Http1 => (&HTTP1, "http/1.1"),
        Route::Http2 => (&HTTP2, "h2"),
    };
    let make = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let schemes = provider
            .signature_verification_algorithms
            .supported_schemes();
        let mut configuration = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes)))
            .with_no_client_auth();
        configuration.alpn_protocols = vec![protocol.into()];
        Arc::new(configuration)
    };
    Arc::clone(made.get_or_init(make))
}

/// Takes any certificate: who answers on this loopback port is known, and not what is measured.
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
