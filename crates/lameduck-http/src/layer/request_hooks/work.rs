//! What asynchronous hooks have still to do, and who waits for it at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lameduck::{EnrolError, Lifecycle};
use tokio::sync::Notify;

/// Requests under way and hooks at work.
#[derive(Debug, Default)]
pub(super) struct Work {
    open: AtomicUsize,
    none: Notify,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Held {
    work: Arc<Work>,
}

impl Work {
    /// Makes the shutdown wait for it, under this name; for the same work that another name stands for, if there is one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn enrol(
        life: &Lifecycle,
        name: String,
        known: Option<Arc<Self>>,
    ) -> Result<Arc<Self>, EnrolError> {
        let work = known.unwrap_or_default();
        let waiting = Arc::clone(&work);
        let worker = life.worker(name, async |stop| stop.closing().await)?;
        worker.on_stop(async move || {
            waiting.end().await;
            Ok::<(), std::convert::Infallible>(())
        });
        Ok(work)
    }

    pub(super) fn hold(self: &Arc<Self>) -> Held {
        self.open.fetch_add(1, SeqCst);
        Held {
            work: Arc::clone(self),
        }
    }

    /// Until nobody is left.
    async fn end(&self) {
        loop {
            let mut none = std::pin::pin!(self.none.notified());
            // Before the look, so that what comes in between is heard.
            none.as_mut().enable();
            if self.open.load(SeqCst) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.work.open.fetch_sub(1, SeqCst) == 1 {
            self.work.none.notify_waiters();
        }
    }
}
