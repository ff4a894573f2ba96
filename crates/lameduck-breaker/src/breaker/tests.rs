//! Threads, observers, excuses, panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, mpsc};

use super::*;

fn breaker(settings: Settings) -> Breaker {
    Breaker::new("tested", settings).expect("settings that fit")
}

#[test]
fn a_crowd_opens_it_once_and_its_observer_is_told_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let settings = Settings::new()
        .minimum_calls(100)
        // It stands still: nobody probes, however long this takes.
        .clock(|| Duration::ZERO)
        .on_transition(move |one| hears.lock().expect("not poisoned").push(one.clone()));
    let breaker = breaker(settings);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Ok(attempt) = breaker.acquire() {
                    attempt.failure();
                }
            });
        }
    });
    let told = told.lock().expect("not poisoned");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].from, told[0].to), (State::Closed, State::Open));
    let Why::FailureRate(counts) = &told[0].why else {
        panic!("{told:?}");
    };
    assert!(counts.calls >= 100 && counts.failures <= counts.calls);
    assert_eq!(breaker.figures().opened, 1);
    assert_eq!(breaker.figures().rejected, 4);
    let said = told[0].to_string();
    assert!(
        said.starts_with("breaker tested: closed to open: "),
        "{said}"
    );
}

#[test]
fn no_call_is_lost_from_the_figures_while_buckets_are_replaced() {
    let settings = Settings::new()
        .window(Duration::from_millis(10))
        .minimum_calls(1_000_000);
    let breaker = breaker(settings);
    const CALLS: u64 = 50_000;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers = [true, false].map(|succeeds| {
            let breaker = &breaker;
            scope.spawn(move || {
                for _ in 0..CALLS {
                    let attempt = breaker.acquire().expect("closed");
                    let verdicts = [Verdict::Failure, Verdict::Success];
                    attempt.report(verdicts[usize::from(succeeds)]);
                }
            })
        });
        scope.spawn(|| {
            let mut before = Figures::default();
            while !stop.load(Ordering::Relaxed) {
                let now = breaker.figures();
                assert_eq!(now.calls, now.successes + now.failures);
                let goes_on = now.successes >= before.successes && now.failures >= before.failures;
                assert!(goes_on, "a counter went back: {before:?}, {now:?}");
                before = now;
            }
        });
        for worker in workers {
            worker.join().expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let figures = breaker.figures();
    assert_eq!((figures.calls, figures.failures), (2 * CALLS, CALLS));
}

#[test]
fn a_failure_that_is_excused_counts_as_nothing_and_gives_its_probe_back() {
    let leaving = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&leaving);
    let now = Arc::new(AtomicU64::new(0));
    let reads = Arc::clone(&now);
    let settings = Settings::new()
        .failures_in_a_row(1)
        .slow_calls(Duration::from_secs(1), 1.0)
        .jitter(0.0)
        .clock(move || Duration::from_millis(reads.load(Ordering::Relaxed)))
        .ignore_when(move || asks.load(Ordering::Relaxed));
    let breaker = breaker(settings);
    leaving.store(true, Ordering::Relaxed);
    breaker.acquire().expect("closed").failure();
    assert_eq!(breaker.state(), State::Closed);
    leaving.store(false, Ordering::Relaxed);
    breaker.acquire().expect("closed").failure();
    assert_eq!(breaker.state(), State::Open);
    now.fetch_add(5_000, Ordering::Relaxed);
    let probe = breaker.acquire().expect("it probes");
    assert!(probe.is_probe());
    leaving.store(true, Ordering::Relaxed);
    probe.failure();
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(breaker.probes_out(), 0);
    assert_eq!(breaker.figures().ignored, 2);
    let soon = breaker.acquire().expect_err("not at once");
    assert_eq!(soon.retry_after, Duration::from_secs(1));
    now.fetch_add(1_000, Ordering::Relaxed);
    // And what makes calls fail may make them slow.
    let slow = breaker.acquire().expect("it came back");
    now.fetch_add(1_000, Ordering::Relaxed);
    slow.success();
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.figures().slow, 0);
}

#[test]
fn a_refusal_says_when_to_come_again_and_never_at_once() {
    let breaker = breaker(Settings::new());
    let mut rejected = breaker.core().reject(State::Open, 0);
    for (millis, said) in [(0, "0.1 s"), (1, "0.1 s"), (1_001, "1.1 s")] {
        rejected.retry_after = Duration::from_millis(millis);
        let text = rejected.to_string();
        assert!(
            text.ends_with(&format!("is open; try again in {said}")),
            "{text}"
        );
    }
}

#[test]
fn a_panic_is_a_failure_and_one_of_an_observer_or_an_excuse_is_nobodys() {
    let settings = Settings::new()
        .failures_in_a_row(1)
        .ignore_when(|| panic!("an excuse's own"))
        .on_transition(|_| panic!("an observer's own"));
    let breaker = breaker(settings);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        breaker.run(|| -> Result<(), ()> { panic!("the call's") })
    }));
    assert!(caught.is_err());
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.figures().failures, 1);
    // Not while it unwinds.
    breaker.release("nothing to release");
    assert!(breaker.force_closed("see"));
    drop(breaker.acquire().expect("forced closed"));
    assert_eq!(breaker.figures().abandoned, 1);
}

#[test]
fn what_an_operator_says_holds_until_it_is_taken_back() {
    let changes = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&changes);
    let settings = Settings::new()
        .failures_in_a_row(1)
        .on_transition(move |_| _ = counts.fetch_add(1, Ordering::Relaxed));
    let breaker = breaker(settings);
    assert!(breaker.force_open("it moves"));
    assert!(!breaker.force_open("again"));
    let rejected = breaker.acquire().expect_err("forced open");
    assert_eq!(rejected.state, State::ForcedOpen);
    assert!(
        rejected.to_string().contains("tested is forced-open"),
        "{rejected}"
    );
    assert!(breaker.force_closed("it has moved"));
    for _ in 0..100 {
        breaker.acquire().expect("forced closed").failure();
    }
    assert_eq!(breaker.state(), State::ForcedClosed);
    assert!(breaker.release(""));
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(
        breaker.counts(),
        Counts::default(),
        "what was forced is no evidence"
    );
    assert_eq!(breaker.figures().failures, 100);
    assert_eq!(changes.load(Ordering::Relaxed), 3);
    assert_eq!(breaker.figures().forced, 3);
}

#[test]
fn a_call_of_an_earlier_stay_counts_only_for_people() {
    let now = Arc::new(AtomicU64::new(0));
    let reads = Arc::clone(&now);
    let settings = Settings::new()
        .failures_in_a_row(1)
        .jitter(0.0)
        .clock(move || Duration::from_millis(reads.load(Ordering::Relaxed)));
    let breaker = breaker(settings);
    let stale = [(); 3].map(|()| breaker.acquire().expect("closed"));
    breaker.acquire().expect("closed").failure();
    now.store(5_000, Ordering::Relaxed);
    let [first, second, third] = stale;
    first.failure();
    let probe = breaker.acquire().expect("it probes");
    second.failure();
    assert_eq!(breaker.state(), State::HalfOpen);
    probe.success();
    third.failure();
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.counts(), Counts::default());
    assert_eq!(breaker.figures().failures, 4);
}

#[test]
fn it_does_not_matter_what_a_clock_says_first() {
    // Unix time in milliseconds takes more bits than a breaker has.
    for first in [0, 1_800_000_000_000, u64::MAX / 2] {
        let now = Arc::new(AtomicU64::new(first));
        let reads = Arc::clone(&now);
        let settings = Settings::new()
            .minimum_calls(2)
            .jitter(0.0)
            .clock(move || Duration::from_millis(reads.load(Ordering::Relaxed)));
        let breaker = breaker(settings);
        breaker.acquire().expect("closed").failure();
        now.fetch_add(20_000, Ordering::Relaxed);
        breaker.acquire().expect("closed").failure();
        assert_eq!(breaker.state(), State::Closed, "the first is long ago");
        breaker.acquire().expect("closed").failure();
        assert_eq!(breaker.state(), State::Open);
        now.fetch_add(4_999, Ordering::Relaxed);
        assert_eq!(breaker.probes_in(), Some(Duration::from_millis(1)));
        assert!(breaker.acquire().is_err());
        now.fetch_add(1, Ordering::Relaxed);
        breaker.acquire().expect("it probes").success();
        assert_eq!(breaker.state(), State::Closed);
        assert_eq!(breaker.since(), Duration::ZERO);
    }
}

#[test]
fn an_attempt_may_outlive_its_handle_and_go_to_another_thread() {
    let breaker = breaker(Settings::new());
    let attempt = breaker.acquire_owned().expect("closed");
    let core = Arc::downgrade(breaker.core());
    let (send, receive) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        attempt.success();
        send.send(()).expect("somebody waits");
    });
    receive
        .recv_timeout(Duration::from_secs(30))
        .expect("in time");
    worker.join().expect("no panic");
    assert_eq!(breaker.figures().calls, 1);
    drop(breaker);
    assert!(core.upgrade().is_none());
}
