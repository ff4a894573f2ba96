//! What the lifecycle tells, handed to the exporter's thread. Nothing here waits but the end.

use std::{fmt, time::Duration};

use lameduck::{Observed, Observer};

use crate::worker::{LAST_WORD, Worker};

/// Exports what it is told. See [`Otlp::observer`](crate::Otlp::observer).
#[must_use = "register it with `Lifecycle::observe`"]
pub struct OtlpObserver {
    worker: Worker,
    patience: Duration,
}

impl OtlpObserver {
    pub(crate) const fn new(worker: Worker, patience: Duration) -> Self {
        Self { worker, patience }
    }
}

impl fmt::Debug for OtlpObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpObserver")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Observer for OtlpObserver {
    fn observe(&mut self, seen: &Observed) {
        self.worker.tell(seen.clone());
    }

    fn missed(&mut self, count: u64) {
        self.worker.missed(count);
    }

    fn finish(&mut self) {
        self.worker.finish(self.patience);
    }

    fn patience(&self) -> Duration {
        self.patience + LAST_WORD
    }
}
