//! What a pool must be able to do and tell so that it can be emptied.

use super::Lent;

/// How many connections there are, and how many of them somebody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "pools outside this crate build it"
)]
pub struct Counts {
    /// Open, lent or idle.
    pub open: usize,
    /// Lent.
    pub lent: usize,
}

impl Counts {
    /// The counts of a pool that says how many of its connections are idle; what it is just opening or closing counts as lent then.
    ///
    /// Not for pools whose number of idle ones goes wrong when they close (sqlx): a [`Gate`](super::Gate) before them knows what is lent.
    ///
    /// ```
    /// use lameduck::lending::Counts;
    /// assert_eq!(Counts::with_idle(5, 3), Counts { open: 5, lent: 2 });
    /// ```
    #[must_use]
    pub const fn with_idle(open: usize, idle: usize) -> Self {
        let lent = open.saturating_sub(idle);
        Self { open, lent }
    }

    /// Open, and lent to nobody: idle, or being opened or closed.
    #[must_use]
    pub const fn idle(self) -> usize {
        self.open.saturating_sub(self.lent)
    }

    /// Nothing is open, nothing is lent.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.open == 0 && self.lent == 0
    }
}

/// Something that lends, and can be emptied: given to [`Enrol::drains`](crate::Enrol::drains).
///
/// It is called from one task, in the order in which the methods stand here; [`counts`](Self::counts) at any time, and often: every
/// 20 ms at least while the pool is being emptied. None of them may block; `close_idle` may take its time in its future, and is where what
/// blocks is sent to a thread that may. Should one panic, the others are called all the same, and the participant has failed.
///
/// Implement it for a pool of your own; [`Lending`](super::Lending) implements it with closures.
pub trait Pool: Send + Sync + 'static {
    /// The drain began. What uses the pool is still at work and must go on getting what it asks for; whatever is idle and will not be
    /// needed for that may be closed already.
    ///
    /// # Phases
    /// Called at the beginning of `Draining`, before the pool's turn.
    fn drain_began(&self) {}

    /// Lends nothing from here on. What is lent stays with whoever has it.
    ///
    /// # Phases
    /// Called in `Draining`, when nothing that depends on the pool is at work any longer.
    fn stop_lending(&self);

    /// Closes what is idle. Called once in any case, and again when something is idle after that. Waited for, also when nothing is open any
    /// longer by the counts: farewells may still have to be said.
    ///
    /// # Cancel safety
    /// Dropped at the end of the budget.
    fn close_idle(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// How many there are. The pool is believed in nothing else: it is empty when this says so.
    fn counts(&self) -> Counts;

    /// What is lent, the oldest first, `most` at most; for the report. Empty where the pool does not know.
    fn lent(&self, most: usize) -> Vec<Lent> {
        let _ = most;
        Vec::new()
    }
}
