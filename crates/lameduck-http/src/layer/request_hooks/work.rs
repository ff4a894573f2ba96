//! What asynchronous hooks have still to do, and who waits for it at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lameduck::{Enrol, EnrolError, Participant};
use tokio::sync::{Notify, oneshot};

/// How many hooks are at work at a time; a request that ends beyond that goes without, and is counted.
const MOST_AT_WORK: usize = 4_096;

/// Requests under way and hooks at work.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Both together.
    open: AtomicUsize,
    at_work: AtomicUsize,
    /// Hooks that were not run.
    missed: AtomicUsize,
    none: Notify,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Held {
    work: Arc<Work>,
}

/// A hook at work.
#[derive(Debug)]
pub(super) struct AtWork {
    held: Held,
}

impl Work {
    /// Makes the shutdown wait for it as this participant; for the same work that another one stands for, if there is one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn enrol(enrol: Enrol, known: Option<Arc<Self>>) -> Result<Arc<Self>, EnrolError> {
        let runtime = tokio::runtime::Handle::current();
        let participant = enrol.register()?;
        let work = known.unwrap_or_default();
        let waiting = Arc::clone(&work);
        let waits = runtime.clone();
        // On a thread of its own, which waits for the runtime's.
        participant.on_stop(move || {
            let (say, ended) = oneshot::channel();
            waits.spawn(async move {
                waiting.end().await;
                let _ = say.send(waiting.missed.load(SeqCst));
            });
            match ended.blocking_recv() {
                Ok(0) => Ok(()),
                Ok(missed) => Err(format!(
                    "{missed} hooks were not run: {MOST_AT_WORK} were at work"
                )),
                Err(_) => Err("the runtime ended first".to_owned()),
            }
        });
        runtime.spawn(stand(participant));
        Ok(work)
    }

    pub(super) fn hold(self: &Arc<Self>) -> Held {
        self.open.fetch_add(1, SeqCst);
        Held {
            work: Arc::clone(self),
        }
    }

    /// One more hook, if there is room.
    pub(super) fn begin(self: &Arc<Self>) -> Option<AtWork> {
        if self.at_work.fetch_add(1, SeqCst) >= MOST_AT_WORK {
            self.at_work.fetch_sub(1, SeqCst);
            self.missed.fetch_add(1, SeqCst);
            return None;
        }
        Some(AtWork { held: self.hold() })
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

/// Ready at once, and done as soon as it is told to finish: its work is the stop hook's.
async fn stand(participant: Participant) {
    participant.ready();
    participant.closing().await;
    participant.done();
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.work.open.fetch_sub(1, SeqCst) == 1 {
            self.work.none.notify_waiters();
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.held.work.at_work.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv_11_hooks_beyond_the_bound_are_counted_and_one_that_ends_makes_room() {
        let work = Arc::new(Work::default());
        let mut at_work: Vec<_> = (0..MOST_AT_WORK).map(|_| work.begin()).collect();
        assert!(at_work.iter().all(Option::is_some));
        assert!(work.begin().is_none());
        assert_eq!(work.missed.load(SeqCst), 1);
        at_work.pop();
        assert!(work.begin().is_some());
        drop(at_work);
        assert_eq!(work.open.load(SeqCst), 0);
        assert_eq!(work.missed.load(SeqCst), 1);
    }
}
