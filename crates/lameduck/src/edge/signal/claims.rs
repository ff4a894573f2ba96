//! Who of this process takes which signal: what must not share one, and whose handler stands where ours should.
//!
//! Handlers share a signal freely. A signalfd shares it with nobody: a thread that has it unblocked for a handler would take it
//! away, and of two signalfds the first reader wins.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::{self, Signo, Signos};

/// How a signal is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    /// By the handlers of a lifecycle.
    Lifecycle,
    /// By the handlers of a channel.
    Channel,
    /// By a signalfd.
    SignalFd,
}

const TAKERS: usize = 3;
/// One more than the largest number of a signal.
const NUMBERS: usize = 65;

static TABLE: Mutex<Table> = Mutex::new(Table {
    taken: [[0; NUMBERS]; TAKERS],
    registry: None,
    expected: [None; NUMBERS],
});

struct Table {
    taken: [[u32; NUMBERS]; TAKERS],
    /// The handler of `signal-hook-registry`, one for all signals, once it was seen to take a place.
    registry: Option<usize>,
    /// What stood in the place after a registration while the above was not known.
    expected: [Option<usize>; NUMBERS],
}

/// That somebody takes a set of signals; dropped, they are free again.
#[derive(Debug)]
pub(super) struct Claim {
    set: Signos,
    taker: Taker,
}

/// Who takes a signal already that was to be claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conflict {
    pub(super) signo: Signo,
    pub(super) holder: Taker,
}

impl Claim {
    pub(super) fn new(set: Signos, taker: Taker) -> Result<Self, Conflict> {
        let mut table = table();
        for signo in set.iter() {
            if let Some(holder) = table.holder_against(signo, taker) {
                return Err(Conflict { signo, holder });
            }
        }
        for signo in set.iter() {
            table.taken[taker as usize][place(signo)] += 1;
        }
        Ok(Self { set, taker })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = table();
        for signo in self.set.iter() {
            table.taken[self.taker as usize][place(signo)] -= 1;
        }
    }
}

impl Table {
    /// Who takes the signal in a way that this taker cannot share.
    fn holder_against(&self, signo: Signo, taker: Taker) -> Option<Taker> {
        let takes = |other: Taker| self.taken[other as usize][place(signo)] > 0;
        let others: &[Taker] = match taker {
            Taker::Lifecycle | Taker::Channel => &[Taker::SignalFd],
            Taker::SignalFd => &[Taker::Lifecycle, Taker::Channel, Taker::SignalFd],
        };
        others.iter().copied().find(|other| takes(*other))
    }

    fn is_replaced(&self, signo: Signo) -> bool {
        let ours = self.registry.or(self.expected[place(signo)]);
        sys::handler_of(signo.number()) != ours
    }
}

/// Notes what stood in a signal's place before and after a registration.
///
/// The registry asks for its place once only, the first time that anybody registers: who opens a channel after another library
/// took that place would take the stranger for ours. A place that changed by a registration shows what ours looks like.
pub(super) fn registered(signo: Signo, before: Option<usize>) {
    let after = sys::handler_of(signo.number());
    let mut table = table();
    if before != after {
        table.registry = after;
    }
    table.expected[place(signo)] = after;
}

/// Those of these signals in whose place somebody else's handler stands; one question to the kernel for each.
pub(super) fn replaced(set: Signos) -> Signos {
    let table = table();
    set.iter()
        .filter(|signo| table.is_replaced(*signo))
        .collect()
}

/// What is taken in this way, by anybody.
pub(super) fn taken(taker: Taker) -> Signos {
    let table = table();
    let numbers = (1..NUMBERS).filter(|number| table.taken[taker as usize][*number] > 0);
    numbers.fold(Signos::default(), |set, number| {
        Signos::from_bits(set.bits() | 1 << (number - 1))
    })
}

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(signo: Signo) -> usize {
    usize::try_from(signo.number()).expect("a signal's number is positive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_share_and_a_signalfd_does_not() {
        let set: Signos = [Signo::URG, Signo::XFSZ].into_iter().collect();
        let first = Claim::new(set, Taker::Channel).expect("free");
        let second = Claim::new(set, Taker::Lifecycle).expect("handlers share");
        let refused = Claim::new(set, Taker::SignalFd).expect_err("taken");
        assert_eq!(
            (refused.signo, refused.holder),
            (Signo::URG, Taker::Lifecycle)
        );
        drop((first, second));
        let alone = Claim::new(set, Taker::SignalFd).expect("free again");
        assert!(
            Claim::new(set, Taker::SignalFd).is_err(),
            "the first reader would win"
        );
        let refused = Claim::new(set, Taker::Channel).expect_err("its handler would never run");
        assert_eq!(refused.holder, Taker::SignalFd);
        assert_eq!(taken(Taker::SignalFd), set);
        drop(alone);
        assert!(!taken(Taker::SignalFd).contains(Signo::URG));
    }
}
