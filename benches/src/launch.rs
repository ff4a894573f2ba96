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
    let program = beside_this("peer").ok_or_else(|| {
        io::Error::other(
            "no `peer` beside this program\nhint: cargo build --release -p lameduck-benches --bins",
        )
    })?;
    Ok(Launch {
        program: program.into(),
        args: vec![name.into(), address.to_string().into()],
        address,
        ready: Ready::Line,
    })
}

fn beside_this(name: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(name);
    path.is_file().then_some(path)
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
        let directory = self.directory.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {directory}/{name};\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nworker_processes 2;\npid {directory}/pid;\nerror_log stderr crit;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\naccess_log off;\nkeepalive_requests 10000000;\nkeepalive_timeout 75s;\n{temporary}\
             server {{\nlisten {address} backlog=4096;\nlocation / {{ return 200 \"hello\\n\"; }}\n}}\n}}\n"
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
