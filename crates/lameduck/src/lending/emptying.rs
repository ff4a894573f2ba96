//! Empties a pool on a task: asks the machine of its turn what is next, and does it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Pool;
use super::turn::{Closing, Emptied, Step, Turn};

/// How many of those that are still lent are named.
const MOST_NAMED: usize = 3;

/// A call to [`Pool::close_idle`] that is at work.
type Call<'a> = Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>;

/// Stops the lending, closes what is idle, waits for what is lent, and looks; for so long at most.
///
/// # Cancel safety
/// Dropping it leaves the pool between two steps.
pub(crate) async fn empty(pool: &impl Pool, allowed: Duration) -> Emptied {
    let began = Instant::now();
    let mut turn = Turn::new(allowed);
    let mut call: Call<'_> = None;
    loop {
        let closing = if call.is_some() {
            Closing::AtWork
        } else {
            Closing::Rests
        };
        match turn.next(began.elapsed(), pool.counts(), closing) {
            Step::StopLending => pool.stop_lending(),
            Step::CloseIdle => {
                call = Some(Box::pin(pool.close_idle()));
                // Whatever the time is, it begins.
                poll_fn(|cx| {
                    let _ = poll_call(&mut call, cx);
                    Poll::Ready(())
                })
                .await;
            }
            Step::Look { at } => {
                let mut look = pin!(sleep_until(began + at));
                poll_fn(|cx| {
                    if poll_call(&mut call, cx) {
                        return Poll::Ready(());
                    }
                    look.as_mut().poll(cx)
                })
                .await;
            }
            Step::Over(mut emptied) => {
                emptied.lent = pool.lent(MOST_NAMED);
                return emptied;
            }
        }
    }
}

/// Whether the call has ended just now.
fn poll_call(call: &mut Call<'_>, cx: &mut std::task::Context<'_>) -> bool {
    let ended = call
        .as_mut()
        .is_some_and(|call| call.as_mut().poll(cx).is_ready());
    if ended {
        *call = None;
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::lending::Counts;

    /// A pool whose connections come back at set times, and which may keep what comes back.
    #[derive(Default)]
    struct Fake {
        state: Mutex<State>,
        /// Closing takes so long.
        closing_takes: Duration,
        /// Closing waits for what is lent as well, as sqlx does.
        closing_waits: bool,
    }

    #[derive(Default)]
    struct State {
        idle: usize,
        lent: usize,
        said: Vec<&'static str>,
    }

    impl Fake {
        fn of(idle: usize, lent: usize) -> Self {
            let fake = Self::default();
            fake.with(|state| (state.idle, state.lent) = (idle, lent));
            fake
        }

        fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
            act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
        }

        fn said(&self) -> Vec<&'static str> {
            self.with(|state| state.said.clone())
        }

        /// Comes back later, and is idle then.
        fn give_back_after(self: &Arc<Self>, after: Duration) {
            let fake = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                fake.with(|state| {
                    state.lent -= 1;
                    state.idle += 1;
                });
            });
        }
    }

    impl Pool for Arc<Fake> {
        fn stop_lending(&self) {
            self.with(|state| state.said.push("stop"));
        }

        async fn close_idle(&self) {
            self.with(|state| state.said.push("close"));
            tokio::time::sleep(self.closing_takes).await;
            self.with(|state| state.idle = 0);
            if self.closing_waits {
                std::future::pending::<()>().await;
            }
        }

        fn counts(&self) -> Counts {
            self.with(|state| Counts::with_idle(state.idle + state.lent, state.idle))
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn lending_stops_before_idle_ones_close() {
        let fake = Arc::new(Fake::of(3, 0));
        let emptied = empty(&fake, SECOND).await;
        assert!(emptied.is_empty(), "{emptied}");
        assert_eq!(fake.said(), ["stop", "close"]);
        assert_eq!(emptied.first, Counts { open: 3, lent: 0 });
        assert_eq!(emptied.took, Duration::ZERO, "nothing was waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn the_lent_are_waited_for_and_closed_when_they_come_back() {
        let fake = Arc::new(Fake::of(1, 2));
        fake.give_back_after(Duration::from_millis(100));
        fake.give_back_after(Duration::from_millis(300));
        let emptied = empty(&fake, SECOND).await;
        assert!(emptied.is_empty(), "{emptied}");
        assert_eq!(fake.said(), ["stop", "close", "close", "close"]);
        let late = emptied.took.checked_sub(Duration::from_millis(300));
        let late = late.expect("not before the last came back");
        assert!(late <= Duration::from_millis(40), "two looks: {late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_says_closed_with_connections_out_is_not_believed() {
        // Closing ends at once; one is lent and never comes back.
        let fake = Arc::new(Fake::of(0, 1));
        let emptied = empty(&fake, SECOND).await;
        assert_eq!(emptied.left, Counts { open: 1, lent: 1 });
        assert_eq!(emptied.took, SECOND);
        assert_eq!(fake.said(), ["stop", "close"], "nothing is idle");
    }

    #[tokio::test(start_paused = true)]
    async fn closing_that_never_ends_does_not_hold_the_budget() {
        let fake = Arc::new(Fake {
            closing_waits: true,
            ..Fake::of(2, 1)
        });
        let emptied = empty(&fake, SECOND).await;
        assert_eq!(emptied.left, Counts { open: 1, lent: 1 });
        assert_eq!(emptied.took, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn without_time_it_still_stops_and_begins_to_close() {
        let fake = Arc::new(Fake::of(2, 1));
        let emptied = empty(&fake, Duration::ZERO).await;
        assert_eq!(fake.said(), ["stop", "close"]);
        assert_eq!(emptied.took, Duration::ZERO);
        assert!(!emptied.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_closing_is_waited_for_and_not_called_twice() {
        let fake = Arc::new(Fake {
            closing_takes: Duration::from_millis(400),
            ..Fake::of(2, 0)
        });
        let emptied = empty(&fake, SECOND).await;
        assert!(emptied.is_empty(), "{emptied}");
        assert_eq!(fake.said(), ["stop", "close"]);
    }
}
