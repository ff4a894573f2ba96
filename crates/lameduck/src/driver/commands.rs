//! The way from handles to the driver: a bounded queue and a pipe that wakes it.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    machine::{Answer, Input},
    sys,
};

/// Room for what may be dropped: notes, switches, and answers that are not the last. The rest is bounded by the participants, by their
/// wishes, and by the requests of people.
const MOST: usize = 4_096;

/// Whether the machine decides the same without it.
const fn may_be_dropped(input: &Input) -> bool {
    matches!(
        input,
        Input::Note(_)
            | Input::Switched(_)
            | Input::Reloaded { .. }
            | Input::Answer(_, Answer::Ack | Answer::Working { .. })
    )
}

#[derive(Debug, Default)]
struct Queue {
    inputs: VecDeque<Input>,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Commands {
    queue: Mutex<Queue>,
    bell: OwnedFd,
    dropped: AtomicU64,
}

impl Commands {
    /// The queue and the end of the pipe on which the driver waits.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (reader, bell) = sys::pipe()?;
        Ok((
            Self {
                queue: Mutex::default(),
                bell,
                dropped: AtomicU64::new(0),
            },
            reader,
        ))
    }

    pub(super) fn send(&self, input: Input) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        if queue.inputs.len() >= MOST && may_be_dropped(&input) {
            // Relaxed: a count for people, read once at the end.
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.inputs.push_back(input);
        drop(queue);
        self.ring();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full pipe means that the driver has a reason to wake anyway.
    pub(super) fn ring(&self) {
        let _ = sys::write_once(self.bell.as_fd(), &[1]);
    }

    pub(super) fn take(&self) -> VecDeque<Input> {
        core::mem::take(&mut self.lock().inputs)
    }

    /// The driver has left: nothing is kept for it any longer.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.inputs = VecDeque::new();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Empties the pipe.
pub(super) fn hush(reader: BorrowedFd<'_>) {
    let mut sink = [0; 256];
    while matches!(sys::read(reader, &mut sink), Ok(count) if count == sink.len()) {}
}
