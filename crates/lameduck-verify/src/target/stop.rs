//! Owns asking a target to stop by a command or a call, beside the clients that go on, and what came of it.
//! Not: signals (see `running`), or when the stop took effect (see `scenario::bench`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ask::{Answer, ask};
use super::output::Output;
use super::place::{Place, Url};
use super::shell;

/// No stop command may take longer.
const COMMAND_BOUND: Duration = Duration::from_secs(120);
/// No call may.
const CALL_BOUND: Duration = Duration::from_secs(30);

const UNANSWERED: &str = "the call got no answer, and the target neither ended nor shut its door";

/// How a stop by command or call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) at: Instant,
    told: Told,
}

/// What is known of whether it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Yes,
    /// Why not, in words.
    No(String),
    /// A call without an answer: one that is told to stop may well end before it answers. What it does will show.
    Unanswered,
}

/// What is known of the stop of one launch.
#[derive(Debug, Default)]
pub(crate) struct Order {
    asked: AtomicBool,
    is_call: AtomicBool,
    done: Mutex<Option<Done>>,
}

impl Order {
    pub(crate) fn note_asked(&self) {
        // Release pairs with the Acquire in `was_asked`.
        self.asked.store(true, Ordering::Release);
    }

    pub(crate) fn was_asked(&self) -> bool {
        // Acquire pairs with the Release in `note_asked`.
        self.asked.load(Ordering::Acquire)
    }

    fn note(&self, done: Done) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    }

    pub(crate) fn done(&self) -> Option<Done> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.clone()
    }

    /// It is known that the stop was not made.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(
            self.done(),
            Some(Done {
                told: Told::No(_),
                ..
            })
        )
    }

    /// Why a target that has not ended was not told, if it was not: without an answer, one that `serves_on`.
    pub(crate) fn trouble(&self, serves_on: impl FnOnce() -> bool) -> Option<String> {
        let told = self.done().map(|done| done.told);
        // Relaxed: set before the call began, by the thread that asks here.
        let waits = told.is_none() && self.is_call.load(Ordering::Relaxed);
        match told {
            Some(Told::No(how)) => Some(how),
            Some(Told::Unanswered) => serves_on().then(|| UNANSWERED.to_owned()),
            None if waits => serves_on().then(|| UNANSWERED.to_owned()),
            Some(Told::Yes) | None => None,
        }
    }
}

/// A stop that is under way, or over.
#[derive(Debug)]
pub(crate) struct Stopping {
    called_off: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stopping {
    pub(crate) fn by_command(
        line: &str,
        place: &Place,
        pid: Option<u32>,
        order: &Arc<Order>,
    ) -> Self {
        let command = shell::command(line, place, pid);
        Self::begin(order, move |called_off| {
            let output = Arc::new(Output::default());
            let ended = shell::run(command, &output, COMMAND_BOUND, called_off);
            let at = Instant::now();
            let told = ended.in_words().map_or(Told::Yes, |how| {
                output.settle();
                let said = output.all();
                Told::No(match said.trim() {
                    "" => how,
                    said => format!("{how}: {said}"),
                })
            });
            Done { at, told }
        })
    }

    pub(crate) fn by_call(method: &str, url: &str, place: &Place, order: &Arc<Order>) -> Self {
        let method = method.to_owned();
        let url = Url::parse(&place.fill(url));
        // Relaxed: read by the thread that asks for the stop, which is this one.
        order.is_call.store(true, Ordering::Relaxed);
        Self::begin(order, move |_| {
            let told = match url {
                Ok(url) => call(&method, &url, CALL_BOUND),
                Err(error) => Told::No(error.to_string()),
            };
            let at = Instant::now();
            Done { at, told }
        })
    }

    fn begin(order: &Arc<Order>, work: impl FnOnce(&AtomicBool) -> Done + Send + 'static) -> Self {
        let called_off = Arc::new(AtomicBool::new(false));
        let (order, called) = (Arc::clone(order), Arc::clone(&called_off));
        let thread = std::thread::spawn(move || order.note(work(&called)));
        Self {
            called_off,
            thread: Some(thread),
        }
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `shell::run`, which kills the command then.
        self.called_off.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn call(method: &str, url: &Url, bound: Duration) -> Told {
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lameduck-verify\r\nAccept: */*\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        url.path, url.host
    );
    match ask(url.addr, request.as_bytes(), bound) {
        answer if answer.is_good() => Told::Yes,
        Answer::Whole { head, .. } => {
            Told::No(format!("was answered with {}, not with 2xx", head.status))
        }
        Answer::Refused => Told::No("was refused".to_owned()),
        Answer::Nothing => Told::Unanswered,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// What is known after one call that gets this answer, or none.
    fn told(answer: &'static str) -> Told {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/stop", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut byte = [0];
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && peer.read(&mut byte).unwrap() > 0 {
                request.push(byte[0]);
            }
            peer.write_all(answer.as_bytes()).unwrap();
        });
        let told = call("POST", &Url::parse(&url).unwrap(), CALL_BOUND);
        server.join().unwrap();
        told
    }

    #[test]
    fn only_a_good_answer_says_that_it_was_told() {
        assert_eq!(told("HTTP/1.1 204 No Content\r\n\r\n"), Told::Yes);
        for bad in ["302 Found", "404 Not Found", "503 No"] {
            let answer = format!("HTTP/1.1 {bad}\r\nContent-Length: 0\r\n\r\n").leak();
            assert!(matches!(told(answer), Told::No(how) if how.contains(&bad[..3])));
        }
        assert_eq!(told(""), Told::Unanswered);
    }

    #[test]
    fn without_an_answer_its_door_decides() {
        let order = Order::default();
        assert_eq!(order.trouble(|| true), None, "nobody called");
        order.is_call.store(true, Ordering::Relaxed);
        assert!(order.trouble(|| true).is_some() && order.trouble(|| false).is_none());
        let note = |told| {
            order.note(Done {
                at: Instant::now(),
                told,
            })
        };
        note(Told::Unanswered);
        assert!(order.trouble(|| true).is_some() && order.trouble(|| false).is_none());
        assert!(!order.has_failed(), "it may still end");
        note(Told::Yes);
        assert_eq!(order.trouble(|| true), None);
        note(Told::No("was refused".to_owned()));
        assert!(order.has_failed() && order.trouble(|| false).is_some());
    }
}
