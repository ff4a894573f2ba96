//! Sets of signals, and the signals' numbers on this system.

use core::fmt;

pub(super) use crate::sys::number_of as number;
use crate::vocab::Signal;

/// Every signal that lameduck gives a meaning to, by priority.
pub(super) const ALL: [Signal; 6] = [
    Signal::Quit,
    Signal::Term,
    Signal::Int,
    Signal::Hup,
    Signal::Usr2,
    Signal::Usr1,
];

/// Which signals a lifecycle takes for itself.
///
/// The default is SIGTERM, SIGINT, SIGHUP and SIGQUIT; SIGUSR1 and SIGUSR2 are opt-in, because others use them.
///
/// SIGINT, SIGQUIT and SIGHUP that the process inherited ignored (`nohup`, or `cmd &` in a script) stay ignored, as their
/// sender meant it, unless [`even_if_ignored`](Self::even_if_ignored) says otherwise.
///
/// # Examples
///
/// ```
/// use lameduck::{Signal, SignalSet};
///
/// let set = SignalSet::default().without(Signal::Int).with(Signal::Usr1);
/// assert!(set.contains(Signal::Term) && set.contains(Signal::Usr1));
/// assert!(!set.contains(Signal::Int));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignalSet {
    members: u8,
    even_if_ignored: u8,
}

impl SignalSet {
    /// The set without members.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            members: 0,
            even_if_ignored: 0,
        }
    }

    /// This set and one signal more.
    #[must_use]
    pub const fn with(mut self, signal: Signal) -> Self {
        self.members |= bit(signal);
        self
    }

    /// This set without one signal.
    #[must_use]
    pub const fn without(mut self, signal: Signal) -> Self {
        self.members &= !bit(signal);
        self.even_if_ignored &= !bit(signal);
        self
    }

    /// This set and one signal more, which is taken even if the process inherited it ignored.
    #[must_use]
    pub const fn even_if_ignored(mut self, signal: Signal) -> Self {
        self.members |= bit(signal);
        self.even_if_ignored |= bit(signal);
        self
    }

    /// Whether the signal is a member.
    #[must_use]
    pub const fn contains(&self, signal: Signal) -> bool {
        self.members & bit(signal) != 0
    }

    /// Whether the set has no members.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// The members, by priority.
    pub fn iter(&self) -> impl Iterator<Item = Signal> + use<> {
        let set = *self;
        ALL.into_iter().filter(move |signal| set.contains(*signal))
    }

    /// Whether an inherited "ignore" is to be left in place.
    pub(super) const fn respects_ignored(&self, signal: Signal) -> bool {
        matches!(signal, Signal::Int | Signal::Quit | Signal::Hup)
            && self.even_if_ignored & bit(signal) == 0
    }

    /// The members' numbers on this system.
    pub(super) fn numbers(self) -> impl Iterator<Item = i32> {
        self.iter().map(number)
    }
}

impl Default for SignalSet {
    /// SIGTERM, SIGINT, SIGHUP and SIGQUIT.
    fn default() -> Self {
        Self::empty()
            .with(Signal::Quit)
            .with(Signal::Term)
            .with(Signal::Int)
            .with(Signal::Hup)
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        signals.into_iter().fold(Self::empty(), Self::with)
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The signal's place in tables of six, by priority.
pub(super) const fn index(signal: Signal) -> usize {
    match signal {
        Signal::Quit => 0,
        Signal::Term => 1,
        Signal::Int => 2,
        Signal::Hup => 3,
        Signal::Usr2 => 4,
        Signal::Usr1 => 5,
    }
}

const fn bit(signal: Signal) -> u8 {
    1 << index(signal)
}

/// The signal with this number on this system.
pub(super) fn from_number(signo: i32) -> Option<Signal> {
    ALL.into_iter().find(|signal| number(*signal) == signo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_priority() {
        assert!(ALL.is_sorted());
        for (at, signal) in ALL.into_iter().enumerate() {
            assert_eq!(index(signal), at);
            assert_eq!(from_number(number(signal)), Some(signal));
        }
        assert_eq!(from_number(libc::SIGKILL), None);
    }

    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    #[test]
    fn the_documented_numbers_are_the_systems() {
        for signal in ALL {
            assert_eq!(number(signal), signal.number());
        }
    }

    #[test]
    fn only_what_shells_and_nohup_ignore_stays_ignored() {
        let set = SignalSet::default()
            .with(Signal::Usr1)
            .even_if_ignored(Signal::Hup);
        let respected: Vec<_> = set
            .iter()
            .filter(|signal| set.respects_ignored(*signal))
            .collect();
        assert_eq!(respected, [Signal::Quit, Signal::Int]);
        assert!(
            set.without(Signal::Hup)
                .with(Signal::Hup)
                .respects_ignored(Signal::Hup)
        );
    }
}
