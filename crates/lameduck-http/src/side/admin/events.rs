//! The status as an event stream: one sampler for all who watch, and a stream for each.
//!
//! Owns the rhythm: once a second while running; at most ten times a second while leaving, and there only what is news, but once a second at
//! least. A watcher that reads slowly misses statuses, delays none, and keeps no more than one. At the end each gets a last event and a
//! `retry`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lameduck::{Begun, Epilogue, Lifecycle, Phase, Status};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, interval, sleep};

use super::breakers::with_breakers;
use crate::side::role::Held;

/// How many may watch at the same time.
pub(super) const WATCHERS: usize = 32;
const RUNNING: Duration = Duration::from_secs(1);
const LEAVING: Duration = Duration::from_millis(100);
/// A status looks at every connection. So many times as long as that took nothing is looked at: at most a twentieth of a core goes into it.
const REST: u32 = 20;
/// After so long without having taken anything a watcher is given up.
const STALLED: Duration = Duration::from_secs(10);
/// How long a browser waits before it looks for the next process, in milliseconds.
const RETRY: &[u8] = b"retry: 2000\n";

/// What all watchers share.
pub(super) struct Feed {
    life: Lifecycle,
    places: Arc<Semaphore>,
    latest: watch::Sender<Latest>,
    /// Rings when there is somebody to sample for.
    wanted: Notify,
}

/// The last status, as an event.
#[derive(Clone, Default)]
struct Latest {
    number: u64,
    event: Bytes,
}

impl Feed {
    pub(super) fn new(life: Lifecycle) -> Arc<Self> {
        Arc::new(Self {
            life,
            places: Arc::new(Semaphore::new(WATCHERS)),
            latest: watch::Sender::default(),
            wanted: Notify::new(),
        })
    }

    /// A stream for one more watcher; none if there are too many.
    pub(super) fn watch(self: &Arc<Self>) -> Option<(Watching, Events)> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let epilogue = self.life.epilogue();
        let taken = Arc::new(AtomicU64::new(0));
        let events = Events {
            life: self.life.clone(),
            begun: epilogue.begun(),
            latest: self.latest.subscribe(),
            taken: Arc::clone(&taken),
            step: Step::First,
        };
        self.wanted.notify_one();
        let watching = Watching {
            taken,
            feed: Arc::clone(self),
            _place: place,
            _epilogue: epilogue,
        };
        Some((watching, events))
    }

    fn publish(&self, status: &Status) {
        self.latest.send_modify(|latest| {
            latest.number += 1;
            latest.event = event("status", &self.life, status);
        });
    }

    /// Samples as long as the service lives, while somebody watches.
    pub(super) async fn sample(self: Arc<Self>) {
        let mut last: Option<(Instant, Status)> = None;
        loop {
            if self.places.available_permits() == WATCHERS {
                last = None;
                self.wanted.notified().await;
                continue;
            }
            let began = Instant::now();
            let status = self.life.status();
            let rest = began.elapsed() * REST;
            let phase = status.phase();
            let is_due = last
                .as_ref()
                .is_none_or(|(at, before)| at.elapsed() >= RUNNING || status.is_news_after(before));
            if is_due {
                self.publish(&status);
                last = Some((Instant::now(), status));
            }
            sleep(rest).await;
            self.next(phase).await;
        }
    }

    /// Waits for the next sample: its time, or another phase.
    async fn next(&self, phase: Phase) {
        let drain = self.life.drain();
        match phase {
            Phase::Initializing => tokio::select! {
                () = sleep(RUNNING) => {}
                _ = self.life.running() => {}
                () = drain.steering() => {}
            },
            Phase::Running => tokio::select! {
                () = sleep(RUNNING) => {}
                () = drain.steering() => {}
            },
            _ => sleep(LEAVING).await,
        }
    }
}

/// A status as an event; its JSON is one line.
fn event(name: &str, life: &Lifecycle, status: &Status) -> Bytes {
    format!("event: {name}\ndata: {}\n\n", with_breakers(life, status)).into()
}

/// What a watcher's connection holds until all was sent: its place, and the service's patience at the end.
pub(super) struct Watching {
    taken: Arc<AtomicU64>,
    feed: Arc<Feed>,
    _place: OwnedSemaphorePermit,
    _epilogue: Epilogue,
}

impl Held for Watching {
    fn stalled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.gone_quiet())
    }
}

impl Watching {
    /// Waits until the watcher has taken nothing for too long although there was something.
    async fn gone_quiet(&self) {
        let mut ticks = interval(STALLED / 2);
        let mut before = None;
        let mut quiet = 0;
        while quiet < 2 {
            ticks.tick().await;
            // Relaxed: a figure that is looked at every few seconds.
            let taken = self.taken.load(Ordering::Relaxed);
            let is_behind = self.feed.latest.borrow().number > taken + 1;
            quiet = if is_behind && before == Some(taken) {
                quiet + 1
            } else {
                0
            };
            before = Some(taken);
        }
    }
}

/// How far a stream came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    First,
    Following,
    Ended,
}

/// The events of one watcher.
pub(super) struct Events {
    life: Lifecycle,
    begun: Begun,
    latest: watch::Receiver<Latest>,
    taken: Arc<AtomicU64>,
    step: Step,
}

impl Events {
    /// The next event; `None` after the last.
    ///
    /// # Cancel safety
    /// Cancel safe: an event that was not given is given by the next call.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        match self.step {
            Step::Ended => None,
            Step::First => {
                self.step = Step::Following;
                self.take();
                let first = event("status", &self.life, &self.life.status());
                Some([RETRY, &first].concat().into())
            }
            Step::Following => {
                tokio::select! {
                    biased;
                    _ = &mut self.begun => {
                        self.step = Step::Ended;
                        let last = event("end", &self.life, &self.life.status());
                        Some([RETRY, &last].concat().into())
                    }
                    // The sender lives in the listener, which may be gone a moment before this task.
                    changed = self.latest.changed() => match changed {
                        Ok(()) => Some(self.take()),
                        Err(_) => None,
                    },
                }
            }
        }
    }

    fn take(&mut self) -> Bytes {
        let latest = self.latest.borrow_and_update().clone();
        // Relaxed: see `stalled`.
        self.taken.store(latest.number, Ordering::Relaxed);
        latest.event
    }
}

#[cfg(test)]
mod tests {
    use lameduck::{Plan, Preset};

    use super::*;

    fn life() -> Lifecycle {
        Lifecycle::embedded(Plan::preset(Preset::Local)).expect("a lifecycle")
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_service_is_told_of_once_a_second_and_nobody_samples_for_nobody() {
        let life = life();
        life.ready();
        assert!(life.running().await);
        let feed = Feed::new(life);
        let sampling = tokio::spawn(Arc::clone(&feed).sample());
        sleep(Duration::from_secs(60)).await;
        assert_eq!(feed.latest.borrow().number, 0, "nobody watches");
        let (watching, mut events) = feed.watch().expect("a place");
        let first = events.next().await.expect("a status");
        assert!(first.starts_with(b"retry: 2000\nevent: status\ndata: {"));
        let began = Instant::now();
        for _ in 0..20 {
            let event = events.next().await.expect("a status");
            assert!(event.starts_with(b"event: status\n"), "{event:?}");
        }
        let took = began.elapsed();
        assert!((18..=21).contains(&took.as_secs()), "{took:?}");
        drop((watching, events));
        sleep(Duration::from_secs(2)).await;
        let last = feed.latest.borrow().number;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(feed.latest.borrow().number, last, "nobody watches any more");
        sampling.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_nothing_for_ten_seconds_is_given_up() {
        let feed = Feed::new(life());
        let sampling = tokio::spawn(Arc::clone(&feed).sample());
        let (watching, mut events) = feed.watch().expect("a place");
        let began = Instant::now();
        let reads = async {
            for _ in 0..30 {
                events.next().await.expect("a status");
            }
        };
        tokio::select! {
            () = watching.stalled() => panic!("it read all the time"),
            () = reads => {}
        }
        assert!(began.elapsed() >= Duration::from_secs(25));
        let began = Instant::now();
        watching.stalled().await;
        let took = began.elapsed();
        assert!((STALLED..2 * STALLED).contains(&took), "{took:?}");
        sampling.abort();
    }
}
