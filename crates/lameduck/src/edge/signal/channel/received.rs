//! What a channel delivers: a record of one signal, its sender not yet looked up.

use core::fmt;
use std::time::Duration;

use crate::edge::signal::sender::{NO_INFO, sender};
use crate::sys::{self, FdSignal, Signo};
use crate::vocab::{Sender, SignalCode};

/// A record's length in the pipe: below `PIPE_BUF`, so that each write is whole or refused.
pub(super) const RECORD_LEN: usize = 40;

/// `SI_TIMER`: a POSIX timer, which has an overrun in the place of a user.
const TIMER: SignalCode = SignalCode::Other(-2);

/// One signal from a channel.
///
/// An ordinary signal that was sent several times while it waited arrives once: the kernel keeps no count of them. A real-time one
/// arrives as often as it was sent ([`Signo::is_real_time`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Received {
    pub(super) signo: Signo,
    pub(super) code: SignalCode,
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) value: usize,
    pub(super) at: Duration,
    pub(super) dropped: u32,
}

/// What the sender of a queued signal put beside it (`union sigval`): a number or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(usize);

impl Value {
    /// As `sival_int`.
    #[must_use]
    pub const fn int(self) -> i32 {
        let bytes = self.0.to_ne_bytes();
        i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// As `sival_ptr`: an address in the *sender's* memory.
    #[must_use]
    pub const fn address(self) -> usize {
        self.0
    }
}

impl Received {
    /// Which signal.
    #[must_use]
    pub const fn signal(&self) -> Signo {
        self.signo
    }

    /// How it was generated (`si_code`).
    #[must_use]
    pub const fn code(&self) -> SignalCode {
        self.code
    }

    /// The sender's process id, as it was sent along; 0 is outside of this pid namespace. `None` where the code names no sender.
    ///
    /// Who sends a queued signal may write any id (rt_sigqueueinfo(2)): evidence for people, not for authorisation.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.code.names_sender().then_some(self.pid)
    }

    /// The sender's real user id.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.code.names_sender().then_some(self.uid)
    }

    /// Who sent it, looked up now: one read of `/proc`, at most 2,048 bytes. Ask soon, senders exit; the id of one that did and
    /// was given to another process is recognised by its start.
    #[must_use]
    pub fn sender(&self) -> Sender {
        sender(self.code, self.pid, self.uid, self.at)
    }

    /// What was sent along: with sigqueue(3), by a POSIX timer or a message queue. `None` for kill(2) and the like.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        let carries = matches!(self.code, SignalCode::Queue | SignalCode::Other(-4..=-2));
        carries.then_some(Value(self.value))
    }

    /// How often a POSIX timer had run out again before this signal was delivered: signals that became one, where the kernel
    /// counts them. `None` for any other sender.
    #[must_use]
    pub fn overrun(&self) -> Option<u32> {
        (self.code == TIMER).then_some(self.uid)
    }

    /// How many signals of this kind the channel's full queue did not take since it last said so. 0 for a signal; a record with
    /// more stands for those that nothing else is known of.
    #[must_use]
    pub const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// How long ago its handler ran. (From a signalfd: since it was read. The kernel notes no time, neither does anybody know
    /// when the sender sent it.)
    #[must_use]
    pub fn age(&self) -> Duration {
        sys::since_boot().saturating_sub(self.at)
    }

    /// When that was, on the clock that counts from the start of the machine (`CLOCK_BOOTTIME`; where there is none, another
    /// that never goes back).
    #[must_use]
    pub const fn at(&self) -> Duration {
        self.at
    }

    /// Adds what another such record stands for.
    pub(crate) const fn merge_dropped(&mut self, other: &Self) {
        self.dropped = self.dropped.saturating_add(other.dropped);
    }

    /// A record for tests of what is done with records.
    #[cfg(test)]
    pub(crate) const fn test(signo: Signo, value: usize, dropped: u32) -> Self {
        Self {
            signo,
            code: SignalCode::Queue,
            pid: 1,
            uid: 0,
            value,
            at: Duration::ZERO,
            dropped,
        }
    }

    /// A record of deliveries of which only the number is known.
    pub(super) fn dropped_of(signo: Signo, count: u32) -> Self {
        Self {
            signo,
            code: NO_INFO,
            pid: 0,
            uid: 0,
            value: 0,
            at: sys::since_boot(),
            dropped: count,
        }
    }

    /// What a signalfd tells; `None` for a number that was not asked for.
    pub(super) fn from_fd(info: &FdSignal) -> Option<Self> {
        let code = SignalCode::from_raw(info.code);
        Some(Self {
            signo: Signo::from_raw(info.signo).ok()?,
            code,
            pid: info.pid,
            uid: if code == TIMER {
                info.overrun
            } else {
                info.uid
            },
            value: info.value,
            at: sys::since_boot(),
            dropped: 0,
        })
    }

    /// What the handler was told; async-signal-safe.
    pub(super) fn from_info(signo: Signo, info: &libc::siginfo_t) -> Self {
        let code = SignalCode::from_raw(info.si_code);
        let (mut pid, mut uid, mut value) = (0, 0, 0);
        let queued = matches!(code, SignalCode::Queue | SignalCode::Other(-4..=-2));
        if code.names_sender() || queued {
            // SAFETY: with these codes the kernel fills the union's `kill`, `rt` or `timer` member. All begin with two integers
            // (pid and uid, or timer and overrun).
            (pid, uid) = unsafe { (info.si_pid().unsigned_abs(), info.si_uid()) };
        }
        if queued {
            // SAFETY: with these codes it is `rt` or `timer`, where the value follows the two integers.
            value = unsafe { info.si_value() }.sival_ptr.addr();
        }
        Self {
            signo,
            code,
            pid,
            uid,
            value,
            at: sys::since_boot(),
            dropped: 0,
        }
    }

    /// The bytes in the pipe; async-signal-safe.
    pub(super) fn to_bytes(self) -> [u8; RECORD_LEN] {
        let code = match self.code {
            SignalCode::User => 0,
            SignalCode::Queue => -1,
            SignalCode::Thread => -6,
            SignalCode::Kernel => 0x80,
            SignalCode::Other(raw) => raw,
        };
        let mut bytes = [0; RECORD_LEN];
        bytes[0..4].copy_from_slice(&self.signo.number().to_ne_bytes());
        bytes[4..8].copy_from_slice(&i32::to_ne_bytes(code));
        bytes[8..12].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.uid.to_ne_bytes());
        bytes[16..24].copy_from_slice(&(self.value as u64).to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.at.as_secs().to_ne_bytes());
        bytes[32..36].copy_from_slice(&self.at.subsec_nanos().to_ne_bytes());
        bytes
    }

    /// The record in these bytes; `None` for one that only wakes the reader.
    pub(super) fn from_bytes(bytes: &[u8; RECORD_LEN]) -> Option<Self> {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let long =
            |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Some(Self {
            signo: Signo::from_raw(i32::from_ne_bytes(word(0))).ok()?,
            code: SignalCode::from_raw(i32::from_ne_bytes(word(4))),
            pid: u32::from_ne_bytes(word(8)),
            uid: u32::from_ne_bytes(word(12)),
            value: usize::try_from(long(16)).unwrap_or(0),
            at: Duration::new(long(24), u32::from_ne_bytes(word(32)) % 1_000_000_000),
            dropped: 0,
        })
    }
}

impl fmt::Display for Received {
    /// Signal, code, sender's id and value; nothing is looked up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dropped > 0 {
            return write!(f, "{} {} times, unread", self.signo, self.dropped);
        }
        write!(f, "{} {}", self.signo, self.code)?;
        if let (Some(pid), Some(uid)) = (self.pid(), self.uid()) {
            write!(f, " pid {pid} uid {uid}")?;
        }
        if let Some(value) = self.value() {
            write!(f, " value {}", value.int())?;
        }
        if let Some(overrun @ 1..) = self.overrun() {
            write!(f, " overrun {overrun}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(code: SignalCode) -> Received {
        Received {
            signo: Signo::USR1,
            code,
            pid: 4711,
            uid: 1000,
            value: usize::MAX - 5,
            at: Duration::new(86_400 * 400, 999_999_999),
            dropped: 0,
        }
    }

    #[test]
    fn bytes_and_back() {
        for code in [0, -1, -2, -3, -4, -6, 0x80, 5].map(SignalCode::from_raw) {
            let one = received(code);
            assert_eq!(Received::from_bytes(&one.to_bytes()), Some(one));
        }
        assert_eq!(Received::from_bytes(&[0; RECORD_LEN]), None);
    }

    #[test]
    fn only_what_the_code_promises_is_told() {
        let user = received(SignalCode::User);
        assert_eq!(
            (user.pid(), user.value(), user.overrun()),
            (Some(4711), None, None)
        );
        let queued = received(SignalCode::Queue);
        assert_eq!(queued.value().map(Value::int), Some(-6));
        assert_eq!(queued.value().map(Value::address), Some(usize::MAX - 5));
        let timer = received(TIMER);
        assert_eq!(
            (timer.pid(), timer.uid(), timer.overrun()),
            (None, None, Some(1000))
        );
        assert_eq!(received(SignalCode::Kernel).pid(), None);
    }
}
