//! Every interleaving of what threads do with one breaker, as far as loom finds them.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p lameduck-breaker --release --lib`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loom::thread;

use crate::attempt::Attempt;
use crate::breaker::Breaker;
use crate::rules::Rules;
use crate::settings::Settings;
use crate::transition::State;
use crate::window::{Seen, Window};

const GOOD: Seen = Seen {
    failed: false,
    slow: false,
};
const BAD: Seen = Seen {
    failed: true,
    slow: false,
};

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
        // Refused, if the other one has opened it already.
        _ = breaker.acquire().map(Attempt::failure);
        now.fetch_add(5_000, Ordering::Relaxed);
        let probe = breaker.acquire().expect("it was open, and that is over");
        assert!(probe.is_probe());
        probe.success();
        fails.join().expect("no panic");
        assert_eq!(
            breaker.state(),
            State::Closed,
            "the stale one opens nothing"
        );
        assert_eq!(tried.told(), 3, "open, half-open, closed");
        assert_eq!(breaker.counts().failures, 0);
    });
}

/// A window of this many buckets, 10 s long in all, and a thread that counts in it later than it looked at the clock.
fn held_up(window: &Shared, at: u64, now: u64, seen: Seen) -> thread::JoinHandle<()> {
    let (window, rules) = window.clone();
    thread::spawn(move || window.count(at, now, seen, &rules))
}

type Shared = (loom::sync::Arc<Window>, Rules);

fn shared(settings: Settings) -> Shared {
    let rules = settings.rules().expect("they fit");
    (loom::sync::Arc::new(Window::new(&rules)), rules)
}

#[test]
fn threads_that_were_held_up_count_nothing_in_a_bucket_that_is_another_by_then() {
    // Without a bound it takes a minute. Three threads that are not interrupted more often find it all the same.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = shared(Settings::new().buckets(1));
        let (window, rules) = &shared;
        window.count(0, 0, GOOD, rules);
        let late = [(); 2].map(|()| held_up(&shared, 0, 0, GOOD));
        window.count(0, 10_000, GOOD, rules);
        window.count(0, 20_000, GOOD, rules);
        assert_eq!(window.counts(0, 20_000, rules).calls, 1, "not for a moment");
        for late in late {
            late.join().expect("no panic");
        }
        assert_eq!(window.counts(0, 20_000, rules).calls, 1);
        assert_eq!(window.ever().successes, 5);
    });
}

#[test]
fn a_failure_that_was_held_up_is_none_in_a_row_of_a_later_stay() {
    loom::model(|| {
        let shared = shared(Settings::new().buckets(1).failures_in_a_row(9));
        let (window, rules) = &shared;
        window.count(0, 0, BAD, rules);
        let late = held_up(&shared, 0, 0, BAD);
        let at = 20_000;
        window.count(at, at, BAD, rules);
        assert_eq!(window.counts(at, at, rules).in_a_row, 1);
        window.count(at, at, GOOD, rules);
        late.join().expect("no panic");
        let counts = window.counts(at, at, rules);
        assert_eq!((counts.in_a_row, counts.failures, counts.calls), (0, 1, 2));
        assert_eq!(window.ever().failures, 3);
    });
}

#[test]
fn of_two_failures_in_two_buckets_one_sees_both() {
    loom::model(|| {
        let shared = shared(Settings::new().buckets(2));
        let fails = |now| {
            let (window, rules) = shared.clone();
            move || {
                window.count(0, now, BAD, &rules);
                window.counts_after(0, now, &rules)
            }
        };
        let other = thread::spawn(fails(5_000));
        let mine = fails(0)();
        let other = other.join().expect("no panic");
        let most = mine.failures.max(other.failures);
        assert_eq!(most, 2, "{mine:?}, {other:?}");
        assert!([mine, other].iter().all(|one| one.calls >= one.failures));
    });
}

#[test]
fn a_probe_that_comes_back_while_it_is_given_up_does_one_or_the_other() {
    loom::model(|| {
        let tried = Tried::due(Settings::new());
        let probe = tried.breaker.acquire_owned().expect("it probes");
        tried.now.fetch_add(30_000, Ordering::Relaxed);
        let comes = thread::spawn(move || probe.success());
        let next = tried.breaker.acquire_owned().is_ok();
        comes.join().expect("no panic");
        let figures = tried.breaker.figures();
        let state = if next { State::Closed } else { State::Open };
        assert_eq!(tried.breaker.state(), state);
        let (closed, opened) = (figures.closed, figures.opened);
        assert_eq!((closed, opened), if next { (1, 1) } else { (0, 2) });
        assert_eq!(tried.told(), 2);
        assert_eq!(tried.breaker.probes_out(), 0);
    });
}

#[test]
fn a_refusal_takes_no_probe_from_whoever_asks_and_hides_none_that_comes_back() {
    loom::model(|| {
        let tried = Tried::due(Settings::new());
        let other = tried.breaker.clone();
        let probes = thread::spawn(move || other.acquire().map(Attempt::success).is_ok());
        tried.breaker.refuse(State::Open);
        assert!(probes.join().expect("no panic"), "the only one that asked");
        assert_eq!(tried.breaker.state(), State::Closed);
        assert_eq!(tried.told(), 2, "half-open and closed");
        assert_eq!(tried.breaker.figures().rejected, 1);
    });
}

#[test]
fn a_force_that_comes_and_goes_while_a_failure_is_judged_leaves_nothing_behind() {
    loom::model(|| {
        let tried = Tried::new(Settings::new().failures_in_a_row(1));
        let call = tried.breaker.acquire_owned().expect("closed");
        let fails = thread::spawn(move || call.failure());
        assert!(tried.breaker.force_closed("see"));
        assert!(tried.breaker.release("seen"));
        fails.join().expect("no panic");
        let opened = tried.breaker.figures().opened;
        // Not judged at all, if the force was there when it came back.
        let state = [State::Closed, State::Open][usize::from(opened > 0)];
        assert_eq!((tried.breaker.state(), opened.max(1)), (state, 1));
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
