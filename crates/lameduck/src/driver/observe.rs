//! Who is told what happens: each observer on a thread of its own, so that none can delay the driver or another.
//!
//! What happened lately is kept too, for those who come late.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{Shared, thread::PATIENCE};
use crate::{
    machine::Input,
    vocab::{InflightCounts, News, Observed},
};

/// How many observers a lifecycle takes.
const MOST_OBSERVERS: usize = 16;
/// How much may wait for an observer that is slow; more is dropped and counted. As many participants as a lifecycle takes, who are asked, answer, are told
/// to close and end in one go, are not too much.
const MOST_WAITING: usize = 4_096;
/// How long an observer may ask to be waited for: what an `Instant` can always be moved by.
const MOST_PATIENCE: Duration = Duration::from_secs(86_400);

/// Sees what happens to a lifecycle: signals and what was made of them, phases, participants, reloads, the end.
///
/// Register it with [`Start::observe`](crate::Start::observe) or [`Lifecycle::observe`](crate::Lifecycle::observe). It is
/// called on a thread of its own, in order, after the driver has acted: the phase that it is told of is published already.
/// No observer can delay the shutdown (INV-2). One that is slow finds at most 4,096 happenings waiting and is told how many
/// it missed; at the end the driver waits for each as long as its [`patience`](Observer::patience), for all of them at once. One
/// that panics is noted in the report and not called again.
///
/// A closure `FnMut(&Observed)` is an observer.
///
/// # Examples
/// ```
/// use lameduck::{Lifecycle, News, Observed, Plan, Preset, Window};
/// use std::sync::{Arc, Mutex};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let life = Lifecycle::embedded(Plan::preset(Preset::Local).with_window(Window::NONE)?)?;
/// let words = Arc::new(Mutex::new(Vec::new()));
/// let heard = Arc::clone(&words);
/// life.observe("words", move |seen: &Observed| heard.lock().unwrap().push(seen.news.as_str()))?;
/// life.ready();
/// life.shutdown("the example is over");
/// life.wait();
/// assert_eq!(*words.lock().unwrap(), ["phase", "phase", "phase", "phase", "exit"]);
/// # Ok(()) }
/// ```
pub trait Observer: Send {
    /// Something happened.
    fn observe(&mut self, seen: &Observed);

    /// So many happenings were dropped before the next one, or before the end, because this observer was too slow or came too late.
    fn missed(&mut self, count: u64) {
        let _ = count;
    }

    /// Nothing follows: what is still to be written is written now.
    fn finish(&mut self) {}

    /// How long the end of the process may wait until [`finish`](Observer::finish) has returned: 100 ms, unless an observer that has to
    /// reach another machine says otherwise. Asked once, when the observer is registered.
    ///
    /// It comes out of the reserve, after the stop hooks, and never goes past the deadline; a cut, a death by SIGQUIT and a driver that
    /// panics wait 100 ms at most.
    fn patience(&self) -> Duration {
        PATIENCE
    }
}

impl<F: FnMut(&Observed) + Send> Observer for F {
    fn observe(&mut self, seen: &Observed) {
        self(seen);
    }
}

/// What happened lately.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recent {
    /// In order, at most 128 signals, phases, reloads, stragglers and ends, and 128 of everything else.
    pub happened: Vec<Arc<Observed>>,
    /// How many older ones are no longer kept.
    pub forgotten: u64,
}

/// The last of one kind.
#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Arc<Observed>>,
    forgotten: u64,
}

impl Ring {
    const ROOM: usize = 128;

    fn push(&mut self, seen: Arc<Observed>) {
        if self.kept.len() == Self::ROOM {
            self.kept.pop_front();
            self.forgotten += 1;
        }
        self.kept.push_back(seen);
    }
}

/// The way to one observer.
#[derive(Debug)]
struct Feed {
    queue: SyncSender<Arc<Observed>>,
    missed: Arc<AtomicU64>,
    waited_for: WaitedFor,
}

/// An observer at the end.
#[derive(Debug)]
struct WaitedFor {
    patience: Duration,
    /// Disconnected once it has finished.
    finished: Receiver<()>,
}

impl WaitedFor {
    fn has_finished(&self) -> bool {
        self.finished.try_recv() != Err(mpsc::TryRecvError::Empty)
    }
}

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    /// Participants do not drive out what is about the whole.
    whole: Ring,
    rest: Ring,
    feeds: Vec<Feed>,
    dropped: u64,
    over: bool,
}

impl Inner {
    fn has_room(&self) -> io::Result<()> {
        if self.feeds.len() < MOST_OBSERVERS {
            return Ok(());
        }
        let why = format!("a lifecycle takes {MOST_OBSERVERS} observers, this is one more");
        Err(io::Error::other(why))
    }

    fn recent(&self) -> Recent {
        let mut happened: Vec<_> = self.whole.kept.iter().chain(&self.rest.kept).collect();
        happened.sort_unstable_by_key(|seen| seen.number);
        Recent {
            happened: happened.into_iter().cloned().collect(),
            forgotten: self.whole.forgotten + self.rest.forgotten,
        }
    }

    /// Gives it to every observer; one that is gone is forgotten.
    fn feed(&mut self, seen: &Arc<Observed>) {
        let dropped = &mut self.dropped;
        self.feeds
            .retain(|feed| match feed.queue.try_send(Arc::clone(seen)) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    // Relaxed: a figure; the queue orders it roughly, and the end exactly.
                    feed.missed.fetch_add(1, Ordering::Relaxed);
                    *dropped += 1;
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            });
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Observers {
    inner: Mutex<Inner>,
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers")
            .field("feeds", &self.lock().feeds.len())
            .finish_non_exhaustive()
    }
}

impl Observers {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happened; its number and its time by the system's clock are given here.
    pub(super) fn tell(&self, at: Duration, inflight: InflightCounts, news: News) {
        let mut inner = self.lock();
        if inner.over {
            return;
        }
        inner.number += 1;
        let seen = Observed::new(inner.number, at, SystemTime::now(), inflight, news);
        let seen = Arc::new(seen);
        inner.feed(&seen);
        if seen.news.is_of_the_whole() {
            inner.whole.push(seen);
        } else {
            inner.rest.push(seen);
        }
    }

    pub(super) fn recent(&self) -> Recent {
        self.lock().recent()
    }

    /// How many happenings some observer did not get.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Begins to tell an observer: first what happened lately, then what happens.
    pub(super) fn add(
        &self,
        shared: Weak<Shared>,
        name: String,
        observer: Box<dyn Observer>,
    ) -> io::Result<()> {
        self.lock().has_room()?;
        let (queue, waiting) = mpsc::sync_channel(MOST_WAITING);
        let (finishing, finished) = mpsc::sync_channel(0);
        let missed = Arc::new(AtomicU64::new(0));
        let patience = observer.patience();
        let telling = Telling {
            shared,
            name,
            observer,
            missed: Arc::clone(&missed),
            heard: 0,
            told_missed: 0,
        };
        // Outside the lock, which the driver takes.
        thread::Builder::new()
            .name("lameduck-tell".to_owned())
            .spawn(move || telling.run(&waiting, finishing))?;
        let mut inner = self.lock();
        // Others may have come meanwhile.
        inner.has_room()?;
        let recent = inner.recent();
        missed.store(recent.forgotten, Ordering::Relaxed);
        for seen in recent.happened {
            // At most 256 into an empty queue of 1,024.
            let _ = queue.try_send(seen);
        }
        if !inner.over {
            inner.feeds.push(Feed {
                queue,
                missed,
                waited_for: WaitedFor { patience, finished },
            });
        }
        Ok(())
    }

    /// Nothing follows; returns whom to wait for.
    pub(super) fn finish(&self) -> Finishing {
        let mut inner = self.lock();
        inner.over = true;
        Finishing {
            began: Instant::now(),
            // Their queues end here.
            waited_for: inner.feeds.drain(..).map(|feed| feed.waited_for).collect(),
        }
    }
}

/// Observers that see their last happenings.
#[must_use = "what nobody waits for may be cut off by the exit"]
pub(super) struct Finishing {
    began: Instant,
    waited_for: Vec<WaitedFor>,
}

impl Finishing {
    /// Whether there is anybody.
    pub(super) fn are_any(&self) -> bool {
        !self.waited_for.is_empty()
    }

    /// Until when those that have not finished want to be waited for; `None` once all have.
    pub(super) fn until(&mut self) -> Option<Instant> {
        self.waited_for.retain(|one| !one.has_finished());
        let longest = self.waited_for.iter().map(|one| one.patience).max()?;
        // A patience without end ends with the deadline, which whoever waits keeps.
        Some(self.began + longest.min(MOST_PATIENCE))
    }

    /// Waits for all of them, at most until `deadline`; returns how many had not finished by then.
    pub(super) fn wait(self, deadline: Instant) -> usize {
        self.waited_for
            .into_iter()
            .filter(|one| {
                let left = deadline.saturating_duration_since(Instant::now());
                one.finished.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout)
            })
            .count()
    }
}

/// The thread of one observer.
struct Telling {
    shared: Weak<Shared>,
    name: String,
    observer: Box<dyn Observer>,
    /// How many it will not have heard in all; exact once its queue has ended.
    missed: Arc<AtomicU64>,
    /// The number of the last one that it heard.
    heard: u64,
    /// How many it was told that it missed.
    told_missed: u64,
}

impl Telling {
    fn run(mut self, waiting: &Receiver<Arc<Observed>>, finishing: SyncSender<()>) {
        let shared = Weak::clone(&self.shared);
        self.hear(waiting);
        drop(self);
        drop(finishing);
        // The driver may be waiting for it.
        if let Some(shared) = shared.upgrade() {
            shared.commands().ring();
        }
    }

    fn hear(&mut self, waiting: &Receiver<Arc<Observed>>) {
        for seen in waiting {
            // Numbers are given without a gap.
            let missed = seen.number - self.heard - 1;
            self.heard = seen.number;
            if !self.call(missed, |observer| observer.observe(&seen)) {
                return;
            }
        }
        let missed = self.missed.load(Ordering::Relaxed);
        self.call(missed.saturating_sub(self.told_missed), |observer| {
            observer.finish();
        });
    }

    /// Calls the observer, after it was told how many it missed; says whether it may be called again.
    fn call(&mut self, missed: u64, call: impl FnOnce(&mut dyn Observer)) -> bool {
        self.told_missed += missed;
        let observer = &mut *self.observer;
        let called = catch_unwind(AssertUnwindSafe(|| {
            if missed > 0 {
                observer.missed(missed);
            }
            call(observer);
        }));
        if called.is_err()
            && let Some(shared) = self.shared.upgrade()
        {
            let what = format!("observer {} panicked and is not called again", self.name);
            shared.say(&format!("lameduck: {what}"));
            shared.send(Input::Note(what));
        }
        called.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(what: &str) -> News {
        News::Noted {
            what: what.to_owned(),
        }
    }

    fn tell(observers: &Observers, news: News) {
        observers.tell(Duration::ZERO, InflightCounts::default(), news);
    }

    #[test]
    fn inv_11_what_is_kept_is_bounded_and_notes_drive_out_no_reload() {
        let observers = Observers::default();
        let reloaded = News::Reloaded {
            name: "tls".to_owned(),
            result: Ok(()),
        };
        tell(&observers, reloaded.clone());
        for number in 0..1_000 {
            tell(&observers, note(&number.to_string()));
        }
        let recent = observers.recent();
        assert_eq!(recent.happened.len(), 1 + Ring::ROOM);
        assert_eq!(recent.forgotten, 1_000 - Ring::ROOM as u64);
        assert_eq!(recent.happened[0].news, reloaded);
        assert_eq!(recent.happened[Ring::ROOM].number, 1_001);
    }

    /// Counts, and stands still until it is let go.
    struct Slow {
        go: Receiver<()>,
        counted: Arc<AtomicU64>,
        missed: Arc<AtomicU64>,
    }

    impl Observer for Slow {
        fn observe(&mut self, _: &Observed) {
            // An error: the test has let go.
            let _ = self.go.recv();
            self.counted.fetch_add(1, Ordering::SeqCst);
        }

        fn missed(&mut self, count: u64) {
            self.missed.fetch_add(count, Ordering::SeqCst);
        }
    }

    #[test]
    fn inv_2_an_observer_that_stands_still_delays_nobody_and_is_told_what_it_missed() {
        let observers = Observers::default();
        let (hold, go) = mpsc::channel();
        let counted = Arc::new(AtomicU64::new(0));
        let missed = Arc::new(AtomicU64::new(0));
        let slow = Slow {
            go,
            counted: Arc::clone(&counted),
            missed: Arc::clone(&missed),
        };
        observers
            .add(Weak::new(), "slow".to_owned(), Box::new(slow))
            .expect("a thread");
        let told = 3 * MOST_WAITING as u64;
        for _ in 0..told {
            tell(&observers, note("again"));
        }
        assert!(observers.dropped() > 0);
        let dropped = observers.dropped();
        let finishing = observers.finish();
        drop(hold);
        assert_eq!(finishing.wait(Instant::now() + Duration::from_secs(30)), 0);
        assert_eq!(missed.load(Ordering::SeqCst), dropped);
        assert_eq!(counted.load(Ordering::SeqCst) + dropped, told);
    }

    #[test]
    fn who_comes_late_hears_what_happened_before() {
        let observers = Observers::default();
        tell(&observers, note("before"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&heard);
        let hear = move |seen: &Observed| hearing.lock().expect("not poisoned").push(seen.number);
        observers
            .add(Weak::new(), "late".to_owned(), Box::new(hear))
            .expect("a thread");
        tell(&observers, note("after"));
        let finishing = observers.finish();
        tell(&observers, note("too late"));
        assert_eq!(finishing.wait(Instant::now() + Duration::from_secs(30)), 0);
        assert_eq!(*heard.lock().expect("not poisoned"), [1, 2]);
    }
}
