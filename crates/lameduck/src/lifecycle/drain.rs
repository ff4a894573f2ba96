//! What work sees of a shutdown.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    driver::Shared,
    inflight::Fired,
    vocab::{Cause, Phase},
};

/// A view of the shutdown for handlers, streams and background work: when to go elsewhere, when to finish, when to stop.
///
/// # Examples
/// ```
/// # use lameduck::{Lifecycle, Plan, Preset};
/// # fn main() -> std::io::Result<()> {
/// let life = Lifecycle::embedded(Plan::preset(Preset::Local))?;
/// let drain = life.drain();
/// assert!(!drain.is_steering());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Drain {
    shared: Arc<Shared>,
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

impl Drain {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The phase: one atomic load.
    #[inline]
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// Whether a termination was requested.
    #[inline]
    #[must_use]
    pub fn is_steering(&self) -> bool {
        self.shared.steering.is_fired()
    }

    /// Whether the lame-duck window is over.
    #[inline]
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.shared.closing.is_fired()
    }

    /// Whether the drain is over: what still runs is being ended.
    #[inline]
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.shared.ending.is_fired()
    }

    /// Resolves when a termination was requested (T): long work may begin to wind down.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn steering(&self) -> Fired {
        self.shared.steering.fired()
    }

    /// Resolves when the lame-duck window is over: endless work ends now.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn closing(&self) -> Fired {
        self.shared.closing.fired()
    }

    /// Resolves when the drain is over: whoever sees this has no time left.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn ending(&self) -> Fired {
        self.shared.ending.fired()
    }

    /// Resolves when admission is closed and the last connection has ended.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub fn drained(&self) -> Fired {
        self.shared.drained.fired()
    }

    /// Why, once it was asked.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.shared.request().map(|request| request.cause.clone())
    }

    /// When the process will be gone, on the clock of [`Lifecycle::elapsed`](crate::Lifecycle::elapsed).
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.shared.request().map(|request| request.deadline)
    }

    /// When stragglers are ended, on the clock of [`Lifecycle::elapsed`](crate::Lifecycle::elapsed).
    #[must_use]
    pub fn drain_end(&self) -> Option<Duration> {
        self.shared.request().map(|request| request.drain_end)
    }

    /// When a connection with this hash is told to go elsewhere: the beginning of `Terminating` (T, unless a turn was waited for) plus its share of the window's floor, on the clock of
    /// [`Lifecycle::elapsed`](crate::Lifecycle::elapsed). `u64::MAX` is the end of the floor; `None` before T.
    #[must_use]
    pub fn steer_at(&self, hash: u64) -> Option<Duration> {
        let request = self.shared.request()?;
        let share = if hash == u64::MAX {
            request.spread
        } else {
            let nanos = u128::from(hash) * request.spread.as_nanos() / u128::from(u64::MAX);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        Some(request.begun_at.saturating_add(share))
    }
}
