//! The demo's TLS: files that are read again on SIGHUP, or a certificate made for this run.

use std::error::Error;

use lameduck::Lifecycle;
use lameduck_http::{
    Protocols,
    tls::{self, Reloading, Tls, rustls},
};
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::args::DemoArguments;

/// Whom a certificate made for this run is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What can be found out before anything starts: whether the files can be used.
pub(super) fn check(arguments: &DemoArguments) -> Result<(), tls::PemError> {
    // Refused only where one is installed already, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let (Some(certificate), Some(key)) = (&arguments.cert, &arguments.key) {
        tls::from_pem_files(certificate, key)?;
    }
    Ok(())
}

/// The configuration of the TLS listener.
pub(super) fn load(
    arguments: &DemoArguments,
    life: &Lifecycle,
) -> Result<Tls, Box<dyn Error + Send + Sync>> {
    match (&arguments.cert, &arguments.key) {
        (Some(certificate), Some(key)) => {
            Ok(Reloading::from_pem_files(life, certificate, key)?.into())
        }
        _ => self_signed(),
    }
}

fn self_signed() -> Result<Tls, Box<dyn Error + Send + Sync>> {
    let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.into()], key.into())?;
    Ok(tls::with_alpn(config, Protocols::Both).into())
}
