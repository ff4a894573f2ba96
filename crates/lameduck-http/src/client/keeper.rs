//! The client as a participant: what each phase means for its connections, and the assertion at the end that none is left.

use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use lameduck::{Lifecycle, Participant};
use tokio::time::{Instant, sleep_until};

use super::pool::machine::Season;
use super::pool::{Open, Pool};

/// What is kept of the budget to see sockets close that were cut.
const LAST: Duration = Duration::from_millis(250);

/// How many connections a report names; the others are counted.
const MOST_NAMED: usize = 8;

pub(super) struct Keeper {
    pub(super) pool: Arc<Pool>,
    pub(super) life: Lifecycle,
    pub(super) name: String,
    pub(super) budget: Duration,
}

/// What was open when nothing should have been.
type Leaked = Arc<Mutex<Vec<Open>>>;

impl Keeper {
    pub(super) fn start(self, participant: Participant) {
        let leaked = Leaked::default();
        let (pool, found) = (Arc::clone(&self.pool), Arc::clone(&leaked));
        participant.on_stop(move || assert_closed(&pool, &found));
        let runtime = self.pool.runtime.clone();
        // What is due is done for as long as anything is open, whatever the phase.
        let keeping = Arc::clone(&self.pool);
        let kept = runtime.spawn(async move { keeping.keep().await });
        runtime.spawn(async move { self.follow(participant, kept, leaked).await });
    }

    async fn follow(
        self,
        participant: Participant,
        kept: tokio::task::JoinHandle<()>,
        leaked: Leaked,
    ) {
        participant.ready();
        let drain = self.life.drain();
        let phases = async {
            drain.steering().await;
            participant.ack();
            self.pool.turn_to(Season::Leaving);
            drain.closing().await;
            self.pool.turn_to(Season::Draining);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = phases => {}
            // Nobody who declared to use it is at work.
            () = participant.closing() => {}
            // Nor will they be for long.
            () = drain.ending() => {}
        }
        self.pool.turn_to(Season::Over);
        let until = Instant::now() + self.budget.saturating_sub(LAST.min(self.budget / 2));
        let mut kept = pin!(kept);
        let is_closed = tokio::select! {
            biased;
            _ = &mut kept => true,
            () = sleep_until(until) => false,
            () = drain.ending() => false,
        };
        if !is_closed {
            self.cut(&leaked);
            // Sockets that were cut close as soon as their tasks run.
            let _ = tokio::time::timeout(LAST, kept).await;
        }
        participant.done();
    }

    fn cut(&self, leaked: &Leaked) {
        let open = self.pool.open();
        for one in open.iter().take(MOST_NAMED) {
            let name = &self.name;
            self.life
                .note(format!("{name} still had a connection: {one}"));
        }
        *leaked.lock().unwrap_or_else(PoisonError::into_inner) = open;
        self.pool.cut();
    }
}

/// The stop hook: nothing is open, and nothing had to be cut.
fn assert_closed(pool: &Pool, leaked: &Leaked) -> Result<(), String> {
    // A service that ends without a drain gets here first.
    pool.turn_to(Season::Over);
    let mut leaked = std::mem::take(&mut *leaked.lock().unwrap_or_else(PoisonError::into_inner));
    if leaked.is_empty() {
        leaked = pool.open();
    }
    pool.cut();
    if leaked.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = leaked
        .iter()
        .take(MOST_NAMED)
        .map(Open::to_string)
        .collect();
    let count = leaked.len();
    Err(format!(
        "{count} connections were still open: {}",
        named.join("; ")
    ))
}
