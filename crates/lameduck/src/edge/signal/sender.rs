//! Who sent a signal, as far as it can be found out.

use std::io;
use std::time::Duration;

use super::record::{Origin, RawSignal};
use crate::sys::{self, ProcessFacts};
use crate::vocab::{Sender, SenderUnknown, SignalCode, SignalRecord};

/// The code of a signal whose record was lost: Linux' `SI_NOINFO`, "no information in siginfo_t".
pub(super) const NO_INFO: SignalCode = SignalCode::Other(32767);

/// Looks the sender up and makes the record that the audit keeps; call it soon, senders exit.
///
/// Reads one file of `/proc`, at most 2,048 bytes; blocks on nothing else.
pub(crate) fn resolve(raw: &RawSignal) -> SignalRecord {
    let (code, sender) = match raw.origin {
        Origin::Lost { .. } => (NO_INFO, Sender::Unknown),
        Origin::Delivered { code, pid, uid, at } => (code, sender(code, pid, uid, at)),
    };
    SignalRecord::new(raw.signal, code, sender)
}

/// Who has these marks; looked up now, and judged by when the signal came.
pub(super) fn sender(code: SignalCode, pid: u32, uid: u32, at: Duration) -> Sender {
    match code {
        SignalCode::Kernel => Sender::Kernel,
        code if !code.names_sender() => Sender::Unknown,
        _ if pid == 0 => Sender::OutsideNamespace,
        _ if pid == sys::getpid() => Sender::Itself,
        _ => Sender::Process {
            pid,
            uid,
            comm: name(pid, sys::process_facts(pid), at),
        },
    }
}

fn name(pid: u32, facts: io::Result<ProcessFacts>, at: Duration) -> Result<String, SenderUnknown> {
    match facts {
        // The start is rounded down to a tick: in the same tick nobody can tell, and the sender is the likelier.
        Ok(facts) if facts.started_at > at => Err(SenderUnknown::PidReused),
        Ok(facts) => Ok(printable(&facts.comm)),
        // The file is missing, yet the process exists: `/proc` is hidden (hidepid) or not mounted.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !sys::exists(pid) => {
            Err(SenderUnknown::Exited)
        }
        Err(_) => Err(SenderUnknown::Unreadable),
    }
}

/// A name that cannot forge a line of a log: a process chooses its own, line ends and escape sequences included.
fn printable(comm: &[u8]) -> String {
    let text = String::from_utf8_lossy(comm);
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::Signal;

    const AT: Duration = Duration::from_millis(5_005);

    fn facts(comm: &[u8], started_at: Duration) -> io::Result<ProcessFacts> {
        Ok(ProcessFacts {
            comm: comm.to_vec(),
            started_at,
        })
    }

    #[test]
    fn a_process_that_started_after_the_signal_did_not_send_it() {
        assert_eq!(
            name(1, facts(b"sh", Duration::from_millis(5_010)), AT),
            Err(SenderUnknown::PidReused)
        );
        for started_at in [Duration::ZERO, Duration::from_secs(5)] {
            assert_eq!(name(1, facts(b"sh", started_at), AT), Ok("sh".to_owned()));
        }
    }

    #[test]
    fn a_name_cannot_forge_a_log_line() {
        let name = name(1, facts(b"a\nb\x1b[2J\xff", Duration::ZERO), AT).expect("it is known");
        assert_eq!(name, "a\u{fffd}b\u{fffd}[2J\u{fffd}");
    }

    #[test]
    fn hidden_is_not_exited() {
        let own = sys::getpid();
        assert_eq!(
            name(own, Err(io::ErrorKind::NotFound.into()), AT),
            Err(SenderUnknown::Unreadable)
        );
        assert_eq!(
            name(own, Err(io::ErrorKind::Unsupported.into()), AT),
            Err(SenderUnknown::Unreadable)
        );
        // Above the kernel's largest pid (PID_MAX_LIMIT, 2^22).
        assert_eq!(
            name(1 << 30, Err(io::ErrorKind::NotFound.into()), AT),
            Err(SenderUnknown::Exited)
        );
    }

    #[test]
    fn codes_and_pids_say_who() {
        assert_eq!(sender(SignalCode::Kernel, 0, 0, AT), Sender::Kernel);
        assert_eq!(sender(SignalCode::Other(-2), 7, 7, AT), Sender::Unknown);
        assert_eq!(sender(SignalCode::User, 0, 0, AT), Sender::OutsideNamespace);
        assert_eq!(
            sender(SignalCode::Thread, sys::getpid(), 0, AT),
            Sender::Itself
        );
        let lost = resolve(&RawSignal {
            signal: Signal::Term,
            origin: Origin::Lost { count: 2 },
        });
        assert_eq!((lost.signal, lost.sender), (Signal::Term, Sender::Unknown));
        assert!(!lost.code.names_sender());
    }
}
