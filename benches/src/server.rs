//! A server process under test: started on a free loopback port, signalled, watched to its end.
//!
//! Owns: the child process, its pid descriptor (so that its end wakes the clients' loop), the tail of its stderr, and
//! that nothing outlives the measurement: dropping it kills and reaps. Not here: load, counting.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for a server to be ready.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of stderr that are kept; the rest is read and dropped.
const MOST_STDERR: usize = 16 * 1024;
/// Below the usual ephemeral range: a client's own port can then never be the port that it connects to.
const FIRST_PORT: u16 = 18_000;
const PORTS: u16 = 14_000;

/// A signal that asks a server to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
    /// SIGQUIT: nginx's graceful stop
    Quit,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Interrupt => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
        })
    }
}

/// How a server says that it is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ready {
    /// By a line on stdout.
    Line,
    /// By accepting a connection.
    Accepts,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where it will listen.
    pub address: SocketAddr,
    /// How it says that it is ready.
    pub ready: Ready,
}

/// Why a server could not be started.
#[derive(Debug)]
pub enum StartError {
    /// The program could not be run.
    Spawn(OsString, io::Error),
    /// It ended before it was ready; the tail of its stderr.
    Ended(ExitStatus, String),
    /// It was not ready in time; the tail of its stderr.
    NotReady(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn(program, error) => {
                write!(f, "cannot run {}: {error}", program.to_string_lossy())
            }
            Self::Ended(status, stderr) => {
                write!(f, "server ended before it was ready ({status}): {stderr}")
            }
            Self::NotReady(stderr) => {
                write!(f, "server not ready within {READY_WITHIN:?}: {stderr}")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spawn(_, error) => Some(error),
            Self::Ended(..) | Self::NotReady(_) => None,
        }
    }
}

/// A running server; killed and reaped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid_fd: OwnedFd,
    address: SocketAddr,
    status: Option<ExitStatus>,
    ready_line: String,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it cannot be run, ends, or is not ready within ten seconds.
    pub fn start(launch: &Launch) -> Result<Self, StartError> {
        let spawn_error = |error| StartError::Spawn(launch.program.clone(), error);
        let mut child = Command::new(&launch.program)
            .args(&launch.args)
            // What the environment detects or configures must not differ between machines.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(spawn_error)?;
        let pid_fd = match pid_fd(child.id()) {
            Ok(fd) => fd,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(spawn_error(error));
            }
        };
        let stdout = child.stdout.take();
        let stderr = keep_tail(child.stderr.take());
        let mut server = Self {
            child,
            pid_fd,
            address: launch.address,
            status: None,
            ready_line: String::new(),
            stderr,
        };
        let first_line = first_line(stdout);
        server.wait_ready(launch.ready, &first_line)?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The line by which it said that it is ready, without its end; empty where it was seen to accept.
    pub fn ready_line(&self) -> &str {
        &self.ready_line
    }

    /// Its process id, which stays its own until it is reaped.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A descriptor that becomes readable when the process ends.
    pub fn pid_fd(&self) -> RawFd {
        self.pid_fd.as_raw_fd()
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.exit_status().is_none() {
            let pid = self.child.id().cast_signed();
            // SAFETY: kill takes no pointers. The pid is our own child's and cannot have been given to another
            // process, because the child has not been reaped (checked above; only `exit_status` reaps).
            unsafe { libc::kill(pid, signal.number()) };
        }
    }

    /// Its exit status, once it has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Waits for its end; returns when that was seen, or nothing after `within`.
    pub fn wait_exit(&mut self, within: Duration) -> Option<Instant> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut descriptor = libc::pollfd {
                fd: self.pid_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            let millis = libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX);
            // SAFETY: the pointer is to one pollfd that lives through the call, and the count says one.
            unsafe { libc::poll(&raw mut descriptor, 1, millis) };
            let seen_at = Instant::now();
            if self.exit_status().is_some() {
                return Some(seen_at);
            }
            if seen_at >= until {
                return None;
            }
        }
    }

    /// The end of what it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        let kept = self
            .stderr
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }

    /// The end of what it wrote to stderr until it closed that, or until now after `within`.
    pub fn last_words(&self, within: Duration) -> String {
        let until = Instant::now() + within;
        // The thread that reads holds the other reference, and lets it go at the end.
        while Arc::strong_count(&self.stderr) > 1 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.stderr()
    }

    fn wait_ready(
        &mut self,
        ready: Ready,
        line: &mpsc::Receiver<String>,
    ) -> Result<(), StartError> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.exit_status() {
                return Err(StartError::Ended(status, self.stderr()));
            }
            match ready {
                Ready::Line => match line.recv_timeout(Duration::from_millis(50)) {
                    Ok(line) => {
                        self.ready_line = line;
                        return Ok(());
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    // Closed without a line: it is about to end, or never will be ready.
                    Err(RecvTimeoutError::Disconnected) => {
                        std::thread::sleep(Duration::from_millis(5))
                    }
                },
                Ready::Accepts => {
                    if TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok()
                    {
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Err(StartError::NotReady(self.stderr()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            // Both fail only when it has just ended.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Describes an exit status: the code, or the signal that ended it.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown end".to_owned(),
    }
}

/// Finds a loopback address that nobody listens on.
///
/// # Errors
///
/// When none of the ports can be bound.
pub fn free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % u32::from(PORTS)) as u16;
    for _ in 0..PORTS {
        // Relaxed: only uniqueness matters, nothing is published through it.
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + (offset % PORTS + step % PORTS) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::from(io::ErrorKind::AddrInUse))
}

fn pid_fd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes a pid and flags, no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).expect("a descriptor is an int");
    // SAFETY: the call succeeded, so this is an open descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Tells when the first line has been read; then reads on, so that the pipe never blocks the server.
fn first_line(stdout: Option<ChildStdout>) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    let Some(stdout) = stdout else { return told };
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        if lines
            .by_ref()
            .take(4096)
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            // Nobody listens once the server was given up.
            let _ = tell.send(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        let _ = io::copy(&mut lines, &mut io::sink());
    });
    told
}

fn keep_tail(stderr: Option<ChildStderr>) -> Arc<Mutex<Vec<u8>>> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let Some(mut stderr) = stderr else {
        return kept;
    };
    let keep = Arc::clone(&kept);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut buffer) {
            let mut kept = keep
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..read]);
            let surplus = kept.len().saturating_sub(MOST_STDERR);
            kept.drain(..surplus);
        }
    });
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, ready: Ready) -> Launch {
        Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            ready,
        }
    }

    #[test]
    fn a_server_is_ready_at_its_line_and_gone_after_its_signal() {
        let mut server = Server::start(&shell(
            "echo ready; exec cat /dev/zero > /dev/null",
            Ready::Line,
        ))
        .unwrap();
        assert_eq!(server.ready_line(), "ready");
        assert!(server.exit_status().is_none());
        server.signal(Signal::Terminate);
        let status = server.child.wait().unwrap();
        assert_eq!(describe(status), "signal 15");
    }

    #[test]
    fn a_server_that_ends_early_is_told_with_its_stderr() {
        let error = Server::start(&shell("echo broken >&2; exit 3", Ready::Line)).unwrap_err();
        assert!(matches!(
            error,
            StartError::Ended(..) | StartError::NotReady(_)
        ));
        assert!(error.to_string().contains('3'), "{error}");
    }

    #[test]
    fn free_addresses_differ() {
        assert_ne!(free_address().unwrap(), free_address().unwrap());
    }
}
