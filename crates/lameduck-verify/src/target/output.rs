//! Owns what a target wrote: the end of each stream, and whether the line that says "ready" was among it.
//! Not: showing it (see `error` and `render`).

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Output kept of each stream, in bytes, from its end.
const MAX_OUTPUT: usize = 64 * 1024;
/// The same where all of it is asked for.
const MAX_LONG_OUTPUT: usize = 4 * 1024 * 1024;

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Both streams of one process, or of the commands that stand for it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    stdout: Mutex<Vec<u8>>,
    stderr: Mutex<Vec<u8>>,
    /// The text that says "ready"; empty where none is waited for.
    awaited: String,
    was_seen: AtomicBool,
    is_long: AtomicBool,
    /// Something was dropped since more is kept.
    was_cut: AtomicBool,
}

impl Output {
    pub(crate) fn awaiting(text: Option<&str>) -> Self {
        Self {
            awaited: text.unwrap_or_default().to_owned(),
            ..Self::default()
        }
    }

    /// The awaited text was written, or none is awaited.
    pub(crate) fn has_said_ready(&self) -> bool {
        // Acquire pairs with the Release in `note`.
        self.awaited.is_empty() || self.was_seen.load(Ordering::Acquire)
    }

    /// Reads a stream to its end, on a thread of its own.
    pub(crate) fn collect(self: &Arc<Self>, mut from: impl Read + Send + 'static, which: Stream) {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut seam = Vec::new();
            // Ends with the pipe: when the last process that holds it is gone.
            while let Ok(count) = from.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                output.look_for_ready(&mut seam, &buffer[..count]);
                output.add(which, &buffer[..count]);
            }
        });
    }

    /// Keeps more of what comes from now on.
    pub(crate) fn keep_more(&self) {
        // Relaxed: the locks of the streams order it against what is added.
        self.is_long.store(true, Ordering::Relaxed);
    }

    /// Even so it was not enough.
    pub(crate) fn was_cut(&self) -> bool {
        // Relaxed: set under the lock under which the text is read.
        self.was_cut.load(Ordering::Relaxed)
    }

    /// Adds what was read by other means.
    pub(crate) fn add(&self, which: Stream, bytes: &[u8]) {
        let mut kept = self.lock(which);
        kept.extend_from_slice(bytes);
        // Relaxed, both: see `keep_more` and `was_cut`.
        let is_long = self.is_long.load(Ordering::Relaxed);
        let bound = if is_long { MAX_LONG_OUTPUT } else { MAX_OUTPUT };
        let excess = kept.len().saturating_sub(bound);
        if is_long && excess > 0 {
            self.was_cut.store(true, Ordering::Relaxed);
        }
        kept.drain(..excess);
    }

    /// Keeps this instead of what was kept so far.
    pub(crate) fn replace(&self, which: Stream, bytes: &[u8]) {
        self.lock(which).clear();
        self.add(which, bytes);
    }

    /// Looks for the awaited text in what is known to be whole.
    pub(crate) fn note(&self, bytes: &[u8]) {
        let awaited = self.awaited.as_bytes();
        if !awaited.is_empty() && bytes.windows(awaited.len()).any(|window| window == awaited) {
            // Release pairs with the Acquire in `has_said_ready`.
            self.was_seen.store(true, Ordering::Release);
        }
    }

    /// Two reads may split the text: the end of the one before is kept in `seam`.
    fn look_for_ready(&self, seam: &mut Vec<u8>, bytes: &[u8]) {
        if self.has_said_ready() {
            return;
        }
        seam.extend_from_slice(bytes);
        self.note(seam);
        let excess = seam.len().saturating_sub(self.awaited.len() - 1);
        seam.drain(..excess);
    }

    /// The end of a stream.
    pub(crate) fn text(&self, which: Stream) -> String {
        String::from_utf8_lossy(&self.lock(which)).into_owned()
    }

    /// Both, one after the other.
    pub(crate) fn all(&self) -> String {
        self.text(Stream::Stdout) + &self.text(Stream::Stderr)
    }

    /// What a process that has just exited wrote: its pipes may be a moment behind its exit.
    pub(crate) fn settle(self: &Arc<Self>) {
        let bound = Instant::now() + Duration::from_millis(200);
        // Each reader holds a reference until it has seen the end.
        while Arc::strong_count(self) > 1 && Instant::now() < bound {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn lock(&self, which: Stream) -> std::sync::MutexGuard<'_, Vec<u8>> {
        match which {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_is_seen_across_two_reads() {
        let output = Output::awaiting(Some("listening on"));
        let mut seam = Vec::new();
        output.look_for_ready(&mut seam, b"now listen");
        assert!(!output.has_said_ready());
        output.look_for_ready(&mut seam, b"ing on 80\n");
        assert!(output.has_said_ready());
        assert!(Output::default().has_said_ready(), "nothing is awaited");
    }

    #[test]
    fn the_end_of_the_output_is_what_is_kept() {
        let output = Output::default();
        for _ in 0..MAX_OUTPUT {
            output.add(Stream::Stderr, b"ab");
        }
        output.add(Stream::Stderr, b"end");
        let text = output.text(Stream::Stderr);
        assert_eq!(text.len(), MAX_OUTPUT);
        assert!(text.ends_with("end") && output.text(Stream::Stdout).is_empty());
    }

    #[test]
    fn more_is_kept_where_it_is_asked_for_and_what_is_dropped_is_told() {
        let output = Output::default();
        let chunk = [b'a'; MAX_OUTPUT];
        output.add(Stream::Stderr, &chunk);
        output.keep_more();
        for _ in 0..MAX_LONG_OUTPUT / MAX_OUTPUT - 1 {
            output.add(Stream::Stderr, &chunk);
        }
        assert_eq!(output.text(Stream::Stderr).len(), MAX_LONG_OUTPUT);
        assert!(!output.was_cut());
        output.add(Stream::Stderr, b"b");
        assert_eq!(output.text(Stream::Stderr).len(), MAX_LONG_OUTPUT);
        assert!(output.was_cut());
    }
}
