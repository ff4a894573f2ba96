//! The commands of a rollout, run beside its users.
//! Not: running a command line (see `target::shell`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::render::printable;
use crate::target::shell::{self, Ended};
use crate::target::{Output, Place};

/// A command under way; called off and killed when it is dropped.
pub(super) struct Job {
    called_off: Arc<AtomicBool>,
    output: Arc<Output>,
    thread: Option<JoinHandle<Ended>>,
}

/// How it ended.
pub(super) enum Course {
    Well,
    /// In words, with the end of what it wrote.
    Failed(String),
}

impl Job {
    /// Starts `line` in a shell, for `bound` at most.
    pub(super) fn start(line: &str, place: &Place, bound: Duration) -> Self {
        let called_off = Arc::new(AtomicBool::new(false));
        let output = Arc::new(Output::default());
        let command = shell::command(line, place, None);
        let (called, written) = (Arc::clone(&called_off), Arc::clone(&output));
        let thread = std::thread::spawn(move || shell::run(command, &written, bound, &called));
        Self {
            called_off,
            output,
            thread: Some(thread),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// How it ended; one that still runs is called off.
    pub(super) fn end(mut self) -> Course {
        if !self.is_over() {
            self.call_off();
        }
        let ended = match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ended::Called,
        };
        match ended {
            Ended::Well => Course::Well,
            Ended::Called => Course::Failed("had not returned in time".to_owned()),
            other => Course::Failed(format!(
                "{}{}",
                other.in_words().unwrap_or_default(),
                self.wrote()
            )),
        }
    }

    fn wrote(&self) -> String {
        self.output.settle();
        let text = self.output.all();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or_else(String::new, |line| {
            let shown: String = printable(line).chars().take(200).collect();
            format!("; it wrote: {shown}")
        })
    }

    fn call_off(&self) {
        // Release pairs with the Acquire in `shell::run`.
        self.called_off.store(true, Ordering::Release);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.call_off();
        if let Some(thread) = self.thread.take() {
            // It ends within a few milliseconds; what it says no longer matters.
            let _ = thread.join();
        }
    }
}
