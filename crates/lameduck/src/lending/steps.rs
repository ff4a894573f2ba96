//! A pool as closures, one for each step.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::gate::{Barrier, end_pool};
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
    begin: Option<Step>,
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
            begin: None,
            stop: None,
            close: None,
            gate: None,
        }
    }

    /// What is done when the drain begins, while the pool is still lent from: for pools that can close what is idle and go on (deadpool's
    /// `retain`). See [`Pool::drain_began`].
    pub fn drain_began(mut self, begin: impl Fn() + Send + Sync + 'static) -> Self {
        self.begin = Some(Box::new(begin));
        self
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

    /// The pool is lent from through this gate and in no other way: it closes first, it drops its own pool before what is idle is closed, and
    /// what leaks is named by age and line. What is lent is what the gate says, whatever else [counts](Self::counted): what is open beyond
    /// that is neither lent nor closed.
    pub fn behind<P: Send + Sync + 'static>(mut self, gate: &Gate<P>) -> Self {
        self.gate = Some(gate.barrier());
        self
    }
}

impl Pool for Lending {
    fn drain_began(&self) {
        if let Some(begin) = &self.begin {
            begin();
        }
    }

    fn stop_lending(&self) {
        if let Some(gate) = &self.gate {
            gate.close();
        }
        if let Some(stop) = &self.stop {
            stop();
        }
    }

    async fn close_idle(&self) {
        // First: closing may wait for all that is lent.
        if let Some(gate) = &self.gate {
            end_pool(&**gate).await;
        }
        if let Some(close) = &self.close {
            close().await;
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = (self.counts)();
        if let Some(gate) = &self.gate {
            counts.lent = gate.lent();
        }
        counts
    }

    fn lent(&self, most: usize) -> Vec<Lent> {
        self.gate
            .as_ref()
            .map_or_else(Vec::new, |gate| gate.oldest(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_says_what_is_lent() {
        let gate = Gate::new(());
        let out = gate.blocking_lend(|()| Ok::<_, std::convert::Infallible>(()));
        // Two are being opened, which the pool counts as not idle.
        let lending = Lending::counted(|| Counts::with_idle(3, 0)).behind(&gate);
        assert_eq!(lending.counts(), Counts { open: 3, lent: 1 });
        assert_eq!(lending.counts().idle(), 2);
        drop(out);
        assert_eq!(lending.counts(), Counts { open: 3, lent: 0 });
    }
}
