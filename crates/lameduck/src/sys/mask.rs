//! The calling thread's mask of blocked signals.

use std::fmt;
use std::mem::MaybeUninit;

/// A thread's mask of blocked signals, as it was at some time.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

impl Mask {
    /// Whether the mask blocks this signal.
    pub(crate) fn blocks(&self, signo: i32) -> bool {
        // SAFETY: the set was filled by the system or by `set_of`; a number that is no signal gives an error, not 1.
        unsafe { libc::sigismember(&raw const self.0, signo) == 1 }
    }

    /// For calls that read a set.
    pub(super) const fn as_ptr(&self) -> *const libc::sigset_t {
        &raw const self.0
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries((1..=31).filter(|signo| self.blocks(*signo)))
            .finish()
    }
}

/// Blocks these signals in the calling thread; gives the mask before.
pub(crate) fn block(signos: impl IntoIterator<Item = i32>) -> Mask {
    change(libc::SIG_BLOCK, &set_of(signos))
}

/// Unblocks these signals in the calling thread; gives the mask before. Pending ones are delivered before it returns.
pub(crate) fn unblock(signos: impl IntoIterator<Item = i32>) -> Mask {
    change(libc::SIG_UNBLOCK, &set_of(signos))
}

/// The calling thread's mask.
pub(crate) fn current_mask() -> Mask {
    block([])
}

pub(super) fn set_of(signos: impl IntoIterator<Item = i32>) -> Mask {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set that it is given, and cannot fail with a valid pointer.
    let mut set: libc::sigset_t = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for signo in signos {
        // SAFETY: the set is initialised; a number that is no signal is an error and changes nothing.
        unsafe { libc::sigaddset(&raw mut set, signo) };
    }
    Mask(set)
}

fn change(how: libc::c_int, mask: &Mask) -> Mask {
    let mut old = set_of([]);
    // SAFETY: both pointers are to initialised sets that live for the call; `how` is one of the three constants, the
    // only thing that the call can refuse.
    let refused = unsafe { libc::pthread_sigmask(how, &raw const mask.0, &raw mut old.0) };
    debug_assert_eq!(refused, 0, "pthread_sigmask refuses only an unknown `how`");
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_and_unblock_touch_only_what_they_name() {
        block([libc::SIGUSR2]);
        let blocked = block([libc::SIGWINCH]);
        assert!(blocked.blocks(libc::SIGUSR2) && !blocked.blocks(libc::SIGWINCH));
        let both = unblock([libc::SIGUSR2]);
        assert!(both.blocks(libc::SIGUSR2) && both.blocks(libc::SIGWINCH));
        assert!(!current_mask().blocks(libc::SIGUSR2));
        assert!(current_mask().blocks(libc::SIGWINCH));
        unblock([libc::SIGWINCH]);
    }
}
