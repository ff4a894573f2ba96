//! When one listener and its connections leave.
//!
//! Owns the listener's own view of the shutdown, where it differs from the service's: a shorter window, another spread, another late
//! policy, or staying open until nothing depends on it any more. Without such a wish every question is one to the service's `Drain`.

use std::sync::OnceLock;
use std::time::Duration;

use lameduck::inflight::{Fired, Token};
use lameduck::{Drain, Late, Lifecycle};
use tokio::time::sleep;

/// What was asked for one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) inner: bool,
    pub(crate) window_at_most: Option<Duration>,
    pub(crate) late: Option<Late>,
    pub(crate) spread: Option<Duration>,
}

/// The shutdown as one listener sees it.
#[derive(Debug)]
pub(crate) struct Course {
    drain: Drain,
    way: Way,
    late: Late,
    spread: Option<Duration>,
}

#[derive(Debug)]
enum Way {
    /// With the service.
    With,
    /// Admission closes before the service's does, or with it.
    Earlier { window: Duration, closing: Token },
    /// Nothing changes until nothing depends on it.
    Inner {
        left: Token,
        left_at: OnceLock<Duration>,
    },
}

impl Course {
    pub(crate) fn new(life: &Lifecycle, wishes: Wishes) -> Self {
        let way = match wishes.window_at_most {
            _ if wishes.inner => Way::Inner {
                left: Token::new(),
                left_at: OnceLock::new(),
            },
            Some(window) => Way::Earlier {
                window,
                closing: Token::new(),
            },
            None => Way::With,
        };
        Self {
            drain: life.drain(),
            way,
            late: wishes.late.unwrap_or_else(|| life.plan().late()),
            spread: wishes.spread,
        }
    }

    /// The service's own view, for handlers.
    pub(crate) const fn service(&self) -> &Drain {
        &self.drain
    }

    /// Whether it stays open for others, and counts for nothing itself.
    pub(crate) const fn is_inner(&self) -> bool {
        matches!(self.way, Way::Inner { .. })
    }

    pub(crate) const fn late(&self) -> Late {
        self.late
    }

    #[inline]
    pub(crate) fn is_steering(&self) -> bool {
        match &self.way {
            Way::With | Way::Earlier { .. } => self.drain.is_steering(),
            Way::Inner { left, .. } => left.is_fired(),
        }
    }

    pub(crate) fn steering(&self) -> Fired {
        match &self.way {
            Way::With | Way::Earlier { .. } => self.drain.steering(),
            Way::Inner { left, .. } => left.fired(),
        }
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        match &self.way {
            Way::With => self.drain.is_closing(),
            Way::Earlier { closing, .. } => closing.is_fired(),
            Way::Inner { left, .. } => left.is_fired(),
        }
    }

    pub(crate) fn closing(&self) -> Fired {
        match &self.way {
            Way::With => self.drain.closing(),
            Way::Earlier { closing, .. } => closing.fired(),
            Way::Inner { left, .. } => left.fired(),
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.drain.is_ending()
    }

    pub(crate) fn ending(&self) -> Fired {
        self.drain.ending()
    }

    pub(crate) fn drain_end(&self) -> Option<Duration> {
        self.drain.drain_end()
    }

    /// When the connection with this hash is told to go elsewhere; None as long as nobody is.
    pub(crate) fn steer_at(&self, hash: u64) -> Option<Duration> {
        match (&self.way, self.spread) {
            (Way::Inner { left_at, .. }, _) => left_at.get().copied(),
            (_, None) => self.drain.steer_at(hash),
            (_, Some(spread)) => {
                let requested_at = self.drain.steer_at(0)?;
                Some(requested_at.saturating_add(share(spread, hash)))
            }
        }
    }

    /// Lets the listener leave when it is time, where that is not the service's time.
    ///
    /// `released` comes when nothing that depends on the listener is at work.
    pub(crate) async fn conduct(&self, released: Fired, life: &Lifecycle) {
        match &self.way {
            Way::With => std::future::pending().await,
            Way::Earlier { window, closing } => {
                self.drain.steering().await;
                tokio::select! {
                    () = sleep(*window) => {}
                    () = self.drain.closing() => {}
                }
                closing.fire();
            }
            Way::Inner { left, left_at } => {
                tokio::select! {
                    () = released => {}
                    () = self.drain.ending() => {}
                }
                // Before the token: whoever sees that finds the time.
                let _ = left_at.set(life.elapsed());
                left.fire();
            }
        }
    }
}

/// The part of `span` that belongs to a hash; `u64::MAX` is the whole.
pub(crate) fn share(span: Duration, hash: u64) -> Duration {
    let nanos = u128::from(hash) * span.as_nanos() / u128::from(u64::MAX);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_the_span_evenly() {
        let span = Duration::from_secs(10);
        assert_eq!(share(span, 0), Duration::ZERO);
        assert_eq!(share(span, u64::MAX), span);
        let half = share(span, u64::MAX / 2);
        assert!(
            half.abs_diff(span / 2) < Duration::from_micros(1),
            "{half:?}"
        );
    }
}
