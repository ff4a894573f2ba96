//! `ctl watch`: the status while it changes, to the end.
//!
//! In a terminal one picture on the other screen, drawn anew with each event, five times a second while nothing comes (clocks go on), and when
//! the terminal has another size; elsewhere a line for each change. Both end with how it ended.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::UnixStream,
    },
    process::ExitCode,
    time::{Duration, Instant},
};

use console::Term;
use lameduck::{
    eintr,
    signals::{Channel, Signo},
};
use lameduck_verify::printable;
use serde_json::Value;

use super::{
    socket::Socket,
    view::{Seen, number, short},
};
use crate::exit::Failure;

/// It ended without a last word.
const NO_LAST_WORD: u8 = 3;
/// How often clocks are moved while nothing comes.
const TICK: Duration = Duration::from_millis(200);
/// The service says something once a second at least: after so long it is stuck, which is shown.
const SILENT: Duration = Duration::from_secs(5);
/// The most of one event.
const MOST: usize = 16 << 20;

const OTHER_SCREEN: &str = "\x1b[?1049h\x1b[?25l";
const BACK: &str = "\x1b[?25h\x1b[?1049l";

/// Watches to the end; the exit code is the service's own.
pub(super) fn run(socket: &Socket) -> Result<ExitCode, Failure> {
    let mut events = Events::subscribe(socket)?;
    let mut signals = Channel::of([Signo::INT, Signo::TERM, Signo::HUP, Signo::WINCH])
        .open()
        .map_err(|error| Failure::of(&error))?;
    let mut picture = if io::stdout().is_terminal() {
        Picture::Screen(Screen::enter(Term::stdout()))
    } else {
        Picture::Lines(Lines::default())
    };
    let mut last: Option<(Instant, Value)> = None;
    let ended = loop {
        while let Ok(signal) = signals.try_recv() {
            let signal = signal.signal();
            if signal != Signo::WINCH {
                drop(picture);
                // As whoever is interrupted by it: the caller sees what it was.
                return Ok(ExitCode::from(128_u8.saturating_add(
                    u8::try_from(signal.number()).unwrap_or_default(),
                )));
            }
        }
        match events.next() {
            Next::Status(status) => {
                let is_end = status.get("outcome").is_some();
                last = Some((Instant::now(), status));
                picture.draw(last.as_ref());
                if is_end {
                    break true;
                }
                continue;
            }
            Next::Over => match Events::again(socket, last.as_ref().map(|(_, status)| status)) {
                Some(again) => {
                    events = again;
                    // One that cuts us at once is not asked in a circle.
                    std::thread::sleep(TICK);
                    continue;
                }
                None => break false,
            },
            Next::Nothing => {}
        }
        picture.draw(last.as_ref());
        if picture.is_unread() {
            // Whoever reads no further has seen enough.
            return Ok(ExitCode::SUCCESS);
        }
        wait(&events.stream, &signals);
    };
    drop(picture);
    finish(ended, last.map(|(_, status)| status).unwrap_or_default())
}

/// Sleeps until there is something to read, a signal, or a tick is over.
fn wait(stream: &UnixStream, signals: &Channel) {
    let signals = signals.fd().unwrap_or(stream.as_fd());
    let mut waited = [stream.as_fd(), signals].map(|fd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let tick = i32::try_from(TICK.as_millis()).unwrap_or(i32::MAX);
    // EINTR: ends the wait a little early, and whoever waits looks again.
    // SAFETY: two live entries, whose descriptors are open.
    unsafe { libc::poll(waited.as_mut_ptr(), 2, tick) };
}

/// How it ended, and what the caller's exit code says of it.
fn finish(ended: bool, status: Value) -> Result<ExitCode, Failure> {
    if !ended {
        let phase = status.get("phase").and_then(Value::as_str);
        let phase = printable(phase.unwrap_or("an unknown phase"));
        return Err(Failure::new(format_args!(
            "the service ended without a last word, in {phase}: it was cut, or killed"
        ))
        .hint("its report and its audit say more, if it could write them")
        .code(NO_LAST_WORD));
    }
    let outcome = status.get("outcome_said").and_then(Value::as_str);
    let took = number(&status, "requested_at_ms")
        .zip(number(&status, "uptime_ms"))
        .map(|(from, to)| format!(", {} after it was asked", short(to - from)));
    let line = format!(
        "{}{}\n",
        printable(outcome.unwrap_or("over")),
        took.unwrap_or_default()
    );
    // Whoever has gone does not need it.
    let _ = io::stdout().write_all(line.as_bytes());
    let code = status.pointer("/exit/code").and_then(Value::as_u64);
    Ok(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(0),
    ))
}

/// The event stream, as far as it has come.
struct Events {
    stream: UnixStream,
    buffer: Vec<u8>,
}

enum Next {
    Status(Value),
    Nothing,
    Over,
}

impl Events {
    fn subscribe(socket: &Socket) -> Result<Self, Failure> {
        let stream = socket.events()?;
        let events = Self {
            buffer: stream.buffer().to_vec(),
            stream: stream.into_inner(),
        };
        let set = events.stream.set_nonblocking(true);
        set.map_err(|error| Failure::of(&error))?;
        Ok(events)
    }

    /// The stream has ended without a last word: once more, if it is only the stream that has. A watcher that was stopped for a while is cut,
    /// say, because it did not read.
    fn again(socket: &Socket, last: Option<&Value>) -> Option<Self> {
        let status = socket.ask("GET", "/status", "").ok()?.json().ok()?;
        let is_same = last.is_none_or(|last| status.get("drain_id") == last.get("drain_id"));
        is_same.then(|| Self::subscribe(socket).ok())?
    }

    /// The next whole event.
    fn next(&mut self) -> Next {
        loop {
            if let Some(event) = self.take() {
                if let Some(status) = data(&event) {
                    return Next::Status(status);
                }
                continue;
            }
            let mut more = [0; 16 << 10];
            match self.stream.read(&mut more) {
                Ok(0) => return Next::Over,
                Ok(count) if self.buffer.len() + count <= MOST => {
                    self.buffer.extend_from_slice(&more[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Nothing,
                Err(error) if eintr::note_interrupted(&error) => {}
                Ok(_) | Err(_) => return Next::Over,
            }
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.windows(2).position(|two| two == b"\n\n")?;
        let rest = self.buffer.split_off(end + 2);
        Some(std::mem::replace(&mut self.buffer, rest))
    }
}

/// The data of an event, which is one line.
fn data(event: &[u8]) -> Option<Value> {
    let mut lines = event.split(|byte| *byte == b'\n');
    let data = lines.find_map(|line| line.strip_prefix(b"data: "))?;
    serde_json::from_slice(data).ok()
}

/// Where it is shown.
enum Picture {
    Screen(Screen),
    Lines(Lines),
}

impl Picture {
    fn draw(&mut self, last: Option<&(Instant, Value)>) {
        let Some((at, status)) = last else { return };
        match self {
            Self::Screen(screen) => screen.draw(at.elapsed(), status),
            Self::Lines(lines) => lines.write(status),
        }
    }

    /// Whether nobody reads it any longer; it is looked at also while there is nothing to write.
    fn is_unread(&self) -> bool {
        let Self::Lines(lines) = self else {
            return false;
        };
        let mut stdout = libc::pollfd {
            fd: io::stdout().as_raw_fd(),
            events: 0,
            revents: 0,
        };
        // EINTR: nothing is known then, and it is looked at again.
        // SAFETY: one live entry, whose descriptor is open.
        let found = unsafe { libc::poll(&raw mut stdout, 1, 0) };
        lines.unread || found > 0 && stdout.revents & libc::POLLERR != 0
    }
}

/// The terminal's other screen; dropped, the first one is back as it was.
struct Screen {
    terminal: Term,
}

impl Screen {
    fn enter(terminal: Term) -> Self {
        let _ = terminal.write_str(OTHER_SCREEN);
        Self { terminal }
    }

    fn draw(&self, age: Duration, status: &Value) {
        let (rows, columns) = self.terminal.size();
        let (rows, columns) = (usize::from(rows).max(1), usize::from(columns).max(1));
        let seen = Seen {
            status,
            age: age.as_secs_f64() * 1_000.0,
        };
        let mut lines = seen.lines(columns);
        if age >= SILENT {
            let silent = format!("!! nothing from the service for {:.0} s", age.as_secs_f64());
            lines.insert(1, super::view::cut(&silent, columns));
        }
        if lines.len() > rows {
            lines.truncate(rows - 1);
            lines.push(super::view::cut(
                "… more than fits here; `lameduck ctl status` has all of it",
                columns,
            ));
        }
        // In one write: no terminal shows half a picture.
        let mut picture = String::from("\x1b[H");
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                picture.push_str("\r\n");
            }
            let bold = index == 0 && console::colors_enabled();
            let (on, off) = if bold {
                ("\x1b[1m", "\x1b[0m")
            } else {
                ("", "")
            };
            picture.push_str(&format!("{on}{line}{off}\x1b[K"));
        }
        picture.push_str("\x1b[J");
        let _ = self.terminal.write_str(&picture);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.write_str(BACK);
    }
}

/// What was written last, so that only changes are.
#[derive(Default)]
struct Lines {
    written: Vec<String>,
    /// Nobody reads them any longer.
    unread: bool,
}

impl Lines {
    fn write(&mut self, status: &Value) {
        let now = facts(status);
        let at = number(status, "uptime_ms").unwrap_or_default() / 1_000.0;
        let news = now.iter().filter(|fact| !self.written.contains(fact));
        let text: String = news.map(|fact| format!("{at:9.3} {fact}\n")).collect();
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        let wrote = io::stdout().write_all(text.as_bytes());
        self.unread |= wrote.as_ref().is_err_and(gone);
        self.written = now;
    }
}

/// What is worth a line when it is new.
fn facts(status: &Value) -> Vec<String> {
    let said = |key: &str| status.get(key).and_then(Value::as_str).map(printable);
    let mut facts = Vec::new();
    let cause = said("cause").map_or_else(String::new, |cause| format!(": {cause}"));
    let phase = said("phase").unwrap_or_default();
    facts.push(format!(
        "{phase}{}",
        if phase == "Terminating" {
            cause
        } else {
            String::new()
        }
    ));
    let participants = status.get("participants").and_then(Value::as_array);
    for one in participants.into_iter().flatten() {
        let text = |key: &str| one.get(key).and_then(Value::as_str).map(printable);
        let why = text("why").map_or_else(String::new, |why| format!(": {why}"));
        facts.push(format!(
            "participant {} {}{why}",
            text("name").unwrap_or_default(),
            text("state").unwrap_or_default()
        ));
    }
    let notes = status.get("notes").and_then(Value::as_array);
    for one in notes.into_iter().flatten() {
        let what = one.get("what").and_then(Value::as_str).map(printable);
        let at = number(one, "at_ms").unwrap_or_default() / 1_000.0;
        facts.push(format!("note at {at:.3}: {}", what.unwrap_or_default()));
    }
    facts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_put_together_from_pieces() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("nonblocking");
        let mut events = Events {
            stream: ours,
            buffer: b"retry: 2000\nevent: status\nda".to_vec(),
        };
        assert!(matches!(events.next(), Next::Nothing));
        (&theirs)
            .write_all(b"ta: {\"a\":1}\n\nevent: end\n")
            .expect("room");
        let Next::Status(status) = events.next() else {
            panic!("a status");
        };
        assert_eq!(status, json!({"a": 1}));
        assert!(matches!(events.next(), Next::Nothing));
        drop(theirs);
        assert!(matches!(events.next(), Next::Over));
    }

    #[test]
    fn only_what_is_new_is_a_fact_again() {
        let before = json!({"phase": "Running", "participants": [{"name": "a", "state": "up"}]});
        let after = json!({"phase": "Terminating", "cause": "x", "participants": [{"name": "a", "state": "up"}]});
        let before = facts(&before);
        let news: Vec<_> = facts(&after)
            .into_iter()
            .filter(|fact| !before.contains(fact))
            .collect();
        assert_eq!(news, ["Terminating: x"]);
    }
}
