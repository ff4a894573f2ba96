//! A service as a real child process, and a client on a raw socket. Every wait has a bound, every read too.
//!
//! Owns no opinion about what is right: tests have those.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this in whole and uses a part"
)]

#[path = "../../../lameduck-verify/tests/duck/seats.rs"]
pub mod seats;
pub mod service;
pub mod wire;

use std::thread;
use std::time::{Duration, Instant};

/// How long an event is waited for. Never reached on a machine that works at all.
pub const BOUND: Duration = Duration::from_secs(60);

/// How long to rest between two looks at something that does not tell when it changes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Looks until there is something to see.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "{what} did not happen in {BOUND:?}");
        thread::sleep(BETWEEN_LOOKS);
    }
}
