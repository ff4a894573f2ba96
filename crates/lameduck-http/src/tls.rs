//! TLS for a listener: whose configuration, how it is reloaded, and what a handshake agreed on.
//!
//! Owns the public types. The configuration is the caller's own [`rustls::ServerConfig`], with the crypto provider that it was made with;
//! this crate chooses none. What a connection does with it is `server::tls`'s business.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use lameduck::Lifecycle;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};

use crate::server::Protocols;
use crate::server::secure::TlsObjection;

pub use rustls;

/// Names by which protocols are agreed on (RFC 7301, IANA's registry).
const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";
const HTTP_10: &[u8] = b"http/1.0";

/// Where a listener's handshakes get their configuration from: one `Arc<ServerConfig>`, or a [`Reloading`] one.
///
/// The protocol is agreed on by ALPN alone, as RFC 9113 §3.3 wants it: a configuration that lists none serves HTTP/1.1 to everybody (or HTTP/2, on
/// a listener that speaks nothing else). [`with_alpn`] lists what a listener speaks. A connection that agreed on a protocol that is neither
/// HTTP/1 nor HTTP/2 (`acme-tls/1`) is closed after its handshake. Early data (0-RTT) is not served: `max_early_data_size` stays 0.
#[derive(Clone, Debug)]
pub struct Tls(Source);

#[derive(Clone, Debug)]
enum Source {
    Fixed(Arc<ServerConfig>),
    Reloading(Reloading),
}

impl Tls {
    /// The configuration for a handshake that begins now.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        match &self.0 {
            Source::Fixed(config) => config.clone(),
            Source::Reloading(reloading) => reloading.current(),
        }
    }

    /// Why a listener for these protocols cannot use it, if it cannot.
    pub(crate) fn objection(&self, protocols: Protocols) -> Option<TlsObjection> {
        let config = self.current();
        // What came early would be kept by TLS and given to nobody: lost.
        if config.max_early_data_size > 0 {
            return Some(TlsObjection::EarlyData);
        }
        let offers = |name: &[u8]| config.alpn_protocols.iter().any(|offered| offered == name);
        let is_offered = match protocols {
            Protocols::Both => false,
            Protocols::Http1 => offers(H2),
            Protocols::Http2 => offers(HTTP_11) || offers(HTTP_10),
        };
        is_offered.then_some(TlsObjection::Alpn)
    }
}

impl From<Arc<ServerConfig>> for Tls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self(Source::Fixed(config))
    }
}

impl From<ServerConfig> for Tls {
    fn from(config: ServerConfig) -> Self {
        Arc::new(config).into()
    }
}

impl From<Reloading> for Tls {
    fn from(reloading: Reloading) -> Self {
        Self(Source::Reloading(reloading))
    }
}

impl From<&Reloading> for Tls {
    fn from(reloading: &Reloading) -> Self {
        reloading.clone().into()
    }
}

/// Lists in `config` the protocols that a listener speaks, HTTP/2 first, in place of what it listed before.
#[must_use]
pub fn with_alpn(mut config: ServerConfig, protocols: Protocols) -> ServerConfig {
    config.alpn_protocols = match protocols {
        Protocols::Both => vec![H2.to_vec(), HTTP_11.to_vec()],
        Protocols::Http1 => vec![HTTP_11.to_vec()],
        Protocols::Http2 => vec![H2.to_vec()],
    };
    config
}

/// A configuration for one certificate chain (leaf first) and its private key, from PEM files; no client certificates, HTTP/2 and
/// HTTP/1.1 by ALPN.
///
/// The crypto provider is the process's default one: call `CryptoProvider::install_default` at the start of `main`.
///
/// # Errors
/// When a file cannot be read, is no PEM, is larger than 1 MiB, holds no certificate or no key, when the key does not belong to the
/// certificate, or when no provider is installed. Whether a certificate is valid today is for its clients to judge.
pub fn from_pem_files(
    certificate: impl AsRef<Path>,
    key: impl AsRef<Path>,
) -> Result<ServerConfig, PemError> {
    let (certificate, key) = (certificate.as_ref(), key.as_ref());
    let provider = CryptoProvider::get_default().ok_or(PemError(Why::Provider))?;
    let chain = certificates(certificate).map_err(|why| PemError::of(certificate, why))?;
    let secret = private_key(key).map_err(|why| PemError::of(key, why))?;
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, secret)
        })
        .map_err(|error| PemError::of(certificate, Trouble::Refused(error)))?;
    Ok(with_alpn(config, Protocols::Both))
}

/// More than the longest chain that anybody uses.
const PEM_AT_MOST: u64 = 1024 * 1024;

fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Trouble::Read)?;
    file.take(PEM_AT_MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(Trouble::Read)?;
    if bytes.len() as u64 > PEM_AT_MOST {
        return Err(Trouble::TooLarge);
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|_| Trouble::NotPem)?;
    if chain.is_empty() {
        return Err(Trouble::NoCertificate);
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Trouble> {
    // What the parser says about a line is left out: the line may be a part of the key.
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => Trouble::NoKey,
        _ => Trouble::NotPem,
    })
}

/// Why there is no configuration from PEM files.
#[derive(Debug)]
pub struct PemError(Why);

#[derive(Debug)]
enum Why {
    File(PathBuf, Trouble),
    Provider,
}

#[derive(Debug)]
enum Trouble {
    Read(io::Error),
    TooLarge,
    NotPem,
    NoCertificate,
    NoKey,
    Refused(rustls::Error),
}

impl PemError {
    fn of(path: &Path, trouble: Trouble) -> Self {
        Self(Why::File(path.to_owned(), trouble))
    }
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, trouble) = match &self.0 {
            Why::File(path, trouble) => (path.display(), trouble),
            Why::Provider => {
                return f.write_str(
                    "no crypto provider for TLS is installed in this process \
                     (CryptoProvider::install_default)",
                );
            }
        };
        match trouble {
            Trouble::Read(error) => write!(f, "{path} cannot be read: {error}"),
            Trouble::TooLarge => write!(f, "{path} is larger than 1 MiB"),
            Trouble::NotPem => write!(f, "{path} is not valid PEM"),
            Trouble::NoCertificate => write!(f, "{path} holds no certificate"),
            Trouble::NoKey => write!(f, "{path} holds no private key"),
            Trouble::Refused(rustls::Error::InconsistentKeys(_)) => {
                write!(
                    f,
                    "the private key does not belong to the certificate {path}"
                )
            }
            Trouble::Refused(error) => write!(f, "the certificate {path} cannot be used: {error}"),
        }
    }
}

impl Error for PemError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Why::File(_, Trouble::Read(error)) => Some(error),
            Why::File(_, Trouble::Refused(error)) => Some(error),
            Why::File(..) | Why::Provider => None,
        }
    }
}

/// A configuration that is loaded again on SIGHUP.
///
/// A reload that fails changes nothing: the old configuration stays, and the report says why. Open connections are kept, and what they
/// agreed on with them; handshakes whose first message comes after a reload get the new configuration.
///
/// # Examples
/// ```no_run
/// # async fn run(life: lameduck::Lifecycle, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// use lameduck_http::tls::Reloading;
///
/// let tls = Reloading::from_pem_files(&life, "/etc/tls/tls.crt", "/etc/tls/tls.key")?;
/// lameduck_http::serve(&life, "0.0.0.0:8443", app).tls(tls).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Reloading {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Reloading {
    /// Loads a configuration now, and again whenever `life` reloads; `name` is what the report calls it.
    ///
    /// # Errors
    /// What the first `load` answers; then nothing is subscribed.
    pub fn new<C, E>(
        life: &Lifecycle,
        name: impl Into<String>,
        mut load: impl FnMut() -> Result<C, E> + Send + 'static,
    ) -> Result<Self, E>
    where
        C: Into<Arc<ServerConfig>>,
        E: fmt::Display,
    {
        let reloading = Self {
            current: Arc::new(RwLock::new(load()?.into())),
        };
        let current = reloading.current.clone();
        life.on_reload(name, move || {
            let new = load()?.into();
            *current.write().unwrap_or_else(PoisonError::into_inner) = new;
            Ok::<(), E>(())
        });
        Ok(reloading)
    }

    /// Loads what [`from_pem_files`] makes of two files, now and whenever `life` reloads.
    ///
    /// # Errors
    /// As [`from_pem_files`].
    pub fn from_pem_files(
        life: &Lifecycle,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, PemError> {
        let (certificate, key) = (certificate.into(), key.into());
        let name = format!("the certificate {}", certificate.display());
        Self::new(life, name, move || from_pem_files(&certificate, &key))
    }

    /// The configuration for handshakes that begin now.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What one handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    version: Option<ProtocolVersion>,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
    certificates: Vec<CertificateDer<'static>>,
}

impl TlsInfo {
    pub(crate) fn of(session: &ServerConnection) -> Self {
        let certificates = session.peer_certificates().unwrap_or_default();
        Self {
            version: session.protocol_version(),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            server_name: session.server_name().map(str::to_owned),
            certificates: certificates
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
        }
    }

    /// The version of TLS.
    #[must_use]
    pub const fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// The protocol that ALPN chose, such as `h2`; `None` where client and configuration have none in common to list.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// The name that the client asked for (SNI), in lower case.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The client's certificates, its own first; empty unless the configuration asks for them and the client sent them. They passed the
    /// configuration's verifier.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

/// What is spoken after a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreed {
    Http1,
    Http2,
    /// None of ours: such a handshake was all that its client wanted.
    Other,
}

impl Agreed {
    pub(crate) fn of(session: &ServerConnection, protocols: Protocols) -> Self {
        match session.alpn_protocol() {
            Some(H2) => Self::Http2,
            Some(HTTP_11 | HTTP_10) => Self::Http1,
            Some(_) => Self::Other,
            None if protocols == Protocols::Http2 => Self::Http2,
            None => Self::Http1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_provider_the_sentence_says_so() {
        // Nothing in this test binary installs one.
        let error = from_pem_files("/nowhere/tls.crt", "/nowhere/tls.key").expect_err("none");
        assert!(error.to_string().contains("no crypto provider"), "{error}");
    }

    #[test]
    fn what_cannot_be_a_certificate_is_told_apart() {
        let path = |name: &str| {
            std::env::temp_dir().join(format!("lameduck-http-{name}-{}.pem", std::process::id()))
        };
        let (none, broken, large) = (path("none"), path("broken"), path("large"));
        std::fs::write(&none, "nothing here\n").expect("a file");
        std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n").expect("a file");
        std::fs::write(&large, vec![b'x'; 1024 * 1024 + 1]).expect("a file");
        let why = |path: &Path| {
            let trouble = certificates(path).expect_err("no certificate");
            PemError::of(path, trouble).to_string()
        };
        assert!(
            why(&none).ends_with("holds no certificate"),
            "{}",
            why(&none)
        );
        assert!(
            why(&broken).ends_with("is not valid PEM"),
            "{}",
            why(&broken)
        );
        assert!(
            why(&large).ends_with("is larger than 1 MiB"),
            "{}",
            why(&large)
        );
        assert!(why(Path::new("/nowhere")).contains("cannot be read"));
        assert!(matches!(private_key(&none), Err(Trouble::NoKey)));
        for path in [none, broken, large] {
            std::fs::remove_file(path).expect("it was there");
        }
    }
}
