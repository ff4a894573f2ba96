//! Tasks with a name: spawned on tokio, and listed in dumps with what they are doing.

use std::{
    cell::Cell,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use super::Lifecycle;
use crate::{driver::Shared, inflight::TaskEntry, sys};

impl Lifecycle {
    /// Spawns a task that dumps name: where it was spawned, how old it is, how often it was polled, and for how long it has been running on
    /// which thread, or waiting.
    ///
    /// It is a plain task of tokio otherwise: the shutdown does not wait for it. For that there are [`worker`](Self::worker), which is listed too,
    /// and [`enter`](Self::enter). Each poll costs two looks at the clock and a few plain stores; what is spawned in large numbers and
    /// polled often is better left to `tokio::spawn`. At most 16,384 tasks are listed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Examples
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// use lameduck::{Lifecycle, Plan, Preset};
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local)).unwrap();
    /// let task = life.spawn("ticker", std::future::pending::<()>());
    /// let seen = life.inflight().tasks.snapshot(10).expect("nobody holds it");
    /// assert_eq!(seen.tasks[0].name, "ticker");
    /// task.abort();
    /// # });
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, name: impl Into<String>, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(watched(&self.shared, name, Location::caller(), future))
    }
}

/// The future, listed.
pub(super) fn watched<F: Future>(
    shared: &Arc<Shared>,
    name: impl Into<String>,
    spawned_at: &'static Location<'static>,
    future: F,
) -> Watched<F> {
    Watched {
        entry: shared
            .inflight()
            .tasks
            .enter(name, spawned_at, shared.now()),
        shared: Arc::clone(shared),
        future,
    }
}

pin_project! {
    /// Says in the registry when it is polled.
    pub(super) struct Watched<F> {
        entry: TaskEntry,
        shared: Arc<Shared>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.entry.poll_begins(tid(), this.shared.now());
        let polled = this.future.poll(cx);
        this.entry.poll_ends(this.shared.now());
        polled
    }
}

/// This thread's id, asked for once.
fn tid() -> i32 {
    thread_local! {
        static TID: Cell<i32> = const { Cell::new(0) };
    }
    let known = TID.get();
    if known != 0 {
        return known;
    }
    let tid = sys::tid();
    TID.set(tid);
    tid
}
