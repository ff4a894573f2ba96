//! Owns one session of a participant: joining at a control socket, hearing what it is told, saying something; each with a
//! bound in bytes and time. Not: what it says and when (see `cast`).
//!
//! In HTTP/1.0: an answer then ends with its connection, and nothing has to be unpacked.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::schema::{answer_misfit, misfit};

/// For joining, and for one answer.
const BOUND: Duration = Duration::from_secs(1);
/// A message has 16 KiB at most; nothing that we read is longer than this.
const MOST: usize = 32 * 1024;
/// More that does not fit the schema is not kept.
const MOST_MISFITS: usize = 4;

/// One message of the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    /// When it was read.
    pub(super) at: Instant,
    pub(super) kind: String,
    pub(super) id: Option<String>,
    /// Until the drain ends.
    pub(super) left: Option<Duration>,
    /// With all that was granted; none until the drain ends.
    pub(super) budget: Option<Duration>,
    pub(super) again: bool,
    pub(super) wish: Option<u64>,
    pub(super) by: Option<Duration>,
    pub(super) state: Option<String>,
    pub(super) session: Option<String>,
}

impl Told {
    pub(super) fn read(at: Instant, text: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(text).ok()?;
        let word = |name: &str| message[name].as_str().map(str::to_owned);
        let time = |name: &str| message[name].as_u64().map(Duration::from_millis);
        Some(Self {
            at,
            kind: word("type")?,
            id: word("id"),
            left: time("left_ms"),
            budget: time("budget_ms"),
            again: message["again"].as_bool().unwrap_or_default(),
            wish: message["wish"].as_u64(),
            by: time("by_ms"),
            state: word("state"),
            session: word("session"),
        })
    }

    /// The end of the drain, as it was known then.
    pub(super) fn end(&self) -> Option<Instant> {
        Some(self.at + self.left?)
    }
}

/// What came of saying something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Taken,
    /// Understood, and without effect; also from a session that is over.
    NotTaken,
    /// Not understood, or not allowed.
    Refused(u16),
    /// Nobody was there.
    Unheard,
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// What came next.
#[derive(Debug)]
pub(super) enum Heard {
    Told(Told),
    /// Nothing by then.
    Silence,
    /// The stream is over.
    End,
}

/// One connection of a participant: its life.
#[derive(Debug)]
pub(super) struct Session {
    socket: PathBuf,
    stream: UnixStream,
    unread: Vec<u8>,
    id: String,
    /// How many messages and answers came.
    pub(super) count: usize,
    /// What of them does not fit the schema, and why not.
    pub(super) misfits: Vec<String>,
}

/// Why somebody takes no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotJoined {
    /// Somebody else has the name.
    Taken,
    Otherwise(String),
}

impl Session {
    /// Takes part at `socket`.
    pub(super) fn join(
        socket: &Path,
        name: &str,
        after: &[&str],
        budget: Option<Duration>,
    ) -> Result<Self, NotJoined> {
        let budget = budget.map(|budget| u64::try_from(budget.as_millis()).unwrap_or(u64::MAX));
        let body = json!({ "name": name, "after": after, "budget_ms": budget }).to_string();
        let failed = |error: std::io::Error| NotJoined::Otherwise(error.to_string());
        let stream = post(socket, "/v1/participants", body.as_bytes()).map_err(failed)?;
        let mut session = Self {
            socket: socket.to_owned(),
            stream,
            unread: Vec::new(),
            id: String::new(),
            count: 0,
            misfits: Vec::new(),
        };
        let until = Instant::now() + BOUND;
        let status = session.line(until).and_then(|line| status_of(&line));
        match status {
            Some(200) => {}
            Some(409) => return Err(NotJoined::Taken),
            Some(other) => return Err(NotJoined::Otherwise(format!("it is answered {other}"))),
            None => return Err(NotJoined::Otherwise("it is not answered".to_owned())),
        }
        match session.next(until) {
            Heard::Told(told) if told.kind == "hello" => {
                session.id = told.session.unwrap_or_default();
                Ok(session)
            }
            other => Err(NotJoined::Otherwise(format!("no `hello` came: {other:?}"))),
        }
    }

    /// The next message, if one comes by then.
    pub(super) fn next(&mut self, until: Instant) -> Heard {
        loop {
            let Some(line) = self.line(until) else {
                return if Instant::now() >= until {
                    Heard::Silence
                } else {
                    Heard::End
                };
            };
            let Some(text) = line.strip_prefix("data:").map(str::trim) else {
                continue;
            };
            self.note(misfit(text));
            if let Some(told) = Told::read(Instant::now(), text) {
                return Heard::Told(told);
            }
        }
    }

    /// Says something.
    pub(super) fn say(&mut self, message: &Value) -> Answer {
        let Some(Reply { status, body }) = self.send(message.to_string().as_bytes()) else {
            return Answer::Unheard;
        };
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        match status {
            200..300 if body["taken"] != false => Answer::Taken,
            // A session that is over has an end, and no mistake in it.
            200..300 | 404 | 410 => Answer::NotTaken,
            other => Answer::Refused(other),
        }
    }

    /// Sends a body as it is; the answer, if a whole one comes.
    pub(super) fn send(&mut self, body: &[u8]) -> Option<Reply> {
        let path = format!("/v1/sessions/{}", self.id);
        let mut stream = post(&self.socket, &path, body).ok()?;
        let answer = read_whole(&mut stream, Instant::now() + BOUND);
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.lines().next().and_then(status_of)?;
        if body.len() < length_of(head).unwrap_or_default() {
            return None;
        }
        let body = body.trim().to_owned();
        self.note(answer_misfit(status, &body));
        Some(Reply { status, body })
    }

    /// Counts what came.
    fn note(&mut self, misfit: Option<String>) {
        self.count += 1;
        if self.misfits.len() < MOST_MISFITS {
            self.misfits.extend(misfit);
        }
    }

    /// Ends the connection, without a word.
    pub(super) fn hang_up(&self) {
        // One that the other side has ended already is as good.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// The next line, if it comes by then and before the end of the stream.
    fn line(&mut self, until: Instant) -> Option<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut some = [0; 4_096];
            match read_some(&mut self.stream, &mut some, until) {
                Ok(count) if count > 0 && self.unread.len() < MOST => {
                    self.unread.extend_from_slice(&some[..count]);
                }
                Ok(count) if count > 0 => {
                    self.note(Some(format!("a line of more than {MOST} bytes")));
                    return None;
                }
                _ => return None,
            }
        }
    }
}

fn status_of(line: &str) -> Option<u16> {
    line.split(' ').nth(1)?.parse().ok()
}

/// How long a body is, by its head.
fn length_of(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse().ok())?
    })
}

fn post(socket: &Path, path: &str, body: &[u8]) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(BOUND))?;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: control\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    Ok(stream)
}

/// What has come, at the latest by then.
fn read_some(stream: &mut UnixStream, some: &mut [u8], until: Instant) -> std::io::Result<usize> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(some) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Everything up to the end, of a long answer its beginning. Who has not read all that we sent resets the connection behind
/// its answer: what came before counts.
fn read_whole(stream: &mut UnixStream, until: Instant) -> Vec<u8> {
    let (mut whole, mut some) = (Vec::new(), [0; 4_096]);
    let mut is_late = false;
    while whole.len() < MOST && !is_late {
        let now = Instant::now();
        // What came while we were away is read before the deadline counts.
        is_late = now >= until;
        let until = until.max(now + Duration::from_millis(1));
        match read_some(stream, &mut some, until) {
            Ok(count) if count > 0 => whole.extend_from_slice(&some[..count]),
            _ => break,
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::target::Scratch;

    /// Answers one connection after the other with these bytes.
    fn coordinator(answers: &'static [&'static str]) -> (Scratch, PathBuf) {
        let directory = Scratch::make().unwrap();
        let path = directory.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4_096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        (directory, path)
    }

    const HELLO: &str = "HTTP/1.0 200 OK\r\n\r\nevent: hello\ndata: {\"type\":\"hello\",\"v\":1,\"session\":\"7\"}\n\ndata: no JSON\n\ndata: {\"type\":\"close\",\"id\":\"d\",\"left_ms\":70,\"budget_ms\":null}\n\n";

    #[test]
    fn a_session_hears_what_it_is_told_and_how_it_is_answered() {
        let (_directory, path) = coordinator(&[
            HELLO,
            "HTTP/1.0 200 OK\r\n\r\n{\"ok\":true,\"taken\":true}\n",
            "HTTP/1.0 200 OK\r\n\r\n{\"ok\":true,\"taken\":false}\n",
            "HTTP/1.0 404 Not Found\r\n\r\n{\"ok\":false}\n",
            "HTTP/1.0 400 Bad Request\r\n\r\n",
            "",
        ]);
        let mut session = Session::join(&path, "one", &[], None).unwrap();
        assert_eq!(session.id, "7");
        let until = Instant::now() + Duration::from_secs(60);
        let Heard::Told(told) = session.next(until) else {
            panic!("it was told to finish");
        };
        assert_eq!((told.kind.as_str(), told.budget), ("close", None));
        assert_eq!(told.end(), Some(told.at + Duration::from_millis(70)));
        assert!(matches!(session.next(until), Heard::End));
        let answers = [
            Answer::Taken,
            Answer::NotTaken,
            Answer::NotTaken,
            Answer::Refused(400),
            Answer::Unheard,
        ];
        for wanted in answers {
            assert_eq!(session.say(&json!({ "type": "ready" })), wanted);
        }
        // What came: three messages and four answers.
        assert_eq!(session.count, 7);
        let [hello, message, answer] = session.misfits.as_slice() else {
            panic!("{:?}", session.misfits);
        };
        assert!(hello.starts_with("`phase` is missing"), "{hello}");
        assert_eq!(message, "no JSON object: no JSON");
        assert!(answer.starts_with("an answer 400 is no JSON"), "{answer}");
    }

    #[test]
    fn a_name_that_is_taken_is_told_from_what_is_no_coordinator() {
        let (_directory, path) = coordinator(&[
            "HTTP/1.0 409 Conflict\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nwelcome\n",
        ]);
        let join = || Session::join(&path, "one", &[], None).map(|_| ());
        assert_eq!(join(), Err(NotJoined::Taken));
        assert!(matches!(join(), Err(NotJoined::Otherwise(_))));
    }

    #[test]
    fn what_came_before_the_deadline_is_read_behind_it() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"an answer").unwrap();
        assert_eq!(read_whole(&mut theirs, Instant::now()), b"an answer");
        assert_eq!(read_whole(&mut theirs, Instant::now()), b"");
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let writing = std::thread::spawn(move || {
            let _ = ours.write_all(&vec![b'x'; 4 * MOST]);
        });
        let mut session = Session {
            socket: PathBuf::new(),
            stream: theirs,
            unread: Vec::new(),
            id: String::new(),
            count: 0,
            misfits: Vec::new(),
        };
        let until = Instant::now() + Duration::from_secs(60);
        assert!(matches!(session.next(until), Heard::End));
        assert_eq!(session.misfits, ["a line of more than 32768 bytes"]);
        assert!(session.unread.len() <= 2 * MOST);
        drop(session);
        writing.join().unwrap();
    }
}
