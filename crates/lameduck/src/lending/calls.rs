//! Calls to somebody else's pool, none of which takes the task down: a pool that panics in one step is still led through the others.
//!
//! Owns which call panicked first; not what is called when, which is the turn's.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::turn::Closing;
use super::{Counts, Lent, Pool};

/// A method of [`Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    DrainBegan,
    StopLending,
    CloseIdle,
    Counts,
    Lent,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DrainBegan => "drain_began",
            Self::StopLending => "stop_lending",
            Self::CloseIdle => "close_idle",
            Self::Counts => "counts",
            Self::Lent => "lent",
        })
    }
}

/// The first call that panicked. The panic itself was printed by the panic hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Panicked(pub(super) Option<Call>);

impl Panicked {
    fn catch<T>(&mut self, call: Call, work: impl FnOnce() -> T) -> Option<T> {
        // What the pool looks like after a panic is its own concern: nothing of ours was half written.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => Some(done),
            Err(panic) => {
                // Dropping a payload may panic again.
                std::mem::forget(panic);
                self.0.get_or_insert(call);
                None
            }
        }
    }

    pub(crate) fn drain_began(&mut self, pool: &impl Pool) {
        self.catch(Call::DrainBegan, || pool.drain_began());
    }

    pub(super) fn stop_lending(&mut self, pool: &impl Pool) {
        self.catch(Call::StopLending, || pool.stop_lending());
    }

    /// Nothing from a pool that cannot count: there is nothing to wait for that anybody knows of.
    pub(super) fn counts(&mut self, pool: &impl Pool) -> Counts {
        if self.0 == Some(Call::Counts) {
            return Counts::default();
        }
        let counts = self.catch(Call::Counts, || pool.counts());
        counts.unwrap_or_else(|| {
            // Whatever else has panicked: without counts nothing else can be said.
            self.0 = Some(Call::Counts);
            Counts::default()
        })
    }

    pub(super) fn lent(&mut self, pool: &impl Pool, most: usize) -> Vec<Lent> {
        let lent = self.catch(Call::Lent, || pool.lent(most));
        lent.unwrap_or_default()
    }
}

/// A call to [`Pool::close_idle`], if one is at work.
pub(super) struct Farewell<'a> {
    call: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
}

impl<'a> Farewell<'a> {
    pub(super) const fn none() -> Self {
        Self { call: None }
    }

    pub(super) const fn closing(&self) -> Closing {
        match self.call {
            None => Closing::Rests,
            Some(_) => Closing::AtWork,
        }
    }

    /// Begins one: whatever the time is, it is polled once.
    pub(super) async fn begin(&mut self, pool: &'a impl Pool, panicked: &mut Panicked) {
        self.end(panicked);
        self.call = panicked
            .catch(Call::CloseIdle, || pool.close_idle())
            .map(|call| Box::pin(call) as _);
        poll_fn(|cx| {
            let _ = self.poll(cx, panicked);
            Poll::Ready(())
        })
        .await;
    }

    /// Whether it has ended just now.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, panicked: &mut Panicked) -> bool {
        let Some(call) = &mut self.call else {
            return false;
        };
        let polled = panicked.catch(Call::CloseIdle, || call.as_mut().poll(cx));
        let ended = polled.is_none_or(|polled| polled.is_ready());
        if ended {
            self.end(panicked);
        }
        ended
    }

    /// Drops it: the pool's code as well.
    pub(super) fn end(&mut self, panicked: &mut Panicked) {
        if let Some(call) = self.call.take() {
            panicked.catch(Call::CloseIdle, || drop(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl Pool for Panics {
        fn drain_began(&self) {
            panic!("on purpose");
        }

        fn stop_lending(&self) {
            panic!("on purpose");
        }

        fn counts(&self) -> Counts {
            panic!("on purpose");
        }
    }

    #[test]
    fn the_first_panic_is_remembered_and_one_of_counts_outweighs_it() {
        let mut panicked = Panicked::default();
        panicked.drain_began(&Panics);
        panicked.stop_lending(&Panics);
        assert_eq!(panicked.0, Some(Call::DrainBegan));
        assert_eq!(panicked.counts(&Panics), Counts::default());
        assert_eq!(panicked.0, Some(Call::Counts));
    }
}
