//! The contenders: who they are, what they speak, how they are started and stopped.
//!
//! Owns: names and command lines, and which of them cannot be had on this machine. Not here: the servers themselves
//! (`bin/peer`, nginx, `matrix/go`).

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::link::Cover;
use super::speech::Speech;
use crate::launch::{self, Nginx, NginxSite};
use crate::server::{self, Launch, Ready, Signal};

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Contender {
    /// `lameduck_http::serve` with the handler that all have
    Lameduck,
    /// The same once more: what differs between the two is noise
    Again,
    /// hyper alone, for one protocol
    Bare,
    /// hyper alone, with hyper-util's detection of the protocol
    BareAuto,
    /// hyper alone, with lameduck's time limits
    Limited,
    /// hyper under hyper-util's `GracefulShutdown`
    HyperUtil,
    /// hyper with `CancellationToken` and `TaskTracker`
    Tokens,
    /// hyper under tokio-graceful
    TokioGraceful,
    /// `axum::serve`
    Axum,
    /// nginx with two workers
    Nginx,
    /// Go's net/http
    Go,
}

impl Contender {
    /// As tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lameduck => "lameduck",
            Self::Again => "lameduck, again",
            Self::Bare => "hyper, bare",
            Self::BareAuto => "hyper, bare, auto",
            Self::Limited => "hyper, bare, same limits",
            Self::HyperUtil => "hyper-util GracefulShutdown",
            Self::Tokens => "CancellationToken + TaskTracker",
            Self::TokioGraceful => "tokio-graceful",
            Self::Axum => "axum::serve",
            Self::Nginx => "nginx",
            Self::Go => "Go net/http",
        }
    }

    /// What asks it to leave gracefully.
    pub fn signal(self) -> Signal {
        match self {
            Self::Nginx => Signal::Quit,
            _ => Signal::Terminate,
        }
    }

    /// The recipe of the `peer` binary; nothing for a program of its own.
    fn recipe(self) -> Option<&'static str> {
        match self {
            Self::Lameduck | Self::Again => Some("lameduck"),
            Self::Bare | Self::BareAuto | Self::Limited => Some("bare"),
            Self::HyperUtil => Some("hyper-util"),
            Self::Tokens => Some("tokens"),
            Self::TokioGraceful => Some("tokio-graceful"),
            Self::Axum => Some("axum"),
            Self::Nginx | Self::Go => None,
        }
    }

    /// Whether it can take part.
    pub fn serves(self, speech: Speech, cover: &Cover) -> bool {
        let secure = matches!(cover, Cover::Tls(_));
        match self {
            Self::Lameduck | Self::Again => true,
            Self::Axum => speech != Speech::WebSocket && !secure,
            _ => speech != Speech::WebSocket,
        }
    }
}

/// How a contender is to run.
#[derive(Clone, Copy, Debug)]
pub struct Staging<'a> {
    /// What it is spoken to in.
    pub speech: Speech,
    /// Whether with TLS.
    pub cover: &'a Cover,
    /// On one thread, for counting instructions.
    pub single: Option<Single>,
}

/// A current-thread runtime.
#[derive(Clone, Copy, Debug)]
pub struct Single;

/// What is needed to start contenders.
#[derive(Debug)]
pub struct Stage {
    peer: PathBuf,
    nginx: Option<Nginx>,
    go: Option<PathBuf>,
    pem: (PathBuf, PathBuf),
    tls: Cover,
    missing: Vec<(Contender, String)>,
    directory: PathBuf,
}

impl Stage {
    /// Finds out who can be had, builds the Go program, and makes a certificate.
    ///
    /// # Errors
    ///
    /// When the `peer` binary is missing, or the temporary directory cannot be written to.
    pub fn set(go: &Path) -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("lameduck-peers-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        let (pem, tls) = certificate(&directory)?;
        let mut missing = Vec::new();
        let nginx = match runs("nginx", "-v") {
            Ok(()) => Some(Nginx::new()?),
            Err(error) => {
                missing.push((Contender::Nginx, error.to_string()));
                None
            }
        };
        let go = go.is_file().then(|| go.to_path_buf());
        if go.is_none() {
            missing.push((
                Contender::Go,
                "it was not built (benches/go/build)".to_owned(),
            ));
        }
        Ok(Self {
            peer: launch::peer_binary()?,
            nginx,
            go,
            pem,
            tls,
            missing,
            directory,
        })
    }

    /// Who is missing, and why.
    pub fn missing(&self) -> &[(Contender, String)] {
        &self.missing
    }

    /// Where files may be left that are only needed while this lives.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// TLS as a client of these servers speaks it.
    pub fn tls(&self) -> &Cover {
        &self.tls
    }

    /// The program that cancels a context of Go's; nothing where it was not built.
    pub fn go_context(&self) -> Option<PathBuf> {
        let program = self.go.as_ref()?.with_file_name("go-context");
        program.is_file().then_some(program)
    }

    /// Whether nginx has its echo module, without which it cannot be slow.
    pub fn has_slow_nginx(&self) -> bool {
        self.nginx.is_some() && launch::nginx_echo_module().is_some()
    }

    /// Whether a contender is here and speaks what is wanted.
    pub fn has(&self, contender: Contender, staging: Staging<'_>) -> bool {
        contender.serves(staging.speech, staging.cover)
            && self
                .missing
                .iter()
                .all(|(missing, _)| *missing != contender)
    }

    /// The command line of a contender that is here.
    ///
    /// # Errors
    ///
    /// When no port is free, or a configuration cannot be written.
    pub fn launch(&self, contender: Contender, staging: Staging<'_>) -> io::Result<Launch> {
        let address = server::free_address()?;
        let secure = matches!(staging.cover, Cover::Tls(_));
        if let Some(recipe) = contender.recipe() {
            return Ok(self.peer(contender, recipe, address, staging));
        }
        match (contender, &self.nginx, &self.go) {
            (Contender::Nginx, Some(nginx), _) => nginx.launch_site(NginxSite {
                address,
                http2: staging.speech == Speech::Http2,
                pem: secure.then_some((&self.pem.0, &self.pem.1)),
            }),
            (Contender::Go, _, Some(go)) => self.go(go, address, secure),
            _ => Err(io::Error::other(format!("no {}", contender.name()))),
        }
    }

    /// lameduck with a window, in plain text and over TLS at once; the second address is that of TLS.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub fn launch_both(&self, window: &str) -> io::Result<(Launch, SocketAddr)> {
        let tls = server::free_address()?;
        let staging = Staging {
            speech: Speech::Http1,
            cover: &self.tls,
            single: None,
        };
        let mut launch = self.launch(Contender::Lameduck, staging)?;
        let further = ["--tls-listen", &tls.to_string(), "--window", window];
        launch.args.extend(further.map(OsString::from));
        Ok((launch, tls))
    }

    fn peer(
        &self,
        contender: Contender,
        recipe: &str,
        address: SocketAddr,
        staging: Staging<'_>,
    ) -> Launch {
        let speech = match (contender, staging.speech) {
            (Contender::BareAuto, _) => "auto",
            (_, Speech::Http2) => "http2",
            _ => "http1",
        };
        let mut args: Vec<OsString> = vec![recipe.into(), address.to_string().into()];
        args.extend(["--speech", speech].map(OsString::from));
        if contender == Contender::Limited {
            args.extend(["--terms", "limited"].map(OsString::from));
        }
        if staging.single.is_some() {
            args.extend(["--threads", "one"].map(OsString::from));
        }
        if matches!(staging.cover, Cover::Tls(_)) {
            args.extend(["--cert".into(), self.pem.0.clone().into()]);
            args.extend(["--key".into(), self.pem.1.clone().into()]);
        }
        Launch {
            program: self.peer.clone().into(),
            args,
            address,
            ready: Ready::Line,
        }
    }

    fn go(&self, program: &Path, address: SocketAddr, secure: bool) -> io::Result<Launch> {
        let mut args: Vec<OsString> = Vec::new();
        if secure {
            // It always has a listener without TLS too.
            args.extend(["-listen".into(), server::free_address()?.to_string().into()]);
            args.extend(["-tls-listen".into(), address.to_string().into()]);
            args.extend(["-cert".into(), self.pem.0.clone().into()]);
            args.extend(["-key".into(), self.pem.1.clone().into()]);
        } else {
            args.extend(["-listen".into(), address.to_string().into()]);
        }
        Ok(Launch {
            program: program.into(),
            args,
            address,
            ready: Ready::Accepts,
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Left-overs in the temporary directory are no reason to fail a measurement.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn runs(program: &str, argument: &str) -> io::Result<()> {
    let status = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program} {argument} failed")))
}

/// A certificate for this run, on disk for the servers and trusted by the clients.
fn certificate(directory: &Path) -> io::Result<((PathBuf, PathBuf), Cover)> {
    let made =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    let pem = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&pem.0, made.cert.pem())?;
    std::fs::write(&pem.1, made.signing_key.serialize_pem())?;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(made.cert.der().clone())
        .map_err(io::Error::other)?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((pem, Cover::Tls(config.into())))
}
