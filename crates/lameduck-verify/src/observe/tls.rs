//! Owns one TLS session of a client without sockets of its own: what may be written of the handshake, what arrived,
//! and whether a close_notify did.
//! Not: dialling (see `wire`), or when to go on with a handshake (see `flow`).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use super::wire::Wire;
use crate::declared::TlsTrust;

/// Of a `ClientHello`, so many bytes are its half.
const HALF_HELLO: usize = 64;

/// The protocols that a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alpn {
    Http1,
    Http2,
}

/// A TLS listener of the target, and how to speak to it.
pub(crate) struct TlsDoor {
    pub(crate) addr: SocketAddr,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl TlsDoor {
    /// `host` is what stands in the URL, with or without a port.
    pub(crate) fn new(addr: SocketAddr, host: &str, alpn: Alpn, trust: &TlsTrust) -> Self {
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
            .unwrap_or_else(|| host.split(':').next().unwrap_or(host));
        let name = ServerName::try_from(bare.to_owned())
            .unwrap_or_else(|_| ServerName::IpAddress(addr.ip().into()));
        Self {
            addr,
            name,
            config: client_config(alpn, trust),
        }
    }
}

impl fmt::Debug for TlsDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsDoor")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

fn client_config(alpn: Alpn, trust: &TlsTrust) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions");
    let builder = match trust {
        TlsTrust::Any => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider })),
        TlsTrust::Authorities(authorities) => builder.with_root_certificates(authorities.roots()),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![match alpn {
        Alpn::Http1 => b"http/1.1".to_vec(),
        Alpn::Http2 => b"h2".to_vec(),
    }];
    // Each handshake is a whole one: a resumed one would test something else.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Takes every certificate.
///
/// The targets of this tool are started by it and reached over loopback; their certificates are self-signed, expired
/// or made for other names. What is judged is how they leave, not who they are: nothing secret is ever sent to them.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

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
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// How far a client goes in its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Part of the first message.
    HalfHello,
    /// The first message; what answers it is read, and our last message held back.
    Hello,
    Done,
}

/// One session.
pub(crate) struct Session {
    tls: ClientConnection,
    reach: Reach,
    /// Bytes of ours that went to the socket.
    written: usize,
    /// The first flight is out.
    hello_sent: bool,
    /// When the peer said that it will send no more.
    pub(crate) notified_at: Option<Instant>,
}

impl Session {
    pub(crate) fn new(door: &TlsDoor) -> io::Result<Self> {
        let tls = ClientConnection::new(Arc::clone(&door.config), door.name.clone())
            .map_err(io::Error::other)?;
        Ok(Self {
            tls,
            reach: Reach::HalfHello,
            written: 0,
            hello_sent: false,
            notified_at: None,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    pub(crate) fn allow(&mut self, reach: Reach) {
        self.reach = self.reach.max(reach);
    }

    /// It stands where `reach` leads.
    pub(crate) fn has_reached(&self, reach: Reach) -> bool {
        match reach {
            Reach::HalfHello => self.written >= HALF_HELLO,
            // What we would say next is ready, so what comes before it was read.
            Reach::Hello => self.hello_sent && (self.tls.wants_write() || !self.is_handshaking()),
            Reach::Done => !self.is_handshaking() && !self.tls.wants_write(),
        }
    }

    /// Records wait that the socket did not take yet (and that may go).
    pub(crate) fn has_backlog(&self) -> bool {
        self.tls.wants_write() && self.reach == Reach::Done
    }

    /// Plain text was decrypted and not read yet.
    pub(crate) fn has_unread(&mut self) -> bool {
        self.tls
            .process_new_packets()
            .is_ok_and(|io| io.plaintext_bytes_to_read() > 0)
    }

    /// Writes what may be written; `WouldBlock` when the socket takes no more.
    pub(crate) fn flush(&mut self, wire: &Wire) -> io::Result<()> {
        while self.tls.wants_write() {
            let room = match self.reach {
                Reach::HalfHello => HALF_HELLO.saturating_sub(self.written),
                Reach::Hello if self.hello_sent => 0,
                Reach::Hello | Reach::Done => usize::MAX,
            };
            if room == 0 {
                return Ok(());
            }
            self.written += self.tls.write_tls(&mut Limited { wire, room })?;
            if self.reach > Reach::HalfHello && !self.tls.wants_write() {
                self.hello_sent = true;
            }
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, wire: &Wire, bytes: &[u8]) -> io::Result<usize> {
        self.flush(wire)?;
        if self.has_backlog() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.tls.writer().write(bytes)?;
        match self.flush(wire) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(taken),
            Err(error) => Err(error),
            Ok(()) => Ok(taken),
        }
    }

    /// Reads plain text: `Ok(0)` at a close_notify or at a bare FIN (`notified_at` tells which).
    pub(crate) fn receive(&mut self, wire: &Wire, into: &mut [u8]) -> io::Result<usize> {
        // Each turn takes one read from the socket or returns; the records in it are bounded by rustls.
        loop {
            match self.tls.reader().read(into) {
                Ok(0) => {
                    self.notified_at.get_or_insert_with(Instant::now);
                    return Ok(0);
                }
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            if self.tls.read_tls(&mut Limited { wire, room: 0 })? == 0 {
                return Ok(0);
            }
            let read = self.tls.process_new_packets();
            let flushed = self.flush(wire);
            read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            match flushed {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

/// The socket, of which only so many bytes may be written.
struct Limited<'w> {
    wire: &'w Wire,
    room: usize,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        self.wire.send(&bytes[..count])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Limited<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.wire.receive(into)
    }
}
