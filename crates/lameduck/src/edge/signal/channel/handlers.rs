//! Handlers of one channel, and the pipe behind them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook_registry::SigId;

use super::More;
use super::error::{ChannelError, Why};
use super::queue::{Counts, Queue};
use super::received::{RECORD_LEN, Received};
use crate::edge::signal::claims::{self, Claim, Taker};
use crate::edge::signal::early;
use crate::sys::{self, Signo, Signos};

/// The most records that one read takes.
const BATCH: usize = 64;

/// Signals of one channel, by handlers. Others that take the same signals get them as well.
#[derive(Debug)]
pub(crate) struct Handlers {
    read: Arc<OwnedFd>,
    counts: Arc<Counts>,
    registration: Arc<Registration>,
    left_ignored: Signos,
}

/// What is registered for one channel, until it is taken back.
#[derive(Debug)]
pub(crate) struct Registration {
    counts: Arc<Counts>,
    taken: Mutex<Option<(Vec<SigId>, Claim)>>,
    set: Signos,
}

/// Whether an "ignore" that the process inherited stays (`nohup`, `cmd &`), as its sender meant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    Stays,
    IsTaken,
}

impl Handlers {
    /// Registers the handlers, and lets this thread accept the signals.
    ///
    /// # Errors
    ///
    /// No descriptors, a handler refused by the system, or a signal that a signalfd holds. Nothing stays registered then.
    pub(crate) fn open(set: Signos, bound: u32, ignored: Ignored) -> Result<Self, ChannelError> {
        if set.is_empty() {
            return Err(ChannelError::new(Why::NoSignals));
        }
        let stays = |signo: &Signo| ignored == Ignored::Stays && is_left_ignored(*signo);
        let left_ignored: Signos = set.iter().filter(stays).collect();
        let set: Signos = set
            .iter()
            .filter(|one| !left_ignored.contains(*one))
            .collect();
        let claim = Claim::new(set, Taker::Channel)?;
        let (read, write) = sys::pipe().map_err(ChannelError::descriptor)?;
        let counts = Arc::new(Counts::new(bound));
        let queue = Arc::new(Queue::new(write, Arc::clone(&counts)));
        let registration = Registration {
            counts: Arc::clone(&counts),
            taken: Mutex::new(Some((Vec::new(), claim))),
            set,
        };
        for signo in set.iter() {
            registration
                .register(signo, &queue)
                .map_err(|source| ChannelError::new(Why::Handler(signo, source)))?;
        }
        // As the lifecycle does: one thread that accepts them is enough, and this one is there.
        sys::unblock(set.numbers());
        Ok(Self {
            read: Arc::new(read),
            counts,
            registration: Arc::new(registration),
            left_ignored,
        })
    }

    pub(crate) const fn fd(&self) -> &Arc<OwnedFd> {
        &self.read
    }

    pub(crate) const fn registration(&self) -> &Arc<Registration> {
        &self.registration
    }

    pub(crate) const fn left_ignored(&self) -> Signos {
        self.left_ignored
    }

    /// Takes all that waits; never blocks.
    ///
    /// # Errors
    ///
    /// What `read(2)` reports; "nothing there" is no error.
    pub(crate) fn read(&self, found: &mut impl FnMut(Received)) -> io::Result<More> {
        let mut bytes = [0; BATCH * RECORD_LEN];
        let more = loop {
            match sys::read(self.read.as_fd(), &mut bytes) {
                Ok(0) => break More::Ended,
                Ok(n) => {
                    let (records, _) = bytes[..n].as_chunks::<RECORD_LEN>();
                    records
                        .iter()
                        .filter_map(Received::from_bytes)
                        .for_each(&mut *found);
                    if n < bytes.len() {
                        break More::Empty;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break More::Empty,
                Err(error) => return Err(error),
            }
        };
        // After the read: see `Queue::drop_one`.
        self.counts.take_dropped(found);
        Ok(more)
    }

    /// The program has got one of the records that were read.
    pub(crate) fn handed_over(&self) {
        self.counts.handed_over();
    }

    pub(crate) fn dropped_ever(&self) -> u64 {
        self.counts.dropped_ever()
    }

    pub(crate) fn replaced(&self) -> Signos {
        claims::replaced(self.registration.set)
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        self.registration.end();
    }
}

impl Registration {
    fn register(&self, signo: Signo, queue: &Arc<Queue>) -> io::Result<()> {
        let before = sys::handler_of(signo.number());
        let queue = Arc::clone(queue);
        // SAFETY: `deliver` does only what signal-safety(7) allows (its module says what), does not panic, and what the
        // closure owns lives until it is unregistered: the registry drops an action only after its last run has ended.
        let id = unsafe {
            signal_hook_registry::register_sigaction(signo.number(), move |info| {
                queue.deliver(signo, info)
            })
        }?;
        claims::registered(signo, before);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((ids, _)) = &mut *taken {
            ids.push(id);
        }
        Ok(())
    }

    /// Takes the handlers back; the pipe closes with the last of them. Repeating it does nothing.
    ///
    /// Waits for handlers that run at this moment, anybody's.
    pub(crate) fn end(&self) {
        self.counts.close();
        let taken = self
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for id in taken.into_iter().flat_map(|(ids, _claim)| ids) {
            signal_hook_registry::unregister(id);
        }
    }

    /// Handlers do nothing from now on, without waiting for anybody; the rest is `end`'s.
    pub(crate) fn silence(&self) {
        self.counts.close();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}

fn is_left_ignored(signo: Signo) -> bool {
    let shells_ignore = [Signo::INT, Signo::QUIT, Signo::HUP].contains(&signo);
    let found_early = signo
        .signal()
        .is_some_and(|signal| early::found().ignored.contains(signal));
    shells_ignore && (found_early || sys::is_ignored(signo.number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_registered_is_gone_with_the_listener() {
        let set: Signos = [Signo::URG, Signo::VTALRM].into_iter().collect();
        let handlers = Handlers::open(set, 8, Ignored::Stays).expect("handlers");
        let registration = Arc::clone(handlers.registration());
        let fd = Arc::clone(handlers.fd());
        assert!(claims::taken(Taker::Channel).contains(Signo::VTALRM));
        registration.end();
        let bound = Some(std::time::Duration::from_secs(30));
        assert!(sys::poll_once(&[fd.as_fd()], bound).expect("poll works")[0]);
        let ended = handlers.read(&mut |one| panic!("{one}"));
        assert_eq!(ended.ok(), Some(More::Ended), "no handler holds the pipe");
        assert!(!claims::taken(Taker::Channel).contains(Signo::VTALRM));
    }
}
