//! What is done before anything else, and what was found then.

use std::sync::OnceLock;

use super::set::{ALL, SignalSet, number};
use crate::sys;

/// What [`early()`] did and found; set once in a process.
static EARLY: OnceLock<Early> = OnceLock::new();

#[derive(Clone, Copy, Debug)]
pub(super) struct Early {
    /// What `early` blocked and the process had not inherited blocked.
    pub(super) blocked: SignalSet,
    /// What the process inherited ignored.
    pub(super) ignored: SignalSet,
}

/// Holds lameduck's signals back until there is somebody to take them; for the first line of `main`.
///
/// Blocks SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 in the calling thread, and remembers which of them the
/// process inherited blocked or ignored. A signal that comes meanwhile waits (each one once) and is delivered when the
/// lifecycle starts, which also gives the thread its mask back.
///
/// Use it in a container: as PID 1 the kernel *drops* a signal whose disposition is still the default, so a SIGTERM
/// during start-up would be lost; and nowhere does a SIGTERM during start-up then kill the process unrecorded. Everywhere
/// else it is optional. Nothing in lameduck depends on it, and calling it again does nothing.
///
/// Start no threads and no child processes between this call and the start of the lifecycle: they inherit the mask, and
/// nobody can change another thread's. A process that calls this and never starts a lifecycle cannot be stopped by
/// these signals. Under `#[tokio::main]` the body of `main` is late: worker threads exist already.
pub fn early() {
    EARLY.get_or_init(|| {
        let ignored = ALL
            .into_iter()
            .filter(|signal| sys::is_ignored(number(*signal)))
            .collect();
        let before = sys::block(ALL.map(number));
        let blocked = ALL
            .into_iter()
            .filter(|signal| !before.blocks(number(*signal)))
            .collect();
        Early { blocked, ignored }
    });
}

/// What [`early()`] found; empty sets if it was not called.
pub(super) fn found() -> Early {
    EARLY.get().copied().unwrap_or(Early {
        blocked: SignalSet::empty(),
        ignored: SignalSet::empty(),
    })
}
