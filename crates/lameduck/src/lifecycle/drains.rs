//! A pool as participant: told when the drain begins, emptied at its turn, its leak named.

use std::{
    future::{Future, poll_fn},
    panic::Location,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use super::{Enrol, EnrolError, Lifecycle, Participant, Worker, spawn::watched};
use crate::{
    inflight::Fired,
    lending::{BUDGET, Pool, empty},
};

/// The most that is kept of a budget to say what leaked before the budget ends, also on a busy machine; a quarter of it where that is less.
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
    /// in the report, with its figures.
    ///
    /// # Phases
    /// Emptied in `Draining`. If the drain ends before its turn, the pool stops lending then, and closes what it can.
    ///
    /// # Errors
    /// [`EnrolError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
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
        let budget = *self.budget.get_or_insert(BUDGET);
        let (name, shared) = (self.name.clone(), self.shared.clone());
        let participant = self.register()?;
        // Here, not on the task: should start-up fail in the next line, it is emptied too.
        participant.ready();
        let place = participant.place.clone();
        let stands = Stands {
            life: Lifecycle::new(shared.clone()),
            name: name.clone(),
            budget,
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
        drain.steering().await;
        participant.ack();
        first_of(drain.closing(), participant.closing()).await;
        pool.drain_began();
        let allowed = match first_of(participant.closing(), drain.ending()).await {
            First::A => self.allowed(),
            // What is forced to end is not waited for.
            First::B => Duration::ZERO,
        };
        let emptied = empty(&pool, allowed).await;
        if emptied.is_empty() {
            self.life.note(format!("{}: {emptied}", self.name));
            self.participant.done();
        } else {
            self.participant.failed(emptied);
        }
    }

    /// How long the pool may take, so that there is time to say what leaked.
    fn allowed(&self) -> Duration {
        let now = self.life.elapsed();
        let drain_end = self.life.drain().drain_end();
        let left = drain_end.map_or(self.budget, |end| end.saturating_sub(now).min(self.budget));
        left.saturating_sub(KEPT.min(left / 4))
    }
}

enum First {
    A,
    B,
}

async fn first_of(mut a: Fired, mut b: Fired) -> First {
    poll_fn(|cx| {
        if Pin::new(&mut a).poll(cx).is_ready() {
            return Poll::Ready(First::A);
        }
        Pin::new(&mut b).poll(cx).map(|()| First::B)
    })
    .await
}
