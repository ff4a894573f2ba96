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

/// How a stop by command or call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) at: Instant,
    /// Why it did not work, in words.
    pub(crate) trouble: Option<String>,
}

/// What is known of the stop of one launch.
#[derive(Debug, Default)]
pub(crate) struct Order {
    asked: AtomicBool,
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
            let trouble = ended.in_words().map(|how| {
                output.settle();
                let said = output.all();
                match said.trim() {
                    "" => how,
                    said => format!("{how}: {said}"),
                }
            });
            Done { at, trouble }
        })
    }

    pub(crate) fn by_call(method: &str, url: &str, place: &Place, order: &Arc<Order>) -> Self {
        let method = method.to_owned();
        let url = Url::parse(&place.fill(url));
        Self::begin(order, move |_| {
            let trouble = match url {
                Ok(url) => call(&method, &url),
                Err(error) => Some(error.to_string()),
            };
            let at = Instant::now();
            Done { at, trouble }
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

fn call(method: &str, url: &Url) -> Option<String> {
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lameduck-verify\r\nAccept: */*\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        url.path, url.host
    );
    match ask(url.addr, request.as_bytes(), CALL_BOUND) {
        Answer::Whole { head, .. } if head.status >= 400 => {
            Some(format!("was answered with {}", head.status))
        }
        Answer::Refused => Some("was refused".to_owned()),
        // One that is told to stop may well end before it answers; whether it was told, its exit will show.
        Answer::Whole { .. } | Answer::Nothing => None,
    }
}
