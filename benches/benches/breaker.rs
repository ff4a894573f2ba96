//! What a circuit breaker adds to a call that it admits, beside the peers that people use instead.
//!
//! `cargo bench -p lameduck-benches --bench breaker` prints one table (with `-- --lines` one JSON object a line). How contenders are timed, and why only
//! ratios of one run mean anything, stands in `micro`, whose harness this is.
//!
//! Owns the cases and their goals. Every contender counts failures by rate, in a window of 10 s or of the last 100 calls, whichever it knows.

#[path = "micro/harness.rs"]
#[expect(dead_code, reason = "no case here needs a fresh scene each time")]
mod harness;

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use failsafe::CircuitBreaker as _;
use lameduck_breaker::{BreakCalls, Breaker, Breakers, Settings};
use recloser::Recloser;
use tower::{Layer as _, Service, service_fn};
use tower_resilience_circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};

use self::harness::{Bench, Case, Effort, Goal, Work, looped};

const WINDOW: Duration = Duration::from_secs(10);

fn main() {
    let effort = if std::env::args().any(|arg| arg == "--bench") {
        Effort::Full
    } else {
        Effort::Smoke
    };
    let mut bench = Bench::new(effort);
    for threads in [1, 2] {
        bench.run(&admitted(threads));
    }
    bench.run(&with_more());
    for threads in [1, 2] {
        bench.run(&refused(threads));
    }
    for threads in [1, 2] {
        bench.run(&layer(threads));
    }
    if std::env::args().any(|arg| arg == "--lines") {
        bench.print_lines();
    } else {
        bench.print();
    }
}

fn ours(settings: Settings) -> Breaker {
    Breaker::new("measured", settings.window(WINDOW)).expect("settings that fit")
}

/// A call that costs nothing and goes well.
fn nothing() -> Result<(), Infallible> {
    black_box(Ok(()))
}

/// One that fails.
fn refusal() -> Result<(), ()> {
    black_box(Err(()))
}

/// The same rule as everybody's here: a share of what came in 10 s.
fn failsafe() -> impl failsafe::CircuitBreaker + Clone + Send + Sync {
    let wait = failsafe::backoff::constant(Duration::from_secs(3_600));
    let policy = failsafe::failure_policy::success_rate_over_time_window(0.5, 20, WINDOW, wait);
    failsafe::Config::new().failure_policy(policy).build()
}

fn recloser() -> Recloser {
    Recloser::custom()
        .error_rate(0.5)
        .closed_len(100)
        .open_wait(Duration::from_secs(3_600))
        .build()
}

/// Admitted, and well: what every call pays while nothing is wrong.
fn admitted(threads: usize) -> Case {
    let (breaker, failsafe, recloser) = (ours(Settings::new()), failsafe(), recloser());
    let goal = if threads == 1 {
        Goal::Nanos { at_most: 30.0 }
    } else {
        Goal::Ratio {
            beside: "recloser",
            at_most: 1.0,
        }
    };
    Case::new("admitted call, success", threads)
        .of(
            "Breaker::run",
            looped(move || _ = black_box(&breaker).run(nothing)),
        )
        .beside(
            "failsafe",
            looped(move || _ = black_box(&failsafe).call(nothing)),
        )
        .beside(
            "recloser",
            looped(move || _ = black_box(&recloser).call(nothing)),
        )
        .goal(goal)
}

/// What the rest of us costs.
fn with_more() -> Case {
    let plain = ours(Settings::new());
    let slow = ours(Settings::new().slow_calls(Duration::from_secs(1), 0.8));
    let exact = ours(Settings::new().slow_calls(Duration::from_millis(50), 0.8));
    let row = ours(Settings::new().failures_in_a_row(5));
    let owned = ours(Settings::new());
    let settings = Settings::new().window(WINDOW);
    let keys = Breakers::<String>::new("keyed", settings).expect("settings that fit");
    Case::new("the same with more of it", 1)
        .of("Breaker::run", looped(move || _ = plain.run(nothing)))
        .beside("slow calls", looped(move || _ = slow.run(nothing)))
        .beside(
            "slow calls, exact clock",
            looped(move || _ = exact.run(nothing)),
        )
        .beside("failures in a row", looped(move || _ = row.run(nothing)))
        .beside(
            "acquire_owned",
            looped(move || owned.acquire_owned().expect("closed").success()),
        )
        .beside(
            "one of Breakers, looked up",
            looped(move || {
                let breaker = keys.of("a.internal").expect("a place");
                _ = breaker.run(nothing);
            }),
        )
}

/// Refused: what every call pays while something is.
fn refused(threads: usize) -> Case {
    let breaker = ours(Settings::new().open_for(Duration::from_secs(3_600)));
    // By its rule over time it did not open within 200 failures; what a refusal costs does not depend on the rule.
    let wait = failsafe::backoff::constant(Duration::from_secs(3_600));
    let policy = failsafe::failure_policy::consecutive_failures(3, wait);
    let failsafe = failsafe::Config::new().failure_policy(policy).build();
    let recloser = recloser();
    for _ in 0..200 {
        _ = breaker.run(refusal);
        _ = failsafe.call(refusal);
        _ = recloser.call(refusal);
    }
    assert!(breaker.acquire().is_err() && !failsafe.is_call_permitted());
    Case::new("refused call", threads)
        .of(
            "Breaker::run",
            looped(move || _ = black_box(&breaker).run(nothing)),
        )
        .beside(
            "failsafe",
            looped(move || _ = black_box(&failsafe).call(nothing)),
        )
        .beside(
            "recloser",
            looped(move || _ = black_box(&recloser).call(nothing)),
        )
}

/// Through a tower service: ready, called, polled to its end.
fn layer(threads: usize) -> Case {
    let inner = || service_fn(|()| std::future::ready(Ok::<_, Infallible>(())));
    let theirs = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_type(SlidingWindowType::TimeBased)
        .sliding_window_duration(WINDOW)
        .minimum_number_of_calls(20)
        .build()
        .expect("settings that fit");
    let counted = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .minimum_number_of_calls(20)
        .build()
        .expect("settings that fit");
    Case::new("tower layer, success", threads)
        .of(
            "BreakCalls",
            served(BreakCalls::new(&ours(Settings::new())).layer(inner())),
        )
        .beside("no layer", served(inner()))
        .beside("tower-resilience, by count", served(counted.layer(inner())))
        .beside("tower-resilience, by time", served(theirs.layer(inner())))
        .goal(Goal::Ratio {
            beside: "tower-resilience, by count",
            at_most: 0.5,
        })
}

/// Calls a clone of a service again and again.
fn served<S>(service: S) -> Work
where
    S: Service<()> + Clone + Send + Sync + 'static,
{
    Box::new(move |slice| {
        let mut service = service.clone();
        let mut cx = Context::from_waker(Waker::noop());
        let (start, mut done) = (Instant::now(), 0);
        loop {
            for _ in 0..256 {
                while black_box(&mut service).poll_ready(&mut cx).is_pending() {}
                let mut call = pin!(service.call(()));
                // Nobody else makes it ready but the other thread, which is at it.
                while call.as_mut().poll(&mut cx).is_pending() {
                    std::hint::spin_loop();
                }
            }
            done += 256;
            let took = start.elapsed();
            if took >= slice {
                return (done, took);
            }
        }
    })
}
