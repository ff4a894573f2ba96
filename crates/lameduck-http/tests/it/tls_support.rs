//! TLS for tests: certificates, a service behind them, and a client whose records can be cut anywhere.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use lameduck::{Lifecycle, Plan};
use lameduck_http::tls::{Tls, with_alpn};
use lameduck_http::{Limits, Protocols};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::support::{Client, Control, Ended, GET, Rig, app, soon};

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Textual encoding (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let mut bytes = [0; 4];
        bytes[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(bytes);
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).expect("six bits");
            text.push(if place <= three.len() {
                DIGITS[digit].into()
            } else {
                '='
            });
        }
    }
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A certificate that signs itself, and its key.
pub(crate) struct Identity {
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    pub key_pem: String,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned(), "127.0.0.1".to_owned()])
            .expect("a certificate");
        Self {
            certificate: made.cert.der().clone(),
            certificate_pem: pem("CERTIFICATE", made.cert.der()),
            key_pem: pem("PRIVATE KEY", &made.signing_key.serialize_der()),
            key: made.signing_key.serialize_der(),
        }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).expect("a key")
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        roots
    }

    /// A server with this certificate, for all protocols.
    pub(crate) fn server(&self) -> ServerConfig {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key())
            .expect("a configuration");
        with_alpn(config, Protocols::Both)
    }

    /// A client that trusts this certificate.
    pub(crate) fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A service behind TLS.
pub(crate) struct TlsRig {
    pub rig: Rig,
    pub identity: Identity,
}

impl TlsRig {
    pub(crate) async fn start(plan: Plan) -> Self {
        Self::limited(plan, Limits::default()).await
    }

    pub(crate) async fn limited(plan: Plan, limits: Limits) -> Self {
        let identity = Identity::of("localhost");
        let config = identity.server();
        Self::with(plan, limits, identity, config).await
    }

    pub(crate) async fn with(
        plan: Plan,
        limits: Limits,
        identity: Identity,
        config: impl Into<Tls>,
    ) -> Self {
        let control = Control::new();
        let life = Lifecycle::embedded(plan).expect("a lifecycle");
        let server = lameduck_http::serve(&life, "127.0.0.1:0", app(control.clone()))
            .limits(limits)
            .tls(config)
            .await
            .expect("a server");
        let addr = server.local_addr().tcp().expect("tcp");
        let rig = Rig::running(life, addr, control).await;
        Self { rig, identity }
    }

    /// A client for HTTP/1.1 whose handshake has not begun.
    pub(crate) async fn begin(&self) -> Records {
        Records::connect(self.rig.addr, self.identity.client(&["http/1.1"])).await
    }

    /// A client for HTTP/1.1 after its handshake.
    pub(crate) async fn connect(&self) -> Client<Records> {
        self.connect_alpn(&["http/1.1"]).await
    }

    pub(crate) async fn connect_alpn(&self, alpn: &[&str]) -> Client<Records> {
        let mut records = Records::connect(self.rig.addr, self.identity.client(alpn)).await;
        records.shake().await.expect("a handshake");
        Client::over(records)
    }

    /// Asked once already.
    pub(crate) async fn reused(&self) -> Client<Records> {
        let mut client = self.connect().await;
        client.send(GET).await;
        assert!(!client.served().await.close);
        client
    }
}

/// The client is told the end by close_notify and FIN, and by nothing else.
pub(crate) async fn ends_in_order(mut client: Client<Records>) {
    assert_eq!(client.end().await, &Ended::Fin);
    let mut more = [0; 1];
    let after = soon("FIN", client.stream.tcp.read(&mut more)).await;
    assert_eq!(after.expect("no reset"), 0);
}

/// A client's side of TLS, its records in reach.
pub(crate) struct Records {
    pub tcp: TcpStream,
    pub session: ClientConnection,
    /// Records made and not written yet.
    out: Vec<u8>,
    /// What came and was not given to the session yet.
    unread: Vec<u8>,
}

impl Records {
    pub(crate) async fn connect(addr: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let tcp = soon("a connection", TcpStream::connect(addr))
            .await
            .expect("connect");
        tcp.set_nodelay(true).expect("nodelay");
        let name = ServerName::try_from("localhost").expect("a name");
        Self {
            tcp,
            session: ClientConnection::new(config, name).expect("a session"),
            out: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// What the session wants to say now: at first, the ClientHello.
    pub(crate) fn said(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).expect("memory");
        }
        bytes
    }

    /// The records that hold `plain`.
    pub(crate) fn sealed(&mut self, plain: &[u8]) -> Vec<u8> {
        self.session.writer().write_all(plain).expect("memory");
        self.said()
    }

    /// A record that holds nothing for HTTP: a KeyUpdate.
    pub(crate) fn fresh_keys(&mut self) -> Vec<u8> {
        self.session.refresh_traffic_keys().expect("TLS 1.3");
        self.said()
    }

    pub(crate) async fn write_raw(&mut self, bytes: &[u8]) {
        soon("a write", self.tcp.write_all(bytes))
            .await
            .expect("write");
    }

    /// Reads what the server sends and answers it, until the handshake is over.
    pub(crate) async fn shake(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.said();
            soon("a write", self.tcp.write_all(&bytes)).await?;
            if !self.session.is_handshaking() {
                return Ok(());
            }
            self.hear().await?;
        }
    }

    /// Takes one read from the server into the session.
    pub(crate) async fn hear(&mut self) -> io::Result<()> {
        let count = soon("the server's turn", self.tcp.read_buf(&mut self.unread)).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !self.unread.is_empty() {
            self.digest()?;
        }
        Ok(())
    }

    /// Gives the session what was read, as much as it takes: it holds no more than a record or so that nobody reads.
    fn digest(&mut self) -> io::Result<()> {
        let mut rest = &self.unread[..];
        let took = self.session.read_tls(&mut rest)?;
        self.unread.drain(..took);
        self.session
            .process_new_packets()
            .map_err(io::Error::other)?;
        Ok(())
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let count = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.out))?;
            self.out.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let read = self.session.reader().read(into.initialize_unfilled());
            match read {
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if !self.unread.is_empty() {
                self.digest()?;
                continue;
            }
            let mut scratch = [0; 4096];
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                self.session.read_tls(&mut io::empty())?;
            } else {
                self.unread.extend_from_slice(buffer.filled());
            }
        }
    }
}

impl AsyncWrite for Records {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_out(cx))?;
        self.out = self.sealed(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        let mut last = self.said();
        self.out.append(&mut last);
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
