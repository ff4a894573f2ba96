//! The control socket: participants in other processes, and the coordinator's side of `lameduck.negotiation/1`.
//!
//! A thread for each connection; the loop that leaves decides, tick by tick.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Between two looks at whether a participant is still there.
const LOOK: Duration = Duration::from_millis(5);
/// A request is read for no longer.
const BOUND: Duration = Duration::from_secs(2);
const DRAIN: &str = "d1";

/// One session.
#[derive(Debug, Default)]
struct Seat {
    name: String,
    after: Vec<String>,
    budget: Option<Duration>,
    ready: bool,
    asked: bool,
    answered: bool,
    asked_again: bool,
    closed_at: Option<Instant>,
    granted: Duration,
    wishes: BTreeMap<u64, Duration>,
    /// Its last word was said, or it is waited for no longer.
    over: bool,
    /// What it is told next.
    told: Vec<Value>,
    /// Its stream is to end.
    is_told_all: bool,
    gone: bool,
}

#[derive(Debug, Default)]
struct State {
    seats: Vec<Seat>,
    /// When the drain ends, once there is one.
    end: Option<Instant>,
}

/// The participants, and who tells them.
#[derive(Debug)]
pub(crate) struct Control {
    broken: String,
    state: Mutex<State>,
    changed: Condvar,
}

impl Control {
    /// Without a path nobody takes part.
    pub(crate) fn open(path: Option<String>, broken: &str) -> Arc<Self> {
        let control = Arc::new(Self {
            broken: broken.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        if let Some(path) = path {
            let listener = UnixListener::bind(path).expect("the path is free");
            let shared = Arc::clone(&control);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let control = Arc::clone(&shared);
                    std::thread::spawn(move || control.serve(stream));
                }
            });
        }
        control
    }

    fn is_broken(&self, id: &str) -> bool {
        self.broken == id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody is waited for.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state();
        self.is_broken("N-1") || state.seats.iter().all(|seat| seat.over || seat.gone)
    }

    /// What is due now, of a drain that ends at `end`; `closes` once the door is shut.
    pub(crate) fn tick(&self, end: Instant, closes: bool) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some(end);
            for seat in state.seats.iter_mut().filter(|seat| !seat.gone) {
                if seat.ready {
                    seat.asked = true;
                    seat.request(end, false);
                } else {
                    seat.give_up("not_started");
                }
            }
        }
        if closes {
            self.close_free(&mut state, end);
        }
        for seat in &mut state.seats {
            self.hurry(seat, end);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Tells those to finish on which nobody at work depends.
    fn close_free(&self, state: &mut State, end: Instant) {
        let at_work = |seat: &&Seat| !seat.over;
        let held: Vec<String> = state
            .seats
            .iter()
            .filter(at_work)
            .flat_map(|seat| seat.after.clone())
            .collect();
        for seat in &mut state.seats {
            if seat.over || seat.closed_at.is_some() || held.contains(&seat.name) {
                continue;
            }
            seat.closed_at = Some(Instant::now());
            let told = seat.with_terms(end, "close");
            seat.told.push(told);
        }
    }

    /// Asks a silent one again, and gives up whose time is over.
    fn hurry(&self, seat: &mut Seat, end: Instant) {
        let (Some(closed_at), false) = (seat.closed_at, seat.over) else {
            return;
        };
        let (now, due) = (Instant::now(), seat.due().unwrap_or(end).min(end));
        let half = closed_at + due.saturating_duration_since(closed_at) / 2;
        if now >= half && !seat.answered && !seat.asked_again && !self.is_broken("N-2-again") {
            seat.asked_again = true;
            seat.request(end, true);
        }
        let given_up = if self.is_broken("N-5") { half } else { due };
        if now >= given_up && !self.is_broken("N-2") {
            seat.give_up("overdue");
        }
    }

    fn serve(&self, mut stream: UnixStream) {
        let Some((path, body)) = read_request(&mut stream) else {
            return;
        };
        let message = understood(&body);
        if path == "/v1/participants" {
            return self.join(stream, &message.unwrap_or_default());
        }
        let session = path.strip_prefix("/v1/sessions/");
        let index = session.and_then(|text| text.parse::<usize>().ok());
        let (status, answer) = match message {
            Ok(message) => self.hear(index, &message),
            Err(_) if self.is_broken("N-9") => return,
            Err(why) => self.refuse(index, why),
        };
        // Who does not wait for the answer does without.
        let _ = write!(stream, "HTTP/1.0 {status} -\r\n\r\n{answer}\n");
    }

    /// Takes somebody in, and tells it what there is to be told until one of the two is gone.
    fn join(&self, mut stream: UnixStream, body: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let seat = Seat {
            name: text(&body["name"]),
            after: body["after"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect(),
            budget: body["budget_ms"].as_u64().map(Duration::from_millis),
            ..Seat::default()
        };
        let mut state = self.state();
        let keeps = self.is_broken("N-10-name");
        let mut others = state.seats.iter();
        let is_taken = others.any(|other| other.name == seat.name && (keeps || !other.gone));
        if is_taken || state.end.is_some() {
            let _ = stream.write_all(b"HTTP/1.0 409 Conflict\r\n\r\n");
            return;
        }
        let index = state.seats.len();
        state.seats.push(seat);
        drop(state);
        let version = if self.is_broken("N-9-form") {
            json!("1")
        } else {
            json!(1)
        };
        let hello = json!({ "type": "hello", "v": version, "session": index.to_string(), "phase": "Running", "drain_id": null });
        let begun = write!(
            stream,
            "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {hello}\n\n"
        );
        if begun.is_ok() {
            self.tell(&mut stream, index);
        }
        let mut state = self.state();
        // Asked and not heard to its end: it has failed.
        if state.end.is_none() || !self.is_broken("N-10") {
            let seat = &mut state.seats[index];
            (seat.gone, seat.over) = (true, true);
        }
    }

    fn tell(&self, stream: &mut UnixStream, index: usize) {
        loop {
            let mut state = self
                .changed
                .wait_timeout(self.state(), LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            let seat = &mut state.seats[index];
            let (told, is_all) = (std::mem::take(&mut seat.told), seat.is_told_all);
            drop(state);
            for told in told {
                if write!(stream, "data: {told}\n\n").is_err() {
                    return;
                }
            }
            if is_all || has_hung_up(stream) {
                return;
            }
        }
    }

    /// What a participant says; the status and the body of the answer.
    fn hear(&self, index: Option<usize>, said: &Value) -> (u16, Value) {
        let mut state = self.state();
        let end = state.end;
        let Some(seat) = index.and_then(|index| state.seats.get_mut(index)) else {
            return (404, json!({ "ok": false }));
        };
        let kind = said["type"].as_str().unwrap_or_default();
        let is_strange = kind != "ready" && (end.is_none() || said["id"] != DRAIN);
        if seat.over || is_strange && !self.is_broken("N-8") {
            return (200, json!({ "ok": true, "taken": false }));
        }
        let end = end.unwrap_or_else(Instant::now);
        match kind {
            "ready" => seat.ready = true,
            "ack" | "working" => seat.answered = true,
            "need_more" => {
                seat.answered = true;
                self.grant(seat, said, end);
            }
            "done" | "refused" | "failed" => {
                seat.give_up(kind);
            }
            _ => return (400, json!({ "ok": false, "said": "a message has a type" })),
        }
        drop(state);
        self.changed.notify_all();
        (200, json!({ "ok": true, "taken": true }))
    }

    /// What can not be read changes nothing.
    fn refuse(&self, index: Option<usize>, why: &str) -> (u16, Value) {
        let mut state = self.state();
        let seat = index.and_then(|index| state.seats.get_mut(index));
        if let Some(seat) = seat.filter(|_| self.is_broken("N-9-end")) {
            seat.give_up("failed");
        }
        (400, json!({ "ok": false, "said": why }))
    }

    fn grant(&self, seat: &mut Seat, said: &Value, end: Instant) {
        let wish = said["wish"].as_u64().unwrap_or_default();
        let by = Duration::from_millis(said["by_ms"].as_u64().unwrap_or_default());
        if self.is_broken("N-3-mute") {
            return;
        }
        let known = seat.wishes.get(&wish).filter(|_| !self.is_broken("N-4"));
        let by = known.copied().unwrap_or_else(|| {
            let leaves = seat
                .due()
                .map_or(Duration::ZERO, |due| end.saturating_duration_since(due));
            let by = if self.is_broken("N-3") {
                by
            } else {
                by.min(leaves)
            };
            seat.granted += by;
            by
        });
        seat.wishes.insert(wish, by);
        let mut told = seat.with_terms(end, "granted");
        told["wish"] = wish.into();
        told["by_ms"] = millis(by);
        seat.told.push(told);
    }
}

impl Seat {
    /// When its budget ends, if it has one: reckoned from now, until it is told to finish.
    fn due(&self) -> Option<Instant> {
        let from = self.closed_at.unwrap_or_else(Instant::now);
        Some(from + self.budget? + self.granted)
    }

    /// A message that speaks of time.
    fn with_terms(&self, end: Instant, kind: &str) -> Value {
        json!({
            "type": kind, "id": DRAIN,
            "left_ms": millis(end.saturating_duration_since(Instant::now())),
            "budget_ms": self.budget.map(|budget| millis(budget + self.granted)),
            "used_ms": self.closed_at.map(|at| millis(at.elapsed())),
        })
    }

    fn request(&mut self, end: Instant, again: bool) {
        let mut told = self.with_terms(end, "shutdown_request");
        told["cause"] = json!({ "kind": "signal", "text": "SIGTERM" });
        told["again"] = again.into();
        self.told.push(told);
    }

    /// Waits for it no longer.
    fn give_up(&mut self, state: &str) {
        self.over = true;
        self.is_told_all = true;
        self.told
            .push(json!({ "type": "over", "id": DRAIN, "state": state }));
    }
}

fn millis(time: Duration) -> Value {
    Value::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A message within the bounds, or why it is none.
fn understood(body: &[u8]) -> Result<Value, &'static str> {
    if body.len() > 16 * 1024 {
        return Err("more than 16 KiB");
    }
    let message: Value = serde_json::from_slice(body).map_err(|_| "no JSON")?;
    if depth(&message) > 16 {
        return Err("nested too deeply");
    }
    if message["id"].as_str().is_some_and(|id| id.len() > 128) {
        return Err("a name of more than 128 bytes");
    }
    if message["by_ms"].as_f64().is_some_and(|by| by < 0.0) {
        return Err("a time before 0");
    }
    let types = [
        "ready",
        "ack",
        "working",
        "need_more",
        "done",
        "refused",
        "failed",
    ];
    let kind = message["type"].as_str();
    // Who joins says no type.
    if kind.is_some_and(|kind| !types.contains(&kind)) {
        return Err("a type that nobody knows");
    }
    Ok(message)
}

fn depth(value: &Value) -> usize {
    let within = match value {
        Value::Array(values) => values.iter().map(depth).max(),
        Value::Object(values) => values.values().map(depth).max(),
        _ => return 0,
    };
    within.unwrap_or_default() + 1
}

/// Path and body of a request, if it comes in time.
fn read_request(stream: &mut UnixStream) -> Option<(String, Vec<u8>)> {
    stream.set_read_timeout(Some(BOUND)).ok()?;
    let mut whole = Vec::new();
    loop {
        let end = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end {
            let (head, body) = (String::from_utf8_lossy(&whole[..end]), &whole[end + 4..]);
            let mut lines = head.lines();
            let path = lines.next()?.split(' ').nth(1)?.to_owned();
            let length = lines.find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_it = name.eq_ignore_ascii_case("content-length");
                is_it.then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some((path, body.to_vec()));
            }
        }
        let mut some = [0; 4_096];
        match stream.read(&mut some) {
            Ok(count) if count > 0 && whole.len() < 64 * 1024 => {
                whole.extend_from_slice(&some[..count]);
            }
            _ => return None,
        }
    }
}

/// The other side has ended its connection; what it may have sent is of no interest.
fn has_hung_up(stream: &mut UnixStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let read = stream.read(&mut [0; 256]);
    let _ = stream.set_nonblocking(false);
    match read {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
