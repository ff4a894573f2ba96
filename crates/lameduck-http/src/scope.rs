//! `drain()` and `cancellation()` inside a handler, whether a body is dropped because the server ends it, and whether it was cut by a layer.
//!
//! Owns the thread-locals that are set while a connection is polled, and while it ends a body, and only then.

use std::cell::Cell;
use std::ptr;

use lameduck::Drain;
use lameduck::inflight::Cancellation;

use crate::server::watch::Watch;

thread_local! {
    static CURRENT: Cell<*const Watch> = const { Cell::new(ptr::null()) };
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
    look(|watch| watch.shared.drain.service().clone())
}

/// Tells what was begun for the request under whose handler the caller runs that nobody waits for it any longer, and why; `None` outside a
/// handler.
///
/// A handler itself needs none: it is dropped. What it has spawned goes on unless it listens to this. It is over with the request: its
/// response was handed over, its client is gone, it was cut. Its [`parent`](Cancellation::parent) is the connection's, whose parent is that of
/// the listener's participant, whose parent is the [lifecycle](lameduck::Lifecycle::cancellation)'s: each ends what is below it. The first
/// call for a request allocates; a request without one costs nothing.
///
/// Works where [`drain`] does. Between two requests, as when a connection is dropped, it is the connection's. As long as somebody has it, or one
/// of its children, an idle connection is not parked.
///
/// # Examples
/// ```
/// async fn report() -> &'static str {
///     if let Some(cancellation) = lameduck_http::cancellation() {
///         tokio::spawn(async move {
///             tokio::select! {
///                 cancelled = cancellation.cancelled() => eprintln!("no report: {cancelled}"),
///                 () = std::future::ready(()) => { /* the report, made meanwhile */ }
///             }
///         });
///     }
///     "in the making"
/// }
/// ```
#[must_use]
pub fn cancellation() -> Option<Cancellation> {
    look(Watch::cancellation)
}

fn look<R>(look: impl FnOnce(&Watch) -> R) -> Option<R> {
    let current = CURRENT.get();
    // SAFETY: a pointer in CURRENT was made from a reference by `with` on this thread, which stays borrowed until `with` puts the former
    // pointer back, on unwinding too; so it is null or valid here.
    unsafe { current.as_ref() }.map(look)
}

/// Runs `poll` with this connection, or stream, as the thread's current one.
pub(crate) fn with<R>(watch: &Watch, poll: impl FnOnce() -> R) -> R {
    struct Restore(*const Watch);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(watch));
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
