//! What the four servers share: where they listen, when they are told to stop, and bodies that take their time.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};

/// From the stop signal to giving up, where a server leaves that to its program. The matrix kills after 6 s.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// The address to listen on; the port is that of the variable `PORT`.
pub fn address() -> (&'static str, u16) {
    ("127.0.0.1", variable("PORT").parse().expect("PORT is a number"))
}

/// The address for TLS and how it is spoken there: the variables `TLS_PORT`, `TLS_CERT` and `TLS_KEY`.
pub fn tls() -> ((&'static str, u16), ServerConfig) {
    let port = variable("TLS_PORT").parse().expect("TLS_PORT is a number");
    let chain = CertificateDer::pem_file_iter(Path::new(&variable("TLS_CERT")))
        .and_then(Iterator::collect)
        .expect("TLS_CERT names certificates");
    let key = PrivateKeyDer::from_pem_file(Path::new(&variable("TLS_KEY"))).expect("TLS_KEY names a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .expect("key and certificate belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (("127.0.0.1", port), config)
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

/// Ends at SIGTERM or SIGINT.
pub async fn told_to_stop() {
    let mut term = signal(SignalKind::terminate()).expect("signals can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be handled");
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The number after `name=` in a query.
pub fn number(query: Option<&str>, name: &str, default: u64) -> u64 {
    let pairs = query.unwrap_or_default().split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(default)
}

/// A piece of a body.
pub type Piece = Result<Bytes, Infallible>;

/// That many bytes, in pieces of 64 KiB.
pub fn large(bytes: u64) -> impl Stream<Item = Piece> {
    stream::unfold(bytes, |left| async move {
        let piece = left.min(64 * 1024);
        let length = usize::try_from(piece).expect("64 KiB fit");
        (piece > 0).then(|| (Ok(Bytes::from(vec![b'x'; length])), left - piece))
    })
}

/// That many chunks, so far apart.
pub fn chunks(count: u64, apart: Duration) -> impl Stream<Item = Piece> {
    stream::iter(1..=count).then(move |index| async move {
        if index > 1 {
            tokio::time::sleep(apart).await;
        }
        Ok(Bytes::from(format!("chunk {index}\n")))
    })
}

/// Server-sent events without an end.
pub fn events(apart: Duration) -> impl Stream<Item = Piece> {
    stream::iter(1_u64..).then(move |index| async move {
        tokio::time::sleep(apart).await;
        Ok(Bytes::from(format!("id: {index}\ndata: {index}\n\n")))
    })
}
