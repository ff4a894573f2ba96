//! The way from handles to the driver: a bounded queue and a pipe that wakes it.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{machine::Input, sys};

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Hand this to the machine.
    Input(Input),
    /// Hand the machine what a closed gate's scan says.
    Rescan,
    /// From now on the driver may end the process.
    Arm,
}

/// Room for what may be dropped; what the machine must hear has no limit of its own but is bounded by the participants.
const MOST_NOTES: usize = 4_096;

#[derive(Debug)]
pub(super) struct Commands {
    queue: Mutex<VecDeque<Command>>,
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

    pub(super) fn send(&self, command: Command) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(command, Command::Input(Input::Note(_))) && queue.len() >= MOST_NOTES {
            // Relaxed: a count for people, read once at the end.
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.push_back(command);
        drop(queue);
        self.ring();
    }

    /// A full pipe means that the driver has a reason to wake anyway.
    fn ring(&self) {
        let _ = sys::write_once(self.bell.as_fd(), &[1]);
    }

    pub(super) fn take(&self) -> VecDeque<Command> {
        core::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
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
