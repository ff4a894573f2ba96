//! Every interleaving of what threads do with one breaker, as far as loom finds them.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p lameduck-breaker --release --lib`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loom::thread;

use crate::attempt::Attempt;
use crate::breaker::Breaker;
use crate::settings::Settings;
use crate::transition::State;
use crate::window::{Seen, Window};

/// A breaker, its clock, and how often it told of a transition. Neither of the last two is loom's: between two accesses of the breaker they do
/// not change what is possible.
#[derive(Clone)]
struct Tried {
    breaker: Breaker,
    now: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
}

impl Tried {
    fn new(settings: Settings) -> Self {
        let (now, told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (reads, counts) = (Arc::clone(&now), Arc::clone(&told));
        let settings = settings
            .buckets(1)
            .jitter(0.0)
            .growing(1, Duration::ZERO)
            .clock(move || Duration::from_millis(reads.load(Ordering::Relaxed)))
            .on_transition(move |_| _ = counts.fetch_add(1, Ordering::Relaxed));
        Self {
            breaker: Breaker::new("tried", settings).expect("settings that fit"),
            now,
            told,
        }
    }

    /// Open, and it is time to probe.
    fn due(settings: Settings) -> Self {
        let tried = Self::new(settings.failures_in_a_row(1));
        tried.breaker.acquire().expect("closed").failure();
        assert_eq!(tried.breaker.state(), State::Open);
        tried.told.store(0, Ordering::Relaxed);
        tried.later();
        tried
    }

    fn later(&self) {
        self.now.fetch_add(5_000, Ordering::Relaxed);
    }

    fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }
}

/// What so many threads get that ask at the same time, this one among them; nobody has reported by the end.
fn asked_by(threads: usize, tried: &Tried) -> Vec<Attempt> {
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let breaker = tried.breaker.clone();
            thread::spawn(move || breaker.acquire_owned().ok())
        })
        .collect();
    let mut got: Vec<_> = tried.breaker.acquire_owned().into_iter().collect();
    for other in others {
        got.extend(other.join().expect("no panic"));
    }
    got
}

#[test]
fn of_two_that_ask_one_probes() {
    loom::model(|| {
        let tried = Tried::due(Settings::new());
        let got = asked_by(2, &tried);
        assert_eq!(got.len(), 1);
        assert!(got[0].is_probe());
        assert_eq!(tried.told(), 1);
    });
}

#[test]
fn of_three_that_ask_two_probe_where_two_may() {
    loom::model(|| {
        let tried = Tried::due(Settings::new().probes(2, 2));
        let got = asked_by(3, &tried);
        assert_eq!(got.len(), 2);
        assert_eq!(tried.breaker.probes_out(), 2);
        assert_eq!(tried.told(), 1);
    });
}

#[test]
fn a_probe_that_is_cancelled_is_not_lost_and_not_given_twice() {
    loom::model(|| {
        let tried = Tried::due(Settings::new());
        let probe = tried.breaker.acquire_owned().expect("it probes");
        let cancels = thread::spawn(move || drop(probe));
        let got = asked_by(2, &tried);
        assert!(got.len() <= 1);
        cancels.join().expect("no panic");
        assert_eq!(tried.breaker.probes_out() as usize, got.len());
        drop(got);
        let next = tried.breaker.acquire().expect("every probe came back");
        next.success();
        assert_eq!(tried.breaker.state(), State::Closed);
        assert_eq!(tried.told(), 2, "half-open and closed");
    });
}

#[test]
fn two_failures_at_once_are_two_and_open_it_once() {
    loom::model(|| {
        let tried = Tried::new(Settings::new().minimum_calls(2).failure_rate(1.0));
        let other = tried.breaker.clone();
        let fails = thread::spawn(move || other.acquire().map(Attempt::failure).is_ok());
        let mine = tried.breaker.acquire().map(Attempt::failure).is_ok();
        assert!(mine && fails.join().expect("no panic"), "one is not enough");
        assert_eq!(tried.breaker.state(), State::Open);
        assert_eq!(tried.breaker.figures().opened, 1);
        assert_eq!(tried.told(), 1);
    });
}

#[test]
fn the_last_two_probes_close_it_once() {
    loom::model(|| {
        let tried = Tried::due(Settings::new().probes(2, 2));
        let [first, second] = [(); 2].map(|()| tried.breaker.acquire_owned().expect("a probe"));
        let succeeds = thread::spawn(move || first.success());
        second.success();
        succeeds.join().expect("no panic");
        assert_eq!(tried.breaker.state(), State::Closed);
        assert_eq!(tried.breaker.figures().closed, 1);
        assert_eq!(tried.told(), 2, "half-open and closed");
    });
}

#[test]
fn a_good_and_a_bad_probe_turn_it_once() {
    loom::model(|| {
        let tried = Tried::due(Settings::new().probes(2, 1));
        let [first, second] = [(); 2].map(|()| tried.breaker.acquire_owned().expect("a probe"));
        let fails = thread::spawn(move || first.failure());
        second.success();
        fails.join().expect("no panic");
        // One of two is enough, whichever comes first.
        assert_eq!(tried.breaker.state(), State::Closed);
        assert_eq!(tried.told(), 2, "half-open and closed");
        assert_eq!(tried.breaker.counts().failures, 0);
    });
}

#[test]
fn a_failure_of_an_earlier_stay_is_never_counted_in_the_present_one() {
    loom::model(|| {
        let tried = Tried::new(Settings::new().minimum_calls(1));
        let stale = tried.breaker.acquire_owned().expect("closed");
        let now = Arc::clone(&tried.now);
        let fails = thread::spawn(move || stale.failure());
        let breaker = &tried.breaker;
        // It may open because of the other one, too.
        let mine = breaker.acquire().map(Attempt::failure);
        now.fetch_add(5_000, Ordering::Relaxed);
        if let Ok(probe) = breaker.acquire() {
            probe.success();
        }
        fails.join().expect("no panic");
        let is_closed = breaker.state() == State::Closed;
        assert!(is_closed || mine.is_err() || tried.told() > 0);
        if is_closed {
            assert_eq!(breaker.counts().failures, 0);
        }
    });
}

#[test]
fn a_thread_that_was_held_up_counts_nothing_in_a_bucket_that_is_another_by_then() {
    loom::model(|| {
        let rules = Settings::new().buckets(1).rules().expect("they fit");
        let window = loom::sync::Arc::new(Window::new(&rules));
        let good = Seen {
            failed: false,
            slow: false,
        };
        window.count(0, 0, good, &rules);
        let late = {
            let (window, rules) = (loom::sync::Arc::clone(&window), rules.clone());
            // It has looked at the clock long ago.
            thread::spawn(move || window.count(0, 0, good, &rules))
        };
        window.count(0, 20_000, good, &rules);
        late.join().expect("no panic");
        assert_eq!(window.counts(0, 20_000, &rules).calls, 1);
        assert_eq!(window.ever().calls, 3);
    });
}

#[test]
fn what_an_operator_says_is_not_lost_when_a_probe_comes_back() {
    loom::model(|| {
        let tried = Tried::due(Settings::new());
        let probe = tried.breaker.acquire_owned().expect("it probes");
        let comes = thread::spawn(move || probe.success());
        assert!(tried.breaker.force_open("see"));
        comes.join().expect("no panic");
        assert_eq!(tried.breaker.state(), State::ForcedOpen);
        assert!(tried.breaker.release("seen"));
        assert_eq!(tried.breaker.state(), State::Closed);
    });
}

#[test]
fn calls_are_neither_lost_nor_doubled_where_a_bucket_is_replaced() {
    loom::model(|| {
        let tried = Tried::new(Settings::new().minimum_calls(100));
        tried.breaker.acquire().expect("closed").success();
        // The window is over: both find its only bucket to be of an earlier time.
        tried.later();
        tried.later();
        let other = tried.breaker.clone();
        let calls = thread::spawn(move || other.acquire().map(Attempt::failure).is_ok());
        tried.breaker.acquire().expect("closed").success();
        assert!(calls.join().expect("no panic"));
        let counts = tried.breaker.counts();
        assert_eq!((counts.calls, counts.failures), (2, 1));
        let figures = tried.breaker.figures();
        assert_eq!((figures.calls, figures.failures), (3, 1));
    });
}
