//! How each server under test is started.
//!
//! Owns: command lines, where binaries are found, nginx's configuration and its temporary directory. Not here: the
//! process once it runs (`server`).

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::server::{Launch, Ready};

/// The grace period that `lameduck demo` is given.
pub const GRACE: Duration = Duration::from_secs(4);

/// Finds the lameduck binary: the one given, one beside this program, or `target/release/lameduck`.
pub fn lameduck_binary(given: Option<&Path>) -> PathBuf {
    given
        .map(Path::to_path_buf)
        .or_else(|| beside_this("lameduck"))
        .unwrap_or_else(|| "target/release/lameduck".into())
}

/// `lameduck demo` with a window, [`GRACE`] and further arguments.
pub fn lameduck(program: &Path, address: SocketAddr, window: &str, further: &[&str]) -> Launch {
    lameduck_within(GRACE, program, address, window, further)
}

/// `lameduck demo` with a grace period, a window and further arguments.
pub fn lameduck_within(
    grace: Duration,
    program: &Path,
    address: SocketAddr,
    window: &str,
    further: &[&str],
) -> Launch {
    let (listen, grace) = (address.to_string(), format!("{}ms", grace.as_millis()));
    let args = [
        "demo", "--listen", &listen, "--window", window, "--grace", &grace,
    ];
    Launch {
        program: program.into(),
        args: args.iter().chain(further).map(OsString::from).collect(),
        address,
        ready: Ready::Line,
    }
}

/// One of the servers of the `peer` binary, which must stand beside this program.
///
/// # Errors
///
/// When it does not.
pub fn peer(name: &str, address: SocketAddr) -> io::Result<Launch> {
    Ok(Launch {
        program: peer_binary()?.into(),
        args: vec![name.into(), address.to_string().into()],
        address,
        ready: Ready::Line,
    })
}

/// Finds the `peer` binary, which must stand beside this program.
///
/// # Errors
///
/// When it does not.
pub fn peer_binary() -> io::Result<PathBuf> {
    beside_this("peer").ok_or_else(|| {
        io::Error::other(
            "no `peer` beside this program\nhint: cargo build --release -p lameduck-benches --bins",
        )
    })
}

fn beside_this(name: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(name);
    path.is_file().then_some(path)
}

/// For each worker; either may get all of them.
const NGINX_CONNECTIONS: u32 = 16_384;

/// Where Debian puts the module that lets nginx take its time.
pub fn nginx_echo_module() -> Option<PathBuf> {
    let module = PathBuf::from("/usr/lib/nginx/modules/ngx_http_echo_module.so");
    module.is_file().then_some(module)
}

/// What nginx serves.
#[derive(Clone, Copy, Debug)]
pub struct NginxSite<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// HTTP/2 by prior knowledge, and nothing else.
    pub http2: bool,
    /// Certificate and key, for TLS.
    pub pem: Option<(&'a Path, &'a Path)>,
}

/// nginx's own directory, removed when dropped.
#[derive(Debug)]
pub struct Nginx {
    directory: PathBuf,
}

impl Nginx {
    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// When the temporary directory cannot be written to.
    pub fn new() -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("lameduck-lost-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        Ok(Self { directory })
    }

    /// nginx with two workers that answers `GET /` itself.
    ///
    /// # Errors
    ///
    /// When its configuration cannot be written.
    pub fn launch(&self, address: SocketAddr) -> io::Result<Launch> {
        self.launch_site(NginxSite {
            address,
            http2: false,
            pem: None,
        })
    }

    /// The same in another protocol. Where its echo module is installed, `/slow` takes 300 ms.
    ///
    /// # Errors
    ///
    /// When its configuration cannot be written.
    pub fn launch_site(&self, site: NginxSite<'_>) -> io::Result<Launch> {
        let directory = self.directory.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {directory}/{name};\n"))
            .concat();
        let (load, slow) = match nginx_echo_module() {
            Some(module) => (
                format!("load_module {};\n", module.display()),
                "location /slow { echo_sleep 0.3; echo hello; }\n",
            ),
            None => (String::new(), ""),
        };
        let NginxSite {
            address,
            http2,
            pem,
        } = site;
        let http2 = if http2 { " http2" } else { "" };
        let (ssl, files) = match pem {
            Some((certificate, key)) => (
                " ssl",
                format!(
                    "ssl_certificate {};\nssl_certificate_key {};\n",
                    certificate.display(),
                    key.display()
                ),
            ),
            None => ("", String::new()),
        };
        let configuration = format!(
            "{load}daemon off;\nworker_processes 2;\npid {directory}/pid;\nerror_log stderr crit;\n\
             events {{ worker_connections {NGINX_CONNECTIONS}; }}\n\
             http {{\naccess_log off;\nkeepalive_requests 10000000;\nkeepalive_timeout 75s;\n{temporary}{files}\
             server {{\nlisten {address} backlog=4096{ssl}{http2};\n{slow}\
             location / {{ return 200 \"hello\\n\"; }}\n}}\n}}\n"
        );
        let file = self.directory.join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let prefix = self.directory.clone();
        Ok(Launch {
            program: "nginx".into(),
            args: vec![
                "-e".into(),
                "stderr".into(),
                "-p".into(),
                prefix.into(),
                "-c".into(),
                file.into(),
            ],
            address,
            ready: Ready::Accepts,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Left-overs in the temporary directory are no reason to fail a measurement.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
