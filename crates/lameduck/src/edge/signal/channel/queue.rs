//! The handlers' side of a channel. Everything that runs in a handler is async-signal-safe: atomics, `getpid`, `clock_gettime`,
//! `write`; no lock, no allocation, no panic.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::received::{RECORD_LEN, Received};
use crate::edge::signal::handler::{Copy, where_am_i};
use crate::sys::{self, Signo, Signos};

/// What both sides of a channel count.
#[derive(Debug)]
pub(super) struct Counts {
    bound: u32,
    /// Records that were taken in and not yet handed to the program. At most `bound`.
    queued: AtomicU32,
    closed: AtomicBool,
    /// Of which signals something was dropped since the reader looked.
    dropped_kinds: AtomicU64,
    dropped: [AtomicU32; 65],
    dropped_ever: AtomicU64,
}

impl Counts {
    pub(super) fn new(bound: u32) -> Self {
        Self {
            bound,
            queued: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            dropped_kinds: AtomicU64::new(0),
            dropped: [const { AtomicU32::new(0) }; 65],
            dropped_ever: AtomicU64::new(0),
        }
    }

    /// From now on handlers leave the channel alone.
    pub(super) fn close(&self) {
        // Relaxed: a handler that runs at the same time may go either way.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// One record less waits for the program.
    pub(super) fn handed_over(&self) {
        // SeqCst pairs with the load in `drop_one`: it sees this, or `take_dropped`, which follows, sees its count.
        self.queued.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn dropped_ever(&self) -> u64 {
        self.dropped_ever.load(Ordering::Relaxed)
    }

    /// What was dropped since the last call, one record for each kind.
    pub(super) fn take_dropped(&self, found: &mut impl FnMut(Received)) {
        if self.dropped_kinds.load(Ordering::SeqCst) == 0 {
            return;
        }
        let kinds = self.dropped_kinds.swap(0, Ordering::SeqCst);
        for signo in Signos::from_bits(kinds).iter() {
            let count = self.dropped[index(signo)].swap(0, Ordering::SeqCst);
            if count > 0 {
                found(Received::dropped_of(signo, count));
            }
        }
    }

    fn take_place(&self) -> bool {
        let more = |queued| (queued < self.bound).then_some(queued + 1);
        self.queued
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
    }
}

/// The write end of a channel's pipe; its handlers hold it, and nobody else, so that it closes with the last of them.
#[derive(Debug)]
pub(super) struct Queue {
    write: OwnedFd,
    counts: Arc<Counts>,
    /// The process that registered; a forked copy shares the pipe but is not it.
    owner: u32,
}

impl Queue {
    pub(super) fn new(write: OwnedFd, counts: Arc<Counts>) -> Self {
        Self {
            write,
            counts,
            owner: crate::edge::signal::handler::become_owner(),
        }
    }

    /// Passes one signal on. Runs in the handler; `errno` is what it was.
    pub(super) fn deliver(&self, signo: Signo, info: &libc::siginfo_t) {
        let errno = errno::errno();
        match where_am_i(self.owner) {
            Copy::Original if self.counts.closed.load(Ordering::Relaxed) => {}
            Copy::Original => self.send(Received::from_info(signo, info)),
            // The signal stays blocked until the handler returns, then does what it does by default.
            Copy::Mere => {
                sys::reset_default(info.si_signo);
                sys::raise(info.si_signo);
            }
            Copy::WithItsOwn => {}
        }
        errno::set_errno(errno);
    }

    fn send(&self, received: Received) {
        if !self.counts.take_place() {
            self.drop_one(received.signo);
        } else if !sys::write_once(self.write.as_fd(), &received.to_bytes()) {
            // The pipe is smaller than the bound: the kernel gives a user who has many only a page each.
            self.counts.handed_over();
            self.drop_one(received.signo);
        }
    }

    fn drop_one(&self, signo: Signo) {
        let counts = &self.counts;
        counts.dropped_ever.fetch_add(1, Ordering::Relaxed);
        counts.dropped[index(signo)].fetch_add(1, Ordering::SeqCst);
        let kind: Signos = [signo].into_iter().collect();
        counts.dropped_kinds.fetch_or(kind.bits(), Ordering::SeqCst);
        // SeqCst pairs with `handed_over`: who has anything left to hand over looks at the counts afterwards; who has nothing may
        // sleep already, and is woken.
        if counts.queued.load(Ordering::SeqCst) == 0 {
            sys::write_once(self.write.as_fd(), &[0; RECORD_LEN]);
        }
    }
}

fn index(signo: Signo) -> usize {
    usize::try_from(signo.number()).unwrap_or(0) % 65
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(signo: Signo) -> libc::siginfo_t {
        // SAFETY: zeroed memory is a valid siginfo_t: integers and a union of plain data.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        info.si_signo = signo.number();
        info
    }

    #[test]
    fn what_is_above_the_bound_is_counted_by_kind_and_errno_is_kept() {
        let (read, write) = sys::pipe().expect("a pipe");
        let queue = Queue::new(write, Arc::new(Counts::new(2)));
        errno::set_errno(errno::Errno(77));
        for signo in [Signo::HUP, Signo::HUP, Signo::HUP, Signo::USR1, Signo::HUP] {
            queue.deliver(signo, &info(signo));
        }
        assert_eq!(errno::errno(), errno::Errno(77));
        let mut bytes = [0; 5 * RECORD_LEN];
        let n = sys::read(read.as_fd(), &mut bytes).expect("records");
        assert_eq!(n, 2 * RECORD_LEN);
        let mut dropped = Vec::new();
        queue
            .counts
            .take_dropped(&mut |one| dropped.push((one.signo, one.dropped)));
        assert_eq!(dropped, [(Signo::HUP, 2), (Signo::USR1, 1)]);
        assert_eq!(queue.counts.dropped_ever(), 3);
        queue
            .counts
            .take_dropped(&mut |one| panic!("{one} was told already"));
    }

    #[test]
    fn a_reader_that_has_nothing_left_is_woken_for_what_was_dropped() {
        let (read, write) = sys::pipe().expect("a pipe");
        let queue = Queue::new(write, Arc::new(Counts::new(0)));
        queue.deliver(Signo::HUP, &info(Signo::HUP));
        let bound = Some(std::time::Duration::from_secs(30));
        assert!(sys::poll_once(&[read.as_fd()], bound).expect("poll works")[0]);
        let mut bytes = [0; RECORD_LEN];
        sys::read(read.as_fd(), &mut bytes).expect("a record");
        assert_eq!(Received::from_bytes(&bytes), None, "which is no signal");
    }

    #[test]
    fn writer_and_reader_at_once_account_for_everything() {
        const TOTAL: u32 = 100_000;
        let (read, write) = sys::pipe().expect("a pipe");
        let counts = Arc::new(Counts::new(7));
        let queue = Queue::new(write, Arc::clone(&counts));
        let mut seen = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| (0..TOTAL).for_each(|_| queue.deliver(Signo::HUP, &info(Signo::HUP))));
            let mut bytes = [0; 16 * RECORD_LEN];
            while seen < TOTAL {
                let bound = Some(std::time::Duration::from_secs(30));
                let ready = sys::poll_once(&[read.as_fd()], bound).expect("poll works")[0];
                assert!(ready, "asleep with {seen} of {TOTAL}");
                let n = sys::read(read.as_fd(), &mut bytes).expect("something is there");
                let (records, _) = bytes[..n].as_chunks::<RECORD_LEN>();
                for _ in records.iter().filter_map(Received::from_bytes) {
                    seen += 1;
                    counts.handed_over();
                }
                counts.take_dropped(&mut |one| seen += one.dropped);
            }
        });
        assert_eq!(seen, TOTAL);
    }
}
