//! Micro-benchmarks of what stands on a request's path, beside the peers that people use instead.
//!
//! `cargo bench -p lameduck-benches --bench micro` prints one table (with `-- --lines` one JSON object a line); without `--bench` (as `cargo test --benches` starts it) every case
//! runs for a moment, to see that it works. All contenders of a case run in turn within every round, and a ratio is taken
//! within its round: only ratios of one run mean anything on a shared machine.
//!
//! Owns the cases and their goals. How they are timed: `harness`. Signals and sockets have benchmarks of their own.

mod harness;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use lameduck::inflight::{Admission, Requests, Slots, Token};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::harness::{Bench, Case, Effort, Goal, fresh, looped};

fn main() {
    let effort = if std::env::args().any(|arg| arg == "--bench") {
        Effort::Full
    } else {
        Effort::Smoke
    };
    let mut bench = Bench::new(effort);
    for threads in [1, 2] {
        bench.run(&guard(threads));
    }
    for threads in [1, 2] {
        bench.run(&request_count(threads));
    }
    for threads in [1, 2] {
        bench.run(&phase_check(threads));
    }
    bench.run(&slot());
    bench.run(&broadcast());
    if std::env::args().any(|arg| arg == "--lines") {
        bench.print_lines();
    } else {
        bench.print();
    }
}

/// Enter and leave: what a connection or a job pays once.
fn guard(threads: usize) -> Case {
    let (admission, tracker, plain) = (Admission::new(), TaskTracker::new(), AtomicUsize::new(0));
    let goal = if threads == 1 { 0.75 } else { 0.05 };
    Case::new("guard: enter + leave", threads)
        .of(
            "Admission::enter",
            looped(move || drop(black_box(&admission).enter().expect("open"))),
        )
        .beside(
            "TaskTracker::token",
            looped(move || drop(black_box(&tracker).token())),
        )
        .beside(
            "one AtomicUsize",
            looped(move || {
                black_box(&plain).fetch_add(1, Ordering::SeqCst);
                black_box(&plain).fetch_sub(1, Ordering::SeqCst);
            }),
        )
        .goal(Goal::Ratio {
            beside: "TaskTracker::token",
            at_most: goal,
        })
}

/// One more request, for people and for quiet.
fn request_count(threads: usize) -> Case {
    let (requests, plain) = (Requests::new(), AtomicU64::new(0));
    Case::new("request count", threads)
        .of(
            "Requests::count_one",
            looped(move || black_box(&requests).count_one()),
        )
        .beside(
            "one AtomicU64",
            looped(move || _ = black_box(&plain).fetch_add(1, Ordering::Relaxed)),
        )
        .goal(Goal::Nanos { at_most: 2.5 })
}

/// Has the moment come? Asked for every request.
fn phase_check(threads: usize) -> Case {
    let (token, flag, theirs) = (
        Token::new(),
        Arc::new(AtomicBool::new(false)),
        CancellationToken::new(),
    );
    Case::new("phase check", threads)
        .of(
            "Token::is_fired",
            looped(move || refuse_if(black_box(&token).is_fired())),
        )
        .beside(
            "relaxed AtomicBool",
            looped(move || refuse_if(black_box(&flag).load(Ordering::Relaxed))),
        )
        .beside(
            "CancellationToken",
            looped(move || refuse_if(black_box(&theirs).is_cancelled())),
        )
        .goal(Goal::Ratio {
            beside: "relaxed AtomicBool",
            at_most: 1.2,
        })
}

/// What a check is for: a branch that is hardly ever taken.
#[inline(always)]
fn refuse_if(over: bool) {
    #[cold]
    fn refuse() {
        panic!("nobody ended it");
    }
    if over {
        refuse();
    }
}

/// Naming a request: what a server pays to know who holds the exit. The peer is what one would write first.
fn slot() -> Case {
    let slots = Slots::new();
    let slot = slots.claim(Some(([192, 0, 2, 7], 4711).into()));
    let named: Mutex<Option<(String, String, Duration)>> = Mutex::new(None);
    let (method, path, at) = (
        "GET",
        "/api/v1/orders/4711?expand=lines",
        Duration::from_secs(1),
    );
    Case::new("name a request: begin + idle", 1)
        .of(
            "Slot",
            looped(move || {
                black_box(&slot).begin(black_box(method), black_box(path), black_box(at));
                black_box(&slot).idle();
            }),
        )
        .beside(
            "Mutex of Strings",
            looped(move || {
                let path = black_box(path).split('?').next().unwrap_or_default();
                let request = (black_box(method).to_owned(), path.to_owned(), black_box(at));
                let locked = || black_box(&named).lock().expect("nobody panics here");
                *locked() = Some(request);
                *locked() = None;
            }),
        )
        .goal(Goal::Nanos { at_most: 15.0 })
}

/// The call that wakes everybody, for each of a thousand waiters whose wake-up is one atomic addition.
fn broadcast() -> Case {
    const WAITERS: usize = 1_000;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls a thousand futures of `make` once, then times `call`.
    fn woken<F: Future + Unpin>(make: impl Fn() -> F, call: impl FnOnce()) -> Duration {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut waiting: Vec<F> = (0..WAITERS).map(|_| make()).collect();
        for future in &mut waiting {
            assert!(
                std::pin::pin!(future)
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        let start = Instant::now();
        call();
        let took = start.elapsed();
        assert_eq!(
            count.0.load(Ordering::Relaxed),
            WAITERS,
            "everybody was woken"
        );
        took
    }

    Case::new("wake 1 000, per waiter", 1)
        .of(
            "Token::fire",
            fresh(WAITERS as u64, || {
                let token = Token::new();
                woken(|| token.fired(), || token.fire())
            }),
        )
        .beside(
            "CancellationToken",
            fresh(WAITERS as u64, || {
                let token = CancellationToken::new();
                woken(
                    || Box::pin(token.clone().cancelled_owned()),
                    || token.cancel(),
                )
            }),
        )
        .beside(
            "Vec of wakers (floor)",
            fresh(WAITERS as u64, || {
                let count = Arc::new(Count(AtomicUsize::new(0)));
                let wakers: Vec<Waker> = (0..WAITERS)
                    .map(|_| Waker::from(Arc::clone(&count)))
                    .collect();
                let start = Instant::now();
                wakers.into_iter().for_each(Waker::wake);
                start.elapsed()
            }),
        )
        .goal(Goal::Ratio {
            beside: "Vec of wakers (floor)",
            at_most: 1.25,
        })
}
