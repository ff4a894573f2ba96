//! What lameduck is to reach, figure by figure.
//!
//! Owns: the numbers. Not here: whether they were reached.

use super::{Against, Goal, Relation};

const BARE: &str = "hyper, bare";
const AUTO: &str = "hyper, bare, auto";
const LIMITED: &str = "hyper, bare, same limits";
const HYPER_UTIL: &str = "hyper-util GracefulShutdown";
/// Allocations per request that are none of the request's: a timer's wheel, a late flush.
const STRAY: f64 = 0.05;
/// The sweep, in milliseconds: what `--window none` still takes.
const SWEEP: f64 = 2.0;
/// How much later than without idle connections an answer may come, as a part: the clock's tick.
const ON_TIME: f64 = 1.02;

/// All of them, figure by figure.
pub fn all() -> Vec<Goal> {
    let figures = [
        ("cpu", cpu()),
        ("memory", memory()),
        ("departure", [exits(), listeners(), others()].concat()),
        ("broadcast", broadcast()),
        ("lost", lost()),
        ("small", small()),
        ("scale", scale()),
    ];
    let named = figures
        .into_iter()
        .flat_map(|(figure, goals)| goals.into_iter().map(move |goal| Goal { figure, ..goal }));
    named.collect()
}

const fn goal(measure: &'static str, case: &'static str, against: Against, at_most: f64) -> Goal {
    Goal {
        figure: "",
        measure,
        case,
        against,
        relation: Relation::Ratio,
        at_most,
    }
}

/// At most so many times a peer's.
const fn times(
    at_most: f64,
    name: &'static str,
    measure: &'static str,
    case: &'static str,
) -> Goal {
    goal(measure, case, Against::Peer { name, more: 0.0 }, at_most)
}

/// At most so much.
const fn most(at_most: f64, measure: &'static str, case: &'static str) -> Goal {
    goal(measure, case, Against::Nobody, at_most)
}

fn cpu() -> Vec<Goal> {
    const COST: &str = "instructions per request";
    const CASES: [&str; 5] = [
        "HTTP/1.1",
        "HTTP/1.1, 16 connections",
        "HTTP/2",
        "HTTP/2, 16 connections",
        "HTTP/1.1, TLS",
    ];
    let each = |case| {
        let added = Goal {
            relation: Relation::Added,
            ..times(STRAY, BARE, "allocations per request", case)
        };
        [
            times(1.01, LIMITED, COST, case),
            times(1.02, BARE, COST, case),
            added,
        ]
    };
    CASES.into_iter().flat_map(each).collect()
}

fn memory() -> Vec<Goal> {
    const COST: &str = "RSS per connection, B";
    vec![
        times(0.70, AUTO, COST, "HTTP/1.1"),
        times(1.05, BARE, COST, "HTTP/1.1"),
        // Where what parked connections give back goes to the system.
        times(0.15, BARE, COST, "HTTP/1.1, heap trimmed"),
    ]
}

fn exits() -> Vec<Goal> {
    const EXIT: &str = "exit, ms";
    const AFTER: &str = "exit after the last answer, ms";
    const LAST: &str = "last answer, ms";
    let beyond_sweep = Against::Peer {
        name: HYPER_UTIL,
        more: SWEEP,
    };
    let without_idle = Against::Other {
        measure: LAST,
        case: "0 idle, 20 in flight",
        name: "lameduck",
    };
    vec![
        goal(EXIT, "0 idle", beyond_sweep, 1.0),
        times(0.6, HYPER_UTIL, EXIT, "10000 idle"),
        times(1.0, "nginx", EXIT, "10000 idle"),
        times(0.5, HYPER_UTIL, AFTER, "0 idle, 20 in flight"),
        times(0.2, HYPER_UTIL, AFTER, "1000 idle, 20 in flight"),
        times(0.25, HYPER_UTIL, AFTER, "10000 idle, 20 in flight"),
        goal(LAST, "10000 idle, 20 in flight", without_idle, ON_TIME),
        times(1.2, HYPER_UTIL, EXIT, "100 idle, HTTP/2"),
        times(1.2, HYPER_UTIL, EXIT, "1000 idle, HTTP/2"),
        times(1.2, HYPER_UTIL, EXIT, "100 idle, HTTP/2 that never closes"),
        times(1.2, HYPER_UTIL, EXIT, "1000 idle, HTTP/2 that never closes"),
    ]
}

fn listeners() -> Vec<Goal> {
    const CASES: [&str; 5] = [
        "0 idle",
        "0 idle, 20 in flight",
        "1000 idle, 20 in flight",
        "10000 idle",
        "10000 idle, 20 in flight",
    ];
    let each = |case| most(SWEEP + 1.0, "listener closed, ms", case);
    CASES.map(each).into()
}

fn others() -> Vec<Goal> {
    const CASE: &str = "10000 idle, WebSocket";
    let closing_idle = Against::Other {
        measure: "all idle closed, ms",
        case: "10000 idle",
        name: HYPER_UTIL,
    };
    vec![
        goal("all told to go, ms", CASE, closing_idle, 0.5),
        most(1.0, "first told to go, ms", CASE),
    ]
}

fn broadcast() -> Vec<Goal> {
    const CASE: &str = "1 000 000 waiters";
    const ALL_RUN: &str = "until all have run, ns per waiter";
    vec![
        times(1.25, "Vec<Waker>", "call, ns per waiter", CASE),
        times(0.7, "CancellationToken", ALL_RUN, CASE),
        times(0.7, "Go context", ALL_RUN, CASE),
        most(0.0, "allocated meanwhile, B", CASE),
    ]
}

fn lost() -> Vec<Goal> {
    ["a", "b", "c", "d"]
        .map(|mode| most(0.0, "lost requests", mode))
        .into()
}

fn small() -> Vec<Goal> {
    const NANOS: &str = "ns";
    const MICROS: &str = "µs from kill(2)";
    const TRACKER: &str = "TaskTracker::token";
    const FLAG: &str = "relaxed AtomicBool";
    const SIGNAL: &str = "tokio::signal";
    vec![
        times(0.75, TRACKER, NANOS, "guard: enter + leave, 1 thread"),
        times(0.05, TRACKER, NANOS, "guard: enter + leave, 2 threads"),
        times(1.2, FLAG, NANOS, "phase check, 1 thread"),
        times(1.2, FLAG, NANOS, "phase check, 2 threads"),
        most(2.5, NANOS, "request count, 1 thread"),
        most(2.5, NANOS, "request count, 2 threads"),
        times(0.65, SIGNAL, MICROS, "signal: to the waker's call"),
        times(0.65, SIGNAL, MICROS, "signal: to the task's run"),
    ]
}

fn scale() -> Vec<Goal> {
    const COST: &str = "exit, µs per connection";
    let smaller = Against::Other {
        measure: COST,
        case: "a fifth",
        name: "lameduck",
    };
    vec![
        goal(COST, "all", smaller, 1.2),
        most(SWEEP + 1.0, "window's end late by, ms", "all"),
        most(1.02, "memory while draining, of before", "all"),
    ]
}
