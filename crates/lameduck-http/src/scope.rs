//! `drain()` inside a handler, whether a body is dropped because the server ends it, and whether it was cut by a layer.
//!
//! Owns the thread-locals that are set while a connection is polled, and while it ends a body, and only then.

use std::cell::Cell;
use std::ptr;

use lameduck::Drain;

use crate::server::course::Course;

thread_local! {
    static CURRENT: Cell<*const Drain> = const { Cell::new(ptr::null()) };
    static ENDING: Cell<bool> = const { Cell::new(false) };
    static CUT: Cell<bool> = const { Cell::new(false) };
}

/// What the service under whose connection the caller runs is told about leaving; `None` outside a handler.
///
/// Works in everything that is polled by a connection: handlers, layers, response bodies. A task spawned by a handler is none of these:
/// take the `Drain` before spawning and move it in.
///
/// # Examples
/// ```
/// async fn events() -> String {
///     match lameduck_http::drain() {
///         Some(drain) => format!("leaving: {}", drain.is_steering()),
///         None => "not served by lameduck".to_owned(),
///     }
/// }
/// ```
#[must_use]
pub fn drain() -> Option<Drain> {
    let current = CURRENT.get();
    // SAFETY: a pointer in CURRENT was made from a reference by `with` on this thread, which stays borrowed until `with` puts the former
    // pointer back, on unwinding too; so it is null or valid here.
    unsafe { current.as_ref() }.cloned()
}

/// Runs `poll` with the service's drain as the thread's current one.
pub(crate) fn with<R>(course: &Course, poll: impl FnOnce() -> R) -> R {
    struct Restore(*const Drain);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(course.service()));
    poll()
}

/// Drops a body that would have gone on: layers within can tell that from a client that went away.
pub(crate) fn ending<R>(end: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ENDING.set(self.0);
        }
    }
    let _restore = Restore(ENDING.replace(true));
    end()
}

/// Whether what is dropped now is dropped by [`ending`].
pub(crate) fn is_ending() -> bool {
    ENDING.get()
}

/// The response body that is polled now is cut here, though its end may look like one of its own.
pub(crate) fn note_cut() {
    CUT.set(true);
}

/// Whether [`note_cut`] was called since this was asked last.
pub(crate) fn take_cut() -> bool {
    CUT.take()
}
