//! The thread that writes dumps to standard error.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::driver::{DumpCause, Shared};
use crate::sys;

/// How many dumps may wait behind the one that is being written.
const WAITING_MAX: usize = 1;

/// Gathers and writes dumps on a thread of its own, which may block as long as it likes: nobody waits for it without a limit.
///
/// The thread exists from the start, because a process in trouble may get no more of them.
#[derive(Debug)]
pub(crate) struct Dumper {
    jobs: SyncSender<Job>,
    /// Readable once the dump of a SIGQUIT was written, or the thread is gone.
    written: OwnedFd,
}

#[derive(Debug)]
struct Job {
    shared: Arc<Shared>,
    why: DumpCause,
}

impl Dumper {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// No descriptor or no thread is left.
    pub(crate) fn new() -> io::Result<Self> {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let (written, said) = sys::pipe()?;
        let (jobs, queue) = mpsc::sync_channel(WAITING_MAX);
        thread::Builder::new()
            .name("lameduck-dump".to_owned())
            .spawn(move || work(stderr, &said, &queue))?;
        Ok(Self { jobs, written })
    }

    /// Begins a dump; `false` when one is being written and another waits.
    pub(crate) fn begin(&self, shared: &Arc<Shared>, why: DumpCause) -> bool {
        let shared = Arc::clone(shared);
        self.jobs.try_send(Job { shared, why }).is_ok()
    }

    /// See [`LastWords::dumped`](crate::driver::LastWords::dumped).
    pub(crate) fn written(&self) -> BorrowedFd<'_> {
        self.written.as_fd()
    }
}

fn work(mut stderr: File, said: &OwnedFd, queue: &Receiver<Job>) {
    for Job { shared, why } in queue {
        // A reader that is gone hears nothing, and tables that make the unwinder panic cost their dump only.
        let _ = catch_unwind(AssertUnwindSafe(|| super::write(&shared, why, &mut stderr)));
        if why == DumpCause::Quit {
            sys::write_once(said.as_fd(), &[1]);
        }
    }
}
