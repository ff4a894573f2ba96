//! Empties a pool on a task: asks the machine of its turn what is next, and does it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

use super::Pool;
use super::calls::{Farewell, Panicked};
use super::turn::{Emptied, Step, Turn};

/// How many of those that are still lent are named.
const MOST_NAMED: usize = 3;

/// Stops the lending, closes what is idle, waits for what is lent, and looks; for so long at most by this clock, and until `end`. A pool
/// that panics is led through all of it.
///
/// # Cancel safety
/// Dropping it leaves the pool between two steps.
pub(crate) async fn empty(
    pool: &impl Pool,
    allowed: Duration,
    clock: impl Fn() -> Duration,
    end: impl Future<Output = ()>,
    mut panicked: Panicked,
) -> Emptied {
    let began = clock();
    let mut turn = Turn::new(allowed);
    let mut farewell = Farewell::none();
    let mut end = pin!(end);
    let mut has_ended = false;
    loop {
        let now = clock().saturating_sub(began);
        if has_ended {
            turn.end(now);
        }
        let counts = panicked.counts(pool);
        match turn.next(now, counts, farewell.closing()) {
            Step::StopLending => panicked.stop_lending(pool),
            Step::CloseIdle => farewell.begin(pool, &mut panicked).await,
            Step::Look { at } => {
                let mut look = pin!(sleep(at.saturating_sub(now)));
                poll_fn(|cx| {
                    if !has_ended {
                        has_ended = end.as_mut().poll(cx).is_ready();
                    }
                    if has_ended || farewell.poll(cx, &mut panicked) {
                        return Poll::Ready(());
                    }
                    look.as_mut().poll(cx)
                })
                .await;
            }
            Step::Over(mut emptied) => {
                farewell.end(&mut panicked);
                emptied.lent = panicked.lent(pool, MOST_NAMED);
                emptied.panicked = panicked.0;
                return emptied;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use tokio::time::Instant;

    use super::*;
    use crate::lending::Counts;
    use crate::lending::calls::Call;

    /// A pool whose connections come back at set times, and which may keep what comes back.
    #[derive(Default)]
    struct Fake {
        state: Mutex<State>,
        /// Closing takes so long.
        closing_takes: Duration,
        /// Closing waits for what is lent as well, as sqlx does.
        closing_waits: bool,
        /// Idle ones are no longer counted when closing begins.
        forgets_first: bool,
        /// Panics in this call.
        panics_in: Option<Call>,
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

        fn called(&self, call: Call) {
            assert_ne!(self.panics_in, Some(call), "on purpose");
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
            self.called(Call::StopLending);
        }

        async fn close_idle(&self) {
            self.with(|state| state.said.push("close"));
            if self.forgets_first {
                self.with(|state| state.idle = 0);
            }
            tokio::time::sleep(self.closing_takes).await;
            self.called(Call::CloseIdle);
            self.with(|state| {
                state.idle = 0;
                state.said.push("closed");
            });
            if self.closing_waits {
                std::future::pending::<()>().await;
            }
        }

        fn counts(&self) -> Counts {
            self.called(Call::Counts);
            self.with(|state| Counts::with_idle(state.idle + state.lent, state.idle))
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// By the clock that these tests hold.
    async fn emptied(fake: &Arc<Fake>, allowed: Duration) -> Emptied {
        let (began, end) = (Instant::now(), std::future::pending());
        empty(fake, allowed, || began.elapsed(), end, Panicked::default()).await
    }

    #[tokio::test(start_paused = true)]
    async fn lending_stops_before_idle_ones_close() {
        let fake = Arc::new(Fake::of(3, 0));
        let emptied = emptied(&fake, SECOND).await;
        assert!(emptied.is_whole(), "{emptied}");
        assert_eq!(fake.said(), ["stop", "close", "closed"]);
        assert_eq!(emptied.first, Counts { open: 3, lent: 0 });
        assert_eq!(emptied.took, Duration::ZERO, "nothing was waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn the_lent_are_waited_for_and_closed_when_they_come_back() {
        let fake = Arc::new(Fake::of(1, 2));
        fake.give_back_after(Duration::from_millis(100));
        fake.give_back_after(Duration::from_millis(300));
        let emptied = emptied(&fake, SECOND).await;
        assert!(emptied.is_whole(), "{emptied}");
        assert_eq!(
            fake.said(),
            [
                "stop", "close", "closed", "close", "closed", "close", "closed"
            ]
        );
        let late = emptied.took.checked_sub(Duration::from_millis(300));
        let late = late.expect("not before the last came back");
        assert!(late <= Duration::from_millis(40), "two looks: {late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_says_closed_with_connections_out_is_not_believed() {
        // Closing ends at once; one is lent and never comes back.
        let fake = Arc::new(Fake::of(0, 1));
        let emptied = emptied(&fake, SECOND).await;
        assert_eq!(emptied.left, Counts { open: 1, lent: 1 });
        assert_eq!(emptied.took, SECOND);
        assert_eq!(fake.said(), ["stop", "close", "closed"], "nothing is idle");
    }

    #[tokio::test(start_paused = true)]
    async fn closing_that_never_ends_does_not_hold_the_budget() {
        let fake = Arc::new(Fake {
            closing_waits: true,
            ..Fake::of(2, 1)
        });
        let emptied = emptied(&fake, SECOND).await;
        assert_eq!(emptied.left, Counts { open: 1, lent: 1 });
        assert_eq!(emptied.took, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn without_time_it_still_stops_and_begins_to_close() {
        let fake = Arc::new(Fake::of(2, 1));
        let emptied = emptied(&fake, Duration::ZERO).await;
        assert_eq!(fake.said(), ["stop", "close", "closed"]);
        assert_eq!(emptied.took, Duration::ZERO);
        assert!(!emptied.is_whole());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_closing_is_waited_for_and_not_called_twice() {
        let fake = Arc::new(Fake {
            closing_takes: Duration::from_millis(400),
            ..Fake::of(2, 0)
        });
        let emptied = emptied(&fake, SECOND).await;
        assert!(emptied.is_whole(), "{emptied}");
        assert_eq!(fake.said(), ["stop", "close", "closed"]);
    }

    #[tokio::test(start_paused = true)]
    async fn farewells_are_said_to_their_end_also_when_nothing_is_counted() {
        let fake = Arc::new(Fake {
            closing_takes: Duration::from_millis(400),
            forgets_first: true,
            ..Fake::of(3, 0)
        });
        let emptied = emptied(&fake, SECOND).await;
        assert!(emptied.is_whole(), "{emptied}");
        assert_eq!(fake.said(), ["stop", "close", "closed"]);
        assert_eq!(emptied.took, Duration::from_millis(400));
    }

    #[tokio::test(start_paused = true)]
    async fn farewells_that_are_cut_short_are_no_end() {
        let fake = Arc::new(Fake {
            closing_takes: 2 * SECOND,
            forgets_first: true,
            ..Fake::of(3, 0)
        });
        let emptied = emptied(&fake, SECOND).await;
        assert!(!emptied.is_whole());
        let why = emptied.to_string();
        assert!(
            why.ends_with("; closing what was idle was cut short"),
            "{why}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_from_outside_ends_it_and_says_what_is_left() {
        let fake = Arc::new(Fake::of(0, 1));
        let (began, end) = (Instant::now(), tokio::time::sleep(SECOND / 4));
        let clock = || began.elapsed();
        let emptied = empty(&fake, SECOND, clock, end, Panicked::default()).await;
        assert_eq!(emptied.took, SECOND / 4);
        assert_eq!(emptied.left, Counts { open: 1, lent: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_one_step_keeps_none_of_the_others_back() {
        for call in [Call::StopLending, Call::CloseIdle, Call::Counts] {
            let fake = Arc::new(Fake {
                closing_takes: Duration::from_millis(1),
                panics_in: Some(call),
                ..Fake::of(0, 0)
            });
            let emptied = emptied(&fake, SECOND).await;
            assert!(!emptied.is_whole());
            let begins = format!("`{call}` panicked; ");
            assert!(emptied.to_string().starts_with(&begins), "{emptied}");
            assert_eq!(fake.said()[..2], ["stop", "close"], "{call}");
        }
    }
}
