//! A pool as participant: told when the drain begins, emptied at its turn, its leak named.

use std::{
    future::{Future, poll_fn},
    panic::Location,
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{Enrol, EnrolError, Lifecycle, Participant, Worker, spawn::watched};
use crate::lending::{BUDGET, Panicked, Pool, empty};

/// The least that is kept of a budget to say what leaked before the budget ends, also on a busy machine; half of it where that is less.
const KEPT: Duration = Duration::from_millis(500);

impl Enrol {
    /// Enrols a pool, and empties it when nothing that depends on it is at work any longer: lending is stopped, what is idle is closed,
    /// what is lent is waited for, and the counts are looked at until they are zero. Dumps list its task.
    ///
    /// Enrol it before what uses it, which then says that it depends on it: a server by `depends_on`, a participant by
    /// [`after`](Self::after). What uses it without saying so finds it closed.
    ///
    /// Its [budget](Self::budget) is [`BUDGET`] where none is given. What is left when the budget is nearly over is a leak: the participant
    /// has failed, the report says how many were lent, since when and to which line as far as that is known, and how many were neither lent
    /// nor closed; the outcome is [`Outcome::Failed`](crate::Outcome::Failed). The shutdown goes on at once. A pool that is empty is an event
    /// in the report, with its figures. A pool that panics in one step is led through the others, and has failed as well.
    ///
    /// To say so in time, the pool is given a quarter less than the budget, or 500 ms less where that is more, but half of it at least.
    ///
    /// The budget is measured on the clock of [`elapsed`](Lifecycle::elapsed), as all budgets are; looks are timed by tokio. Where a test has
    /// paused tokio's clock, looks follow one another without a rest until the budget is over, or the pool empty.
    ///
    /// # Phases
    /// Emptied in `Draining`. If the drain ends before its turn, or the shutdown is cut, the pool stops lending then and begins to close, and
    /// nothing is waited for. The report of a cut is made at once: it names no leak.
    ///
    /// # Errors
    /// [`EnrolError`].
    ///
    /// # Panics
    /// Outside a tokio runtime, and in one without time ([`enable_time`](tokio::runtime::Builder::enable_time)).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lameduck::{Lifecycle, Outcome, Plan, Preset, Window, lending::Gate};
    ///
    /// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
    /// # struct NoPool;
    /// let gate = Gate::new(NoPool);
    /// let db = life.participate("db").drains(gate.clone())?;
    /// let outbox = life.participate("outbox").after(&db).register()?;
    /// # outbox.ready();
    /// life.ready();
    /// # life.running().await;
    ///
    /// life.shutdown("the example is over");
    /// outbox.closing().await;
    /// // The last of what uses the database: it is still lent from.
    /// assert!(gate.lend(async |_pool| Ok::<_, std::io::Error>("a connection")).await.is_ok());
    /// outbox.done();
    /// assert_eq!(life.outcome().await, Outcome::Drained);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn drains(mut self, pool: impl Pool) -> Result<Worker, EnrolError> {
        let runtime = tokio::runtime::Handle::current();
        // Panics without time, now: the first look would, when the service leaves.
        drop(tokio::time::sleep(Duration::ZERO));
        self.budget.get_or_insert(BUDGET);
        let (name, shared) = (self.name.clone(), self.shared.clone());
        let participant = self.register()?;
        // Here, not on the task: should start-up fail in the next line, it is emptied too.
        participant.ready();
        let place = participant.place.clone();
        let stands = Stands {
            life: Lifecycle::new(shared.clone()),
            name: name.clone(),
            budget: participant.budget().unwrap_or(BUDGET),
            participant,
        };
        runtime.spawn(watched(
            &shared,
            name,
            Location::caller(),
            stands.until_empty(pool),
        ));
        Ok(Worker { place, runtime })
    }
}

/// A pool's participant, and what it is to keep to.
struct Stands {
    life: Lifecycle,
    name: String,
    budget: Duration,
    participant: Participant,
}

impl Stands {
    async fn until_empty(self, pool: impl Pool) {
        let participant = &self.participant;
        let drain = self.life.drain();
        first_of(drain.steering(), self.ends()).await;
        participant.ack();
        first_of(
            first_of(drain.closing(), participant.closing()),
            self.ends(),
        )
        .await;
        let mut panicked = Panicked::default();
        panicked.drain_began(&pool);
        let allowed = match first_of(participant.closing(), self.ends()).await {
            First::A => self.allowed(),
            // What is forced to end is not waited for.
            First::B => Duration::ZERO,
        };
        let clock = || self.life.elapsed();
        let emptied = empty(&pool, allowed, clock, self.ends(), panicked).await;
        if emptied.is_whole() {
            self.life.note(format!("{}: {emptied}", self.name));
            self.participant.done();
        } else {
            self.participant.failed(emptied);
        }
    }

    /// Nobody waits any longer: the drain is over, or all of it, as after a cut.
    async fn ends(&self) {
        first_of(self.life.drain().ending(), self.life.shared.over.fired()).await;
    }

    fn allowed(&self) -> Duration {
        let now = self.life.elapsed();
        let drain_end = self.life.drain().drain_end();
        allowed(self.budget, drain_end.map(|end| end.saturating_sub(now)))
    }
}

/// How long a pool may take, so that there is time to say what leaked: by its budget, and by what is left of the drain.
fn allowed(budget: Duration, left: Option<Duration>) -> Duration {
    let left = left.map_or(budget, |left| left.min(budget));
    left.saturating_sub(KEPT.max(left / 4).min(left / 2))
}

enum First {
    A,
    B,
}

async fn first_of<A: Future, B: Future>(a: A, b: B) -> First {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if a.as_mut().poll(cx).is_ready() {
            return Poll::Ready(First::A);
        }
        b.as_mut().poll(cx).map(|_| First::B)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_budget_is_a_quarter_or_half_a_second_and_never_more_than_half() {
        let ms = Duration::from_millis;
        for (budget, expected) in [
            (0, 0),
            (400, 200),
            (1_000, 500),
            (2_000, 1_500),
            (8_000, 6_000),
        ] {
            assert_eq!(allowed(ms(budget), None), ms(expected), "{budget}");
        }
        assert_eq!(allowed(BUDGET, None), ms(3_750));
    }

    #[test]
    fn a_drain_that_ends_first_counts() {
        let (budget, left) = (Duration::from_secs(8), Duration::from_secs(4));
        assert_eq!(allowed(budget, Some(left)), Duration::from_secs(3));
        assert_eq!(allowed(left, Some(budget)), Duration::from_secs(3));
        assert_eq!(allowed(budget, Some(Duration::ZERO)), Duration::ZERO);
    }
}
