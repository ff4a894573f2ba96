//! Writing where a write may block for ever, without waiting for ever.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use super::last_words::termination_log;
use crate::sys;

/// How many jobs may wait behind one that is stuck; further ones are refused.
const WAITING_MAX: usize = 4;

/// How long the helper itself waits for room in a non-blocking descriptor before it gives a job up.
const ROOM: Duration = Duration::from_secs(5);

/// Writes on a helper thread of its own; callers wait for it, but not longer than they say.
///
/// A pipe that nobody reads, a stopped terminal or a dead network file system can hold `write(2)` for ever, and nothing
/// that can block may stand before the cut. What is written when the process ends is not more than what was written.
#[derive(Debug)]
pub(crate) struct BoundedWriter {
    jobs: SyncSender<Job>,
}

struct Job {
    what: What,
    done: Done,
}

/// Called on the helper thread with what came of a job; dropped uncalled with a job that never begins.
type Done = Box<dyn FnOnce(io::Result<usize>) + Send>;

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum What {
    Bytes(Vec<u8>),
    TerminationLog(String),
}

/// Why something is not known to be written.
#[derive(Debug)]
pub(crate) enum NotWritten {
    /// The time was over. It may still be written, or be half written.
    Late,
    /// Four others wait already behind one that is stuck; this one was dropped.
    Busy,
    /// The system refused.
    Refused(io::Error),
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("not written in time"),
            Self::Busy => f.write_str("dropped behind writes that are stuck"),
            Self::Refused(error) => write!(f, "not written: {error}"),
        }
    }
}

impl BoundedWriter {
    /// A writer to standard error, through a descriptor of its own.
    ///
    /// # Errors
    ///
    /// No descriptor or no thread is left.
    pub(crate) fn stderr() -> io::Result<Self> {
        Self::to(io::stderr().as_fd().try_clone_to_owned()?)
    }

    /// A writer to this descriptor.
    ///
    /// # Errors
    ///
    /// No thread is left.
    pub(crate) fn to(fd: OwnedFd) -> io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel(WAITING_MAX);
        thread::Builder::new()
            .name("lameduck-write".to_owned())
            .spawn(move || work(&fd, &queue))?;
        Ok(Self { jobs })
    }

    /// Writes these bytes; waits at most `limit`. Says how many were written: all of them.
    ///
    /// # Errors
    ///
    /// [`NotWritten`].
    pub(crate) fn write(&self, bytes: Vec<u8>, limit: Duration) -> Result<usize, NotWritten> {
        let (done, result) = mpsc::sync_channel(1);
        self.begin(bytes, move |written| {
            // A caller that no longer waits has its answer already.
            let _ = done.try_send(written);
        })?;
        match result.recv_timeout(limit) {
            Ok(written) => written.map_err(NotWritten::Refused),
            Err(RecvTimeoutError::Timeout) => Err(NotWritten::Late),
            Err(RecvTimeoutError::Disconnected) => {
                Err(NotWritten::Refused(io::ErrorKind::BrokenPipe.into()))
            }
        }
    }

    /// Begins to write these bytes, and waits for nothing; `done` is told on the helper thread. What is under way when the process ends
    /// may be cut off.
    ///
    /// # Errors
    ///
    /// [`NotWritten`], but not `Late`.
    pub(crate) fn begin(
        &self,
        bytes: Vec<u8>,
        done: impl FnOnce(io::Result<usize>) + Send + 'static,
    ) -> Result<(), NotWritten> {
        self.run(What::Bytes(bytes), Box::new(done))
    }

    /// Begins to write the container's termination log, see [`termination_log`].
    ///
    /// # Errors
    ///
    /// [`NotWritten`], but not `Late`.
    pub(crate) fn begin_termination_log(
        &self,
        text: String,
        done: impl FnOnce(io::Result<usize>) + Send + 'static,
    ) -> Result<(), NotWritten> {
        self.run(What::TerminationLog(text), Box::new(done))
    }

    fn run(&self, what: What, done: Done) -> Result<(), NotWritten> {
        match self.jobs.try_send(Job { what, done }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(NotWritten::Busy),
            Err(TrySendError::Disconnected(_)) => {
                Err(NotWritten::Refused(io::ErrorKind::BrokenPipe.into()))
            }
        }
    }
}

fn work(fd: &OwnedFd, queue: &Receiver<Job>) {
    for job in queue {
        let result = match job.what {
            What::Bytes(bytes) => {
                sys::write_all(fd.as_fd(), &bytes, Instant::now() + ROOM).map(|()| bytes.len())
            }
            What::TerminationLog(text) => termination_log(&text),
        };
        (job.done)(result);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);
    const AMPLE: Duration = Duration::from_secs(30);

    /// Makes a descriptor block again, as standard error does.
    fn blocking(fd: BorrowedFd<'_>) {
        use std::os::fd::AsRawFd;
        // SAFETY: `fd` is open; the command takes no pointer.
        let refused = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, 0) };
        assert_eq!(refused, 0);
    }

    /// A pipe without room whose write end blocks, and what is in it, in bytes.
    fn full_pipe() -> (OwnedFd, OwnedFd, usize) {
        let (read, write) = sys::pipe().expect("a pipe");
        let page = [b'.'; 4096];
        let pages =
            std::iter::from_fn(|| sys::write_once(write.as_fd(), &page).then_some(())).count();
        blocking(write.as_fd());
        blocking(read.as_fd());
        (read, write, pages * page.len())
    }

    fn read_exactly(read: &OwnedFd, n: usize) -> Vec<u8> {
        let mut all = vec![0; n];
        let mut filled = 0;
        while filled < n {
            let more = sys::read(read.as_fd(), &mut all[filled..]).expect("readable");
            assert!(more > 0, "ended early");
            filled += more;
        }
        all
    }

    #[test]
    fn a_full_pipe_holds_the_caller_for_the_limit_only_and_loses_no_order() {
        let (read, write, filled) = full_pipe();
        let writer = BoundedWriter::to(write).expect("a thread");
        let mut waiting = 0;
        let refused = loop {
            match writer.write(format!("line {waiting}\n").into_bytes(), LIMIT) {
                Err(NotWritten::Late) => waiting += 1,
                other => break other,
            }
        };
        assert!(matches!(refused, Err(NotWritten::Busy)), "{refused:?}");
        assert_eq!(
            waiting,
            WAITING_MAX + 1,
            "one is being written, the rest wait"
        );

        let expected: String = (0..waiting).map(|i| format!("line {i}\n")).collect();
        let all = read_exactly(&read, filled + expected.len());
        assert_eq!(String::from_utf8_lossy(&all[filled..]), expected);
        assert_eq!(
            writer
                .write(b"after\n".to_vec(), AMPLE)
                .expect("there is room"),
            6
        );
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error_not_a_death() {
        let (read, write) = sys::pipe().expect("a pipe");
        drop(read);
        let writer = BoundedWriter::to(write).expect("a thread");
        let refused = writer.write(b"x".to_vec(), AMPLE);
        assert!(
            matches!(&refused, Err(NotWritten::Refused(e)) if e.kind() == io::ErrorKind::BrokenPipe),
            "{refused:?}"
        );
    }
}
