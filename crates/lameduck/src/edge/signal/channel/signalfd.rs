//! The seed's form: signals that every thread blocks, read from a signalfd(2).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::More;
use super::error::{ChannelError, Why};
use super::received::Received;
use crate::edge::signal::claims::{Claim, Taker};
use crate::sys::{self, Signo, Signos, ThreadFacts};

/// A signalfd, and that nobody else of this process takes its signals.
#[derive(Debug)]
pub(crate) struct SignalFd {
    fd: Arc<OwnedFd>,
    set: Signos,
    _claim: Claim,
}

impl SignalFd {
    /// Makes sure that the descriptor will see what is sent, then opens it.
    ///
    /// # Errors
    ///
    /// Where that is not sure: see [`ChannelError`].
    pub(crate) fn open(set: Signos) -> Result<Self, ChannelError> {
        if set.is_empty() {
            return Err(ChannelError::new(Why::NoSignals));
        }
        if cfg!(not(all(target_os = "linux", not(lameduck_portable)))) {
            let only_linux = io::ErrorKind::Unsupported.into();
            return Err(ChannelError::new(Why::SignalFd(only_linux)));
        }
        let claim = Claim::new(set, Taker::SignalFd)?;
        if let Some(signo) = set.iter().find(|signo| has_handler(*signo)) {
            return Err(ChannelError::new(Why::HasHandler(signo)));
        }
        let threads = sys::thread_masks(usize::MAX)
            .map_err(|source| ChannelError::new(Why::Unsure(source)))?;
        if let Some((signo, thread)) = first_unblocked(set, &threads) {
            return Err(ChannelError::new(Why::Unblocked {
                signo,
                thread: thread.id,
                name: name(thread),
                is_this: !sys::current_mask().blocks(signo.number()),
            }));
        }
        let fd = sys::signalfd(set).map_err(|source| ChannelError::new(Why::SignalFd(source)))?;
        Ok(Self {
            fd: Arc::new(fd),
            set,
            _claim: claim,
        })
    }

    pub(crate) const fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Takes all that waits; never blocks.
    ///
    /// # Errors
    ///
    /// What `read(2)` reports; "nothing there" is no error.
    pub(crate) fn read(&self, room: usize, found: &mut impl FnMut(Received)) -> io::Result<More> {
        let mut taken = 0;
        // What there is no room for stays in the kernel, whose queue it is.
        while taken < room {
            let mut each = |info| Received::from_fd(&info).into_iter().for_each(&mut *found);
            match sys::read_signalfd(self.fd.as_fd(), &mut each) {
                // Fewer than one read takes: there were no more.
                Ok(n) if n < sys::FD_BATCH => break,
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(More::Empty)
    }

    /// A thread that does not block what it should, among the first `at_most`.
    pub(crate) fn unblocked(&self, at_most: usize) -> Option<(Signo, u32, String)> {
        unblocked(self.set, at_most)
    }
}

/// A thread that does not block what it should, among the first `at_most`.
pub(in crate::edge::signal) fn unblocked(
    set: Signos,
    at_most: usize,
) -> Option<(Signo, u32, String)> {
    let threads = sys::thread_masks(at_most).ok()?;
    let (signo, thread) = first_unblocked(set, &threads)?;
    Some((signo, thread.id, name(thread)))
}

fn first_unblocked(set: Signos, threads: &[ThreadFacts]) -> Option<(Signo, &ThreadFacts)> {
    threads.iter().find_map(|thread| {
        let missing = set.iter().find(|signo| !thread.blocked.contains(*signo))?;
        Some((missing, thread))
    })
}

fn name(thread: &ThreadFacts) -> String {
    let text = String::from_utf8_lossy(&thread.name);
    text.chars().filter(|c| !c.is_control()).collect()
}

/// A handler, ours or another's, and neither "default" nor "ignore": a signal that waits is not ignored.
fn has_handler(signo: Signo) -> bool {
    sys::handler_of(signo.number())
        .is_some_and(|handler| ![libc::SIG_DFL, libc::SIG_IGN].contains(&handler))
}
