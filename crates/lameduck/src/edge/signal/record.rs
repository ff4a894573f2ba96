//! One signal as the handler saw it, and its 32 bytes in the pipe.

use std::time::Duration;

use super::set::from_number;
use crate::vocab::{Signal, SignalCode};

/// A record's length in the pipe: far below `PIPE_BUF`, so that each write is whole or refused, never split.
pub(super) const RECORD_LEN: usize = 32;

/// A signal as it came out of the pipe, its sender not yet looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawSignal {
    /// Which signal.
    pub(crate) signal: Signal,
    /// What is known of its delivery.
    pub(crate) origin: Origin,
}

/// What the handler could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The handler ran and its record arrived.
    Delivered {
        /// How the signal was generated.
        code: SignalCode,
        /// `si_pid`: the sender, where `code` names one; else 0.
        pid: u32,
        /// `si_uid`: the sender's real user, where `code` names one; else 0.
        uid: u32,
        /// When the handler ran, on the clock of `sys::since_boot`.
        at: Duration,
    },
    /// The handler ran this often while the pipe was full; nothing else is known.
    Lost {
        /// How often, at least 1.
        count: u32,
    },
}

/// Brings signals found together into the order in which they are handled: QUIT > TERM, INT > HUP > USR2 > USR1.
///
/// Those of one kind stay in the order of their arrival. (SIGTERM and SIGINT ask for the same; TERM stands first.)
pub(crate) fn sort_by_priority(found: &mut [RawSignal]) {
    found.sort_by_key(|raw| raw.signal);
}

/// The fields of `siginfo_t` that are used, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) signo: i32,
    pub(super) code: i32,
    pub(super) pid: i32,
    pub(super) uid: u32,
    pub(super) at: Duration,
}

impl Record {
    /// A record that only wakes the reader; no signal has the number 0.
    pub(super) const NUDGE: Self = Self {
        signo: 0,
        code: 0,
        pid: 0,
        uid: 0,
        at: Duration::ZERO,
    };

    /// The bytes in the pipe; async-signal-safe.
    pub(super) fn to_bytes(self) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[0..4].copy_from_slice(&self.signo.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.code.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.uid.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.at.as_secs().to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.at.subsec_nanos().to_ne_bytes());
        bytes
    }

    /// The record in these bytes.
    pub(super) fn from_bytes(bytes: &[u8; RECORD_LEN]) -> Self {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let secs = u64::from_ne_bytes(bytes[16..24].try_into().expect("eight bytes"));
        Self {
            signo: i32::from_ne_bytes(word(0)),
            code: i32::from_ne_bytes(word(4)),
            pid: i32::from_ne_bytes(word(8)),
            uid: u32::from_ne_bytes(word(12)),
            at: Duration::new(secs, u32::from_ne_bytes(word(24)) % 1_000_000_000),
        }
    }

    /// The signal, unless this is the nudge.
    pub(super) fn to_raw(self) -> Option<RawSignal> {
        let signal = from_number(self.signo)?;
        let code = SignalCode::from_raw(self.code);
        let (pid, uid) = if code.names_sender() {
            (u32::try_from(self.pid).unwrap_or(0), self.uid)
        } else {
            (0, 0)
        };
        Some(RawSignal {
            signal,
            origin: Origin::Delivered {
                code,
                pid,
                uid,
                at: self.at,
            },
        })
    }
}

impl RawSignal {
    /// A signal of which only the number of deliveries is known.
    pub(super) const fn lost(signal: Signal, count: u32) -> Self {
        Self {
            signal,
            origin: Origin::Lost { count },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::signal::set::ALL;

    fn record(signo: i32, code: i32) -> Record {
        Record {
            signo,
            code,
            pid: 4711,
            uid: 1000,
            at: Duration::new(86_400 * 400, 999_999_999),
        }
    }

    #[test]
    fn bytes_and_back() {
        for one in [
            record(15, 0),
            record(-1, i32::MIN),
            Record {
                pid: -7,
                uid: u32::MAX,
                ..record(1, 0x80)
            },
        ] {
            assert_eq!(Record::from_bytes(&one.to_bytes()), one);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        for byte in 0..=u8::MAX {
            assert_eq!(
                Record::from_bytes(&[byte; RECORD_LEN]).to_raw(),
                None,
                "no signal has this number"
            );
        }
        assert_eq!(Record::from_bytes(&Record::NUDGE.to_bytes()).to_raw(), None);
    }

    #[test]
    fn a_code_without_a_sender_keeps_no_pid() {
        let raw = record(libc::SIGINT, 0x80).to_raw().expect("SIGINT is ours");
        assert!(matches!(
            raw.origin,
            Origin::Delivered {
                code: SignalCode::Kernel,
                pid: 0,
                uid: 0,
                ..
            }
        ));
        let raw = record(libc::SIGINT, 0).to_raw().expect("SIGINT is ours");
        assert!(matches!(
            raw.origin,
            Origin::Delivered {
                code: SignalCode::User,
                pid: 4711,
                uid: 1000,
                ..
            }
        ));
    }

    #[test]
    fn found_together_they_are_handled_by_priority_and_else_in_order() {
        let mut found: Vec<RawSignal> = ALL
            .into_iter()
            .rev()
            .flat_map(|signal| [RawSignal::lost(signal, 1), RawSignal::lost(signal, 2)])
            .collect();
        sort_by_priority(&mut found);
        let expected: Vec<RawSignal> = ALL
            .into_iter()
            .flat_map(|signal| [RawSignal::lost(signal, 1), RawSignal::lost(signal, 2)])
            .collect();
        assert_eq!(found, expected);
    }
}
