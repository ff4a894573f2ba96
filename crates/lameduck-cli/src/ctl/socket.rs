//! The control socket from outside: one connection for each request, bounded in bytes and time, and a sentence for everything that may be
//! wrong with it.
//!
//! Asks by HTTP/1.0, whose answers end with their connection: there are no chunks to put together.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket as Socket2, Type};

use crate::exit::Failure;

/// How long an answer may take to go on: dumps name thousands of frames first.
const PATIENCE: Duration = Duration::from_secs(40);
/// The same for the head of what is answered at once.
const AT_ONCE: Duration = Duration::from_secs(5);
/// A full queue is looked at so often.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// The most of an answer.
const MOST: u64 = 64 << 20;
/// The most of an answer's head.
const MOST_OF_HEAD: u64 = 64 << 10;

const WHO_MAY: &str = "ask as the user that the service runs as, or as root; a program lets others in with Control::allow_uid";

/// Where a service may be asked.
pub(super) struct Socket {
    path: PathBuf,
}

/// What was answered.
pub(super) struct Answer {
    status: u16,
    pub(super) body: Vec<u8>,
    path: PathBuf,
}

impl Socket {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Asks, and reads the whole answer.
    pub(super) fn ask(&self, method: &str, target: &str, body: &str) -> Result<Answer, Failure> {
        let patience = if target == "/dump" { PATIENCE } else { AT_ONCE };
        let mut reader = self.send(method, target, body, patience)?;
        let head = self.head(&mut reader, patience)?;
        let mut body = Vec::new();
        match reader.by_ref().take(MOST + 1).read_to_end(&mut body) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                return Err(self.broke_off(&error, patience));
            }
            _ => {}
        }
        if head
            .length
            .is_some_and(|length| length != body.len() as u64)
            || body.len() as u64 > MOST
        {
            return Err(Failure::new(format_args!(
                "the answer of {} broke off after {} bytes",
                self.path.display(),
                body.len()
            )));
        }
        Ok(Answer {
            status: head.status,
            body,
            path: self.path.clone(),
        })
    }

    /// Asks for the event stream; what follows its head is the stream.
    pub(super) fn events(&self) -> Result<BufReader<UnixStream>, Failure> {
        let mut reader = self.send("GET", "/events", "", AT_ONCE)?;
        let head = self.head(&mut reader, AT_ONCE)?;
        if head.status == 200 {
            return Ok(reader);
        }
        let mut body = Vec::new();
        // Why it is none is worth a try.
        let _ = reader.take(MOST_OF_HEAD).read_to_end(&mut body);
        let answer = Answer {
            status: head.status,
            body,
            path: self.path.clone(),
        };
        answer.check()?;
        Err(answer.strange())
    }

    fn send(
        &self,
        method: &str,
        target: &str,
        body: &str,
        patience: Duration,
    ) -> Result<BufReader<UnixStream>, Failure> {
        let mut stream = connect(&self.path).map_err(|error| self.none(&error))?;
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.0\r\nhost: control\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let sent = stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(patience)))
            .and_then(|()| stream.write_all(head.as_bytes()));
        match sent {
            // An answer may have come before all was read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            sent => sent.map_err(|error| self.broke_off(&error, patience))?,
        }
        Ok(BufReader::new(stream))
    }

    fn head(
        &self,
        reader: &mut BufReader<UnixStream>,
        patience: Duration,
    ) -> Result<Head, Failure> {
        let mut reader = reader.by_ref().take(MOST_OF_HEAD);
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = match reader.read_until(b'\n', &mut line) {
                // Whoever closes with our request unread: what was answered before that is here.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(line.len()),
                read => read,
            };
            let count = read.map_err(|error| self.broke_off(&error, patience))?;
            if count == 0 || line == b"\r\n" || line == b"\n" {
                break;
            }
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        Head::of(&lines).ok_or_else(|| {
            let said = lines.first().map_or("nothing", String::as_str);
            no_lameduck(&self.path, &format!("it answered {said:?}"))
        })
    }

    /// Why nobody could be asked.
    fn none(&self, error: &io::Error) -> Failure {
        let path = self.path.display();
        let meta = fs::metadata(&self.path);
        match (error.kind(), meta) {
            (ErrorKind::NotFound, _) => Failure::new(format_args!("there is no socket at {path}"))
                .hint("is the service running, and was it started with a control socket (lameduck demo --control PATH)? It removes the file when it has left"),
            (_, Ok(meta)) if !meta.file_type().is_socket() => {
                Failure::new(format_args!("{path} is no socket"))
                    .hint("give the path of the service's control socket")
            }
            (ErrorKind::ConnectionRefused, _) => {
                Failure::new(format_args!("nobody listens on {path}"))
                    .hint("its process was killed or cut and left the file; the next one that starts replaces it")
            }
            (ErrorKind::PermissionDenied, meta) => {
                let whose = meta.map_or_else(|_| String::new(), |meta| format!(", which is of uid {}", meta.uid()));
                Failure::new(format_args!("you may not connect to {path}{whose}"))
                    .hint(WHO_MAY)
            }
            (ErrorKind::WouldBlock, _) => {
                Failure::new(format_args!("{path} is there, and nobody took the connection within {AT_ONCE:?}"))
                    .hint("its process may be stopped or stuck: SIGQUIT writes what its threads are at, and ends it; SIGTERM still holds its deadline")
            }
            _ => Failure::new(format_args!("cannot connect to {path}: {error}")),
        }
    }

    fn broke_off(&self, error: &io::Error, patience: Duration) -> Failure {
        let path = self.path.display();
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            return Failure::new(format_args!(
                "{path} took the request and did not answer within {patience:?}"
            ))
            .hint("its runtime may be stuck: SIGQUIT writes what its threads are at, and ends it; SIGTERM still holds its deadline");
        }
        Failure::new(format_args!("the connection to {path} broke off: {error}"))
    }
}

/// Connects. A socket whose queue is full is tried for a while (connect(2) of a Unix socket would wait for ever, or says `EAGAIN` at once).
fn connect(path: &Path) -> io::Result<UnixStream> {
    let until = Instant::now() + AT_ONCE;
    let address = SockAddr::unix(path)?;
    loop {
        let socket = Socket2::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                thread::sleep(BETWEEN_TRIES);
            }
            connected => {
                connected?;
                socket.set_nonblocking(false)?;
                return Ok(UnixStream::from(OwnedFd::from(socket)));
            }
        }
    }
}

fn no_lameduck(path: &Path, why: &str) -> Failure {
    Failure::new(format_args!(
        "what listens on {} is no control socket of lameduck: {why}",
        path.display()
    ))
    .hint("give the path that the service was started with")
}

struct Head {
    status: u16,
    length: Option<u64>,
}

impl Head {
    fn of(lines: &[String]) -> Option<Self> {
        let (first, fields) = lines.split_first()?;
        let status = first.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let length = fields.iter().find_map(|field| {
            let (name, value) = field.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        Some(Self { status, length })
    }
}

impl Answer {
    pub(super) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The service understood, and would not: it cannot now, or knows nobody of that name. Anything else is a mistake of somebody's.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self.status, 404 | 409 | 503)
    }

    /// What it says, in a sentence.
    pub(super) fn said(&self) -> Result<String, Failure> {
        match self.json()?.get("said").and_then(Value::as_str) {
            Some(said) => Ok(said.to_owned()),
            None => Err(self.strange()),
        }
    }

    /// Fails where it is a refusal.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.is_ok() {
            return Ok(());
        }
        let failure = Failure::new(self.said()?);
        Err(match self.status {
            404 => failure.hint("the service may be of another version of lameduck"),
            403 => failure.hint(WHO_MAY),
            _ if self.is_refusal() => failure.code(super::REFUSED),
            _ => failure,
        })
    }

    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| self.strange())
    }

    fn strange(&self) -> Failure {
        let text = String::from_utf8_lossy(&self.body);
        let start: String = text.trim().chars().take(80).collect();
        no_lameduck(
            &self.path,
            &format!("it answered {} and {start:?}", self.status),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let head = |text: &str| {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            Head::of(&lines).map(|head| (head.status, head.length))
        };
        assert_eq!(
            head("HTTP/1.0 202 Accepted\nContent-Length: 12"),
            Some((202, Some(12)))
        );
        assert_eq!(head("HTTP/1.1 200 OK"), Some((200, None)));
        for none in ["", "SSH-2.0-OpenSSH_9", "HTTP/1.1", "HTTP/1.1 2"] {
            assert_eq!(head(none), None, "{none:?}");
        }
    }
}
