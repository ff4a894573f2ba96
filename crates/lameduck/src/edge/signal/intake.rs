//! Registered handlers and the pipe behind them, seen from the driver.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use signal_hook_registry::SigId;

use super::claims::{self, Claim, Taker};
use super::early;
use super::error::SignalError;
use super::handler::Channel;
use super::record::{RECORD_LEN, RawSignal, Record};
use super::set::{ALL, SignalSet, number};
use crate::sys::{self, Signo, Signos};
use crate::vocab::Signal;

/// The most records that one [`Intake::drain`] takes from the pipe.
const BATCH: usize = 64;

/// Signals of one lifecycle: handlers that write to a pipe, and the pipe's read end.
///
/// Several may live in one process; each has a pipe of its own and sees every signal. Dropping one removes its handlers'
/// actions, but not the process' dispositions: the registry that all share keeps its handler, so a signal that nobody
/// takes any more does nothing.
#[derive(Debug)]
pub(crate) struct Intake {
    read: OwnedFd,
    channel: Arc<Channel>,
    caught: SignalSet,
    left_ignored: SignalSet,
    ids: Vec<SigId>,
    _claim: Claim,
}

impl Intake {
    /// Starts to take these signals, except what was inherited ignored and is to stay so.
    ///
    /// From here on they no longer do what they did by default. Handlers that were installed before are chained: they
    /// run first. Signals blocked by [`early`](super::early()) stay blocked until a thread calls
    /// [`unblock_in_this_thread`](Self::unblock_in_this_thread) or
    /// [`restore_mask`](Self::restore_mask).
    ///
    /// # Errors
    ///
    /// No descriptors left for the pipe, or a handler refused by the system (a sandbox). Nothing stays registered then.
    pub(crate) fn install(set: SignalSet) -> Result<Self, SignalError> {
        let found = early::found();
        let ignored = |signal| found.ignored.contains(signal) || sys::is_ignored(number(signal));
        let (left_ignored, wanted): (Vec<_>, Vec<_>) = set
            .iter()
            .partition(|signal| set.respects_ignored(*signal) && ignored(*signal));

        let claim = Claim::new(wanted.iter().copied().collect(), Taker::Lifecycle)
            .map_err(|conflict| SignalError::held(conflict.signo))?;
        let (read, write) = sys::pipe().map_err(SignalError::pipe)?;
        let mut intake = Self {
            read,
            channel: Arc::new(Channel::new(write)),
            caught: SignalSet::empty(),
            left_ignored: left_ignored.into_iter().collect(),
            ids: Vec::with_capacity(ALL.len()),
            _claim: claim,
        };
        for signal in wanted {
            intake
                .register(signal)
                .map_err(|source| SignalError::handler(signal, source))?;
        }
        Ok(intake)
    }

    fn register(&mut self, signal: Signal) -> io::Result<()> {
        let before = sys::handler_of(number(signal));
        let channel = Arc::clone(&self.channel);
        // SAFETY: `deliver` does only what signal-safety(7) allows (its module says what), does not panic, and what the
        // closure owns lives until it is unregistered: the registry drops an action only after its last run has ended.
        let id = unsafe {
            signal_hook_registry::register_sigaction(number(signal), move |info| {
                channel.deliver(signal, info)
            })
        }?;
        self.ids.push(id);
        self.caught = self.caught.with(signal);
        claims::registered(signal.into(), before);
        Ok(())
    }

    /// The descriptor that becomes readable when signals wait; for `poll(2)`.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// Appends what waits, at most 64 records and one summary for each signal that the full pipe did not take; says how many.
    ///
    /// Never blocks. The descriptor stays readable while more waits.
    ///
    /// # Errors
    ///
    /// What `read(2)` reports; "nothing there" is no error.
    pub(crate) fn drain(&self, found: &mut Vec<RawSignal>) -> io::Result<usize> {
        let before = found.len();
        let mut bytes = [0; BATCH * RECORD_LEN];
        let n = match sys::read(self.fd(), &mut bytes) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        // Writes are whole and the buffer is a multiple of their length, so no record is ever cut in two.
        debug_assert_eq!(n % RECORD_LEN, 0, "only whole records are in the pipe");
        let (records, _) = bytes[..n].as_chunks::<RECORD_LEN>();
        found.extend(
            records
                .iter()
                .filter_map(|one| Record::from_bytes(one).to_raw()),
        );
        // After the read: a handler that found the pipe full counts before this, or finds room for a nudge.
        found.extend(self.channel.take_lost());
        Ok(found.len() - before)
    }

    /// Lets this thread accept the signals; for the driver thread, as its first act.
    ///
    /// One such thread is enough for everything sent to the process, however many others have the signals blocked.
    pub(crate) fn unblock_in_this_thread(&self) {
        self.restore_mask();
    }

    /// Undoes [`early`](super::early()) in this thread and unblocks what is taken; for the thread that starts the
    /// lifecycle, last.
    ///
    /// Other signals stay as they are. Threads and children that are started afterwards inherit a clean mask.
    pub(crate) fn restore_mask(&self) {
        // What a signalfd reads stays blocked: this thread would die of it.
        let elsewhere = claims::taken(Taker::SignalFd);
        let not_elsewhere = |signo: &Signo| !elsewhere.contains(*signo);
        let found = early::found().blocked;
        let ours = self.caught.iter().chain(found.iter()).map(Signo::from);
        sys::unblock(ours.filter(not_elsewhere).map(Signo::number));
        let mask = sys::current_mask();
        debug_assert!(
            self.caught.numbers().all(|signo| !mask.blocks(signo)),
            "INV-7: what is started from this thread inherits none of our signals blocked"
        );
    }

    /// The signals that were asked for, but left ignored as inherited.
    pub(crate) const fn left_ignored(&self) -> SignalSet {
        self.left_ignored
    }

    /// Those of our signals whose handler somebody has replaced since; normally none.
    ///
    /// Asks the kernel once for each signal, which takes less than a microsecond.
    pub(crate) fn replaced(&self) -> SignalSet {
        let caught: Signos = self.caught.iter().collect();
        let replaced = claims::replaced(caught);
        let is_replaced = |signal: &Signal| replaced.contains((*signal).into());
        self.caught.iter().filter(is_replaced).collect()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook_registry::unregister(id);
        }
    }
}
