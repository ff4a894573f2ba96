//! The demo under test: what it speaks, and how it is started with all doors open.
//!
//! Owns: finding out, by asking once, which protocols a lameduck binary serves; its listeners. Not here: the process
//! (`server`), the load.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::honest;
use crate::launch;
use crate::server::{self, Server, StartError};

/// How long one answer may take while the demo is asked what it speaks.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most bytes of an answer that are read for that.
const MOST_READ: usize = 4096;

/// Which listener a client uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Door {
    /// Without TLS.
    Plain,
    /// With TLS.
    Tls,
}

/// A protocol that a server may speak.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Speech {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 by prior knowledge
    Http2,
    /// WebSocket over HTTP/1.1
    WebSocket,
    /// WebSocket over HTTP/2, by extended CONNECT
    Tunnel,
    /// An event stream
    Events,
    /// gRPC
    Grpc,
    /// TLS, with HTTP/1.1 and HTTP/2 by ALPN
    Tls,
}

impl Speech {
    /// All that is looked for.
    pub const ALL: [Self; 7] = [
        Self::Http1,
        Self::Http2,
        Self::WebSocket,
        Self::Tunnel,
        Self::Events,
        Self::Grpc,
        Self::Tls,
    ];
}

impl fmt::Display for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::WebSocket => "WebSocket",
            Self::Tunnel => "WebSocket over HTTP/2",
            Self::Events => "event streams",
            Self::Grpc => "gRPC",
            Self::Tls => "TLS",
        })
    }
}

/// A lameduck binary, and what its demo speaks.
#[derive(Clone, Debug)]
pub struct Demo {
    program: PathBuf,
    speaks: BTreeSet<Speech>,
}

/// A demo that runs.
#[derive(Debug)]
pub struct Running {
    /// The process and its listener without TLS.
    pub server: Server,
    /// Its listener with TLS.
    pub tls: Option<SocketAddr>,
}

impl Running {
    /// The address behind a door; nothing where there is none.
    pub fn address(&self, door: Door) -> Option<SocketAddr> {
        match door {
            Door::Plain => Some(self.server.address()),
            Door::Tls => self.tls,
        }
    }
}

impl Demo {
    /// Starts the demo once and asks it for everything.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn learn(program: &Path) -> Result<Self, StartError> {
        let mut demo = Self {
            program: program.to_path_buf(),
            speaks: BTreeSet::from([Speech::Http1]),
        };
        if offers(program, "--tls-listen") {
            demo.speaks.insert(Speech::Tls);
        }
        let running = demo.start("none", Duration::from_secs(4), &[])?;
        let address = running.server.address();
        for (speech, asked) in [
            (Speech::Http2, speaks_http2(address)),
            (Speech::WebSocket, speaks_websocket(address)),
            (Speech::Events, speaks_events(address)),
        ] {
            // An answer that cannot be had is a no.
            if asked.unwrap_or(false) {
                demo.speaks.insert(speech);
            }
        }
        let tunnels = || settings_of(address).is_ok_and(|settings| allow_tunnels(&settings));
        if demo.speaks(Speech::Http2) && demo.speaks(Speech::WebSocket) && tunnels() {
            demo.speaks.insert(Speech::Tunnel);
        }
        if demo.speaks(Speech::Http2) && honest::speaks_grpc(address, PATIENCE) {
            demo.speaks.insert(Speech::Grpc);
        }
        Ok(demo)
    }

    /// Whether it speaks a protocol.
    pub fn speaks(&self, speech: Speech) -> bool {
        self.speaks.contains(&speech)
    }

    /// What it does not speak.
    pub fn lacks(&self) -> Vec<Speech> {
        let missing = |speech: &Speech| !self.speaks(*speech);
        Speech::ALL.into_iter().filter(missing).collect()
    }

    /// Starts it with all its doors on free ports.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub fn start(
        &self,
        window: &str,
        grace: Duration,
        further: &[&str],
    ) -> Result<Running, StartError> {
        let address = server::free_address()
            .map_err(|error| StartError::Spawn(self.program.clone().into(), error))?;
        let mut further = further.to_vec();
        if self.speaks(Speech::Tls) {
            further.extend(["--tls-listen", "127.0.0.1:0"]);
        }
        let launch = launch::lameduck_within(grace, &self.program, address, window, &further);
        let server = Server::start(&launch)?;
        let tls = listener_named("tls", server.ready_line());
        Ok(Running { server, tls })
    }
}

/// The address behind a word of the ready line.
fn listener_named(name: &str, line: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

fn offers(program: &Path, flag: &str) -> bool {
    Command::new(program)
        .args(["demo", "--help"])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains(flag))
}

fn speaks_http2(address: SocketAddr) -> io::Result<bool> {
    settings_of(address).map(|_| true)
}

/// The payload of the SETTINGS frame that opens an HTTP/2 connection.
fn settings_of(address: SocketAddr) -> io::Result<Vec<u8>> {
    const SETTINGS: u8 = 4;
    let opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut stream = ask(address, opening)?;
    let mut frame = [0; 9];
    stream.read_exact(&mut frame)?;
    let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
    if frame[3] != SETTINGS || length > MOST_READ {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

/// Whether SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3) is on.
fn allow_tunnels(settings: &[u8]) -> bool {
    settings
        .chunks_exact(6)
        .any(|setting| setting == [0, 8, 0, 0, 0, 1])
}

fn speaks_websocket(address: SocketAddr) -> io::Result<bool> {
    let head = head_of(
        address,
        b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    Ok(head.starts_with("HTTP/1.1 101"))
}

fn speaks_events(address: SocketAddr) -> io::Result<bool> {
    let head = head_of(
        address,
        b"GET /sse?ms=50 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    )?;
    Ok(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"))
}

fn ask(address: SocketAddr, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    Ok(stream)
}

/// The head of the answer to `request`; an end before that is an empty one.
fn head_of(address: SocketAddr, request: &[u8]) -> io::Result<String> {
    let mut stream = ask(address, request)?;
    let mut head = Vec::new();
    let mut buffer = [0; 512];
    while head.len() < MOST_READ {
        let read = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&head);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            return Ok(head.to_owned());
        }
        if read == 0 {
            break;
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_from_the_ready_line() {
        let line = "lameduck demo listening on 127.0.0.1:1  tls 127.0.0.1:2  admin 127.0.0.1:3  plan local";
        assert_eq!(listener_named("tls", line), "127.0.0.1:2".parse().ok());
        assert_eq!(listener_named("probes", line), None);
    }

    #[test]
    fn extended_connect_is_read_from_the_settings() {
        assert!(allow_tunnels(&[0, 3, 0, 0, 0, 100, 0, 8, 0, 0, 0, 1]));
        assert!(!allow_tunnels(&[0, 3, 0, 0, 0, 8, 0, 8, 0, 0, 0, 0]));
    }
}
