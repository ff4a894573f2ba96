//! A bell that every thread can wait for together with its socket, and that rings once, for all.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

/// The read end of a pipe; it hangs up when the write end is dropped.
#[derive(Debug)]
pub(crate) struct Bell {
    heard: PipeReader,
    rope: Mutex<Option<PipeWriter>>,
}

impl Bell {
    pub(crate) fn new() -> Self {
        let (heard, rope) = std::io::pipe().expect("a pipe can be made at the start of a process");
        Self {
            heard,
            rope: Mutex::new(Some(rope)),
        }
    }

    pub(crate) fn ring(&self) {
        drop(
            self.rope
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// Waits for bytes on `fd` or, if `listens`, for the bell; true when there are bytes.
    pub(crate) fn wait_or_bytes(&self, fd: i32, listens: Listens) -> bool {
        let bell = if listens == Listens::Yes {
            self.heard.as_raw_fd()
        } else {
            -1
        };
        let entry = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut entries = [entry(fd), entry(bell)];
        // SAFETY: two live entries; a negative descriptor is skipped.
        unsafe { libc::poll(entries.as_mut_ptr(), 2, -1) };
        entries[0].revents != 0
    }
}

/// Whether a wait ends by the bell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listens {
    Yes,
    No,
}
