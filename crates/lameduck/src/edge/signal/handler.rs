//! What runs inside the signal handler. Everything here is async-signal-safe: atomics, `getpid`, `clock_gettime`,
//! `write`, and in a forked copy `sigaction` and `raise`; no lock, no allocation, no panic.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use super::record::{RawSignal, Record};
use super::set::{ALL, index};
use crate::sys;
use crate::vocab::{Signal, SignalCode};

/// The process that created the youngest channel: a forked copy that has one of its own is no mere copy.
static YOUNGEST_OWNER: AtomicU32 = AtomicU32::new(0);

/// Where a handler runs.
pub(super) enum Copy {
    /// In the process that registered it.
    Original,
    /// In a copy by fork(2) that has not yet called exec, or never will: its signals are not ours, and whoever would answer them
    /// was not copied.
    Mere,
    /// In a copy that takes signals itself.
    WithItsOwn,
}

/// Where this handler runs; async-signal-safe.
pub(super) fn where_am_i(owner: u32) -> Copy {
    let here = sys::getpid();
    if here == owner {
        Copy::Original
    } else if YOUNGEST_OWNER.load(Ordering::Relaxed) == here {
        Copy::WithItsOwn
    } else {
        Copy::Mere
    }
}

/// Notes that this process takes signals itself; gives its id.
pub(super) fn become_owner() -> u32 {
    let owner = sys::getpid();
    // Relaxed: it guards no other memory. Pairs with the load in `where_am_i`; it is stored before registration.
    YOUNGEST_OWNER.store(owner, Ordering::Relaxed);
    owner
}

/// The handlers' side of one intake: the pipe's write end and the count of what it did not take.
#[derive(Debug)]
pub(super) struct Channel {
    write: OwnedFd,
    /// The process that registered; a forked copy shares the pipe but is not it.
    owner: u32,
    lost: [AtomicU32; ALL.len()],
}

impl Channel {
    pub(super) fn new(write: OwnedFd) -> Self {
        Self {
            write,
            owner: become_owner(),
            lost: [const { AtomicU32::new(0) }; ALL.len()],
        }
    }

    /// Passes one signal on. Runs in the handler; `errno` is what it was.
    pub(super) fn deliver(&self, signal: Signal, info: &libc::siginfo_t) {
        let errno = errno::errno();
        match where_am_i(self.owner) {
            Copy::Original => self.send(signal, record_of(info)),
            // The signal stays blocked until the handler returns, then ends it.
            Copy::Mere => {
                sys::reset_default(info.si_signo);
                sys::raise(info.si_signo);
            }
            Copy::WithItsOwn => {}
        }
        errno::set_errno(errno);
    }

    fn send(&self, signal: Signal, record: Record) {
        if sys::write_once(self.write.as_fd(), &record.to_bytes()) {
            return;
        }
        self.refused(signal);
    }

    /// Counts a record that the pipe did not take, and makes sure that the reader looks at the counts.
    fn refused(&self, signal: Signal) {
        // Pairs with the Acquire in `take_lost`.
        self.lost[index(signal)].fetch_add(1, Ordering::Release);
        // The reader may have emptied the pipe and looked at the counts before the step above, and would then
        // sleep on a signal. If there is room now, wake it; if there is none, it has yet to read and looks afterwards.
        sys::write_once(self.write.as_fd(), &Record::NUDGE.to_bytes());
    }

    /// What the pipe did not take since the last call, one entry for each signal; for the reader, after its read.
    pub(super) fn take_lost(&self) -> impl Iterator<Item = RawSignal> {
        ALL.into_iter().filter_map(|signal| {
            // Pairs with the Release in `send`.
            let count = self.lost[index(signal)].swap(0, Ordering::Acquire);
            (count > 0).then(|| RawSignal::lost(signal, count))
        })
    }
}

fn record_of(info: &libc::siginfo_t) -> Record {
    let (pid, uid) = if SignalCode::from_raw(info.si_code).names_sender() {
        // SAFETY: with these codes the kernel fills the union's `kill` or `rt` member, which both begin with pid and uid.
        unsafe { (info.si_pid(), info.si_uid()) }
    } else {
        (0, 0)
    };
    Record {
        signo: info.si_signo,
        code: info.si_code,
        pid,
        uid,
        at: sys::since_boot(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::signal::record::{Origin, RECORD_LEN};

    fn info(signo: i32) -> libc::siginfo_t {
        // SAFETY: zeroed memory is a valid siginfo_t: integers and a union of plain data.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        info.si_signo = signo;
        info
    }

    #[test]
    fn a_full_pipe_counts_keeps_errno_and_never_blocks() {
        let (read, write) = sys::pipe().expect("a pipe");
        let channel = Channel::new(write);
        let filled = std::iter::from_fn(|| {
            sys::write_once(channel.write.as_fd(), &[0; RECORD_LEN]).then_some(())
        })
        .count();
        assert!(filled > 0);

        errno::set_errno(errno::Errno(77));
        for _ in 0..3 {
            channel.deliver(Signal::Term, &info(libc::SIGTERM));
        }
        channel.deliver(Signal::Usr1, &info(libc::SIGUSR1));
        assert_eq!(
            errno::errno(),
            errno::Errno(77),
            "the writes failed with EAGAIN, and nobody saw it"
        );

        let lost: Vec<_> = channel.take_lost().collect();
        assert_eq!(
            lost,
            [
                RawSignal::lost(Signal::Term, 3),
                RawSignal::lost(Signal::Usr1, 1)
            ]
        );
        assert_eq!(channel.take_lost().count(), 0, "reported once");

        // A pipe gives room back by whole pages.
        let mut page = [0; 65_536];
        sys::read(read.as_fd(), &mut page).expect("records");
        channel.deliver(Signal::Term, &info(libc::SIGTERM));
        assert_eq!(channel.take_lost().count(), 0, "there was room");
    }

    #[test]
    fn a_reader_that_empties_the_pipe_between_refusal_and_count_is_woken() {
        let (read, write) = sys::pipe().expect("a pipe");
        let (silent, _held) = sys::pipe().expect("a pipe");
        let channel = Channel::new(write);
        channel.refused(Signal::Term);
        let bound = std::time::Duration::from_secs(30);
        let ready = sys::poll2([read.as_fd(), silent.as_fd()], Some(bound)).expect("poll works");
        assert_eq!(
            ready,
            [true, false],
            "a reader that waits for the pipe alone hears of it"
        );
        let mut bytes = [0; RECORD_LEN];
        assert_eq!(
            sys::read(read.as_fd(), &mut bytes).expect("a record"),
            RECORD_LEN
        );
        assert_eq!(
            Record::from_bytes(&bytes).to_raw(),
            None,
            "which is no signal"
        );
        assert_eq!(
            channel.take_lost().next(),
            Some(RawSignal::lost(Signal::Term, 1))
        );
    }

    #[test]
    fn writer_and_reader_at_once_account_for_everything() {
        const TOTAL: u32 = 200_000;
        let (read, write) = sys::pipe().expect("a pipe");
        let (silent, _held) = sys::pipe().expect("a pipe");
        let channel = Channel::new(write);
        let mut buffer = vec![0; 16 * RECORD_LEN];
        let mut seen = 0;
        std::thread::scope(|scope| {
            let handlers =
                || (0..TOTAL).for_each(|_| channel.deliver(Signal::Hup, &info(libc::SIGHUP)));
            scope.spawn(handlers);
            while seen < TOTAL {
                let bound = std::time::Duration::from_secs(30);
                let ready =
                    sys::poll2([read.as_fd(), silent.as_fd()], Some(bound)).expect("poll works");
                assert!(ready[0], "asleep with {seen} of {TOTAL}");
                let n = sys::read(read.as_fd(), &mut buffer).expect("something is there");
                let (records, _) = buffer[..n].as_chunks::<RECORD_LEN>();
                let delivered = records
                    .iter()
                    .filter_map(|one| Record::from_bytes(one).to_raw())
                    .map(|_| 1);
                let lost = channel.take_lost().map(|raw| match raw.origin {
                    Origin::Lost { count } => count,
                    Origin::Delivered { .. } => 0,
                });
                seen += delivered.sum::<u32>() + lost.sum::<u32>();
            }
        });
        assert_eq!(seen, TOTAL);
    }

    #[test]
    fn the_record_says_what_siginfo_says() {
        let record = record_of(&info(libc::SIGHUP));
        let raw = record.to_raw().expect("SIGHUP is ours");
        assert_eq!(raw.signal, Signal::Hup);
        assert!(matches!(
            raw.origin,
            Origin::Delivered {
                code: SignalCode::User,
                pid: 0,
                ..
            }
        ));
    }
}
