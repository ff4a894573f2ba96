//! A pool as closures, one for each step.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::gate::Barrier;
use super::{Counts, Gate, Lent, Pool};

type Step = Box<dyn Fn() + Send + Sync>;
type SlowStep = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// How somebody else's pool is emptied: a closure for each step, none of which may block.
///
/// # Examples
/// For sqlx and deadpool see `examples/pools`. A pool that is but a number:
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering::SeqCst}};
/// use lameduck::{Lifecycle, Outcome, Plan, Preset, Window, lending::{Counts, Lending}};
///
/// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
/// let open = Arc::new(AtomicUsize::new(4)); // four connections, all of them idle
/// let counted = Arc::clone(&open);
/// let lending = Lending::counted(move || Counts::with_idle(counted.load(SeqCst), 4))
///     .close_idle(move || {
///         let open = Arc::clone(&open);
///         async move { open.store(0, SeqCst) }
///     });
/// life.participate("numbers").drains(lending)?;
/// life.ready();
/// life.shutdown("the example is over");
/// assert_eq!(life.outcome().await, Outcome::Drained);
/// # Ok(()) }
/// ```
#[must_use = "give it to `Enrol::drains`"]
pub struct Lending {
    counts: Box<dyn Fn() -> Counts + Send + Sync>,
    stop: Option<Step>,
    close: Option<SlowStep>,
    gate: Option<Arc<dyn Barrier>>,
}

impl fmt::Debug for Lending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lending")
            .field("counts", &(self.counts)())
            .finish_non_exhaustive()
    }
}

impl Lending {
    /// Lending that is counted so; at its end both counts must be zero.
    pub fn counted(counts: impl Fn() -> Counts + Send + Sync + 'static) -> Self {
        Self {
            counts: Box::new(counts),
            stop: None,
            close: None,
            gate: None,
        }
    }

    /// How the pool stops to lend, unless closing what is idle does that as well. See [`Pool::stop_lending`].
    pub fn stop_lending(mut self, stop: impl Fn() + Send + Sync + 'static) -> Self {
        self.stop = Some(Box::new(stop));
        self
    }

    /// How what is idle is closed. See [`Pool::close_idle`].
    pub fn close_idle<F, Fut>(mut self, close: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.close = Some(Box::new(move || Box::pin(close())));
        self
    }

    /// The pool is lent from through this gate: it closes first, what it counts as lent is waited for, and what leaks is named by age
    /// and line.
    pub fn behind<P: Send + Sync + 'static>(mut self, gate: &Gate<P>) -> Self {
        self.gate = Some(gate.barrier());
        self
    }
}

impl Pool for Lending {
    fn stop_lending(&self) {
        if let Some(gate) = &self.gate {
            gate.close();
        }
        if let Some(stop) = &self.stop {
            stop();
        }
    }

    async fn close_idle(&self) {
        if let Some(close) = &self.close {
            close().await;
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = (self.counts)();
        if let Some(gate) = &self.gate {
            counts.lent = counts.lent.max(gate.lent());
        }
        counts
    }

    fn lent(&self, most: usize) -> Vec<Lent> {
        self.gate
            .as_ref()
            .map_or_else(Vec::new, |gate| gate.oldest(most))
    }
}
