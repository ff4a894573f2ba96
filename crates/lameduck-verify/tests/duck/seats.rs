//! How many tests that watch processes go on at once. They wait most of the time, so a few may; each brings load of its
//! own, so not all.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this in whole and uses a part"
)]

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// With more than these the machine is judged, and not the targets.
const SEATS: usize = 3;

static TAKEN: Mutex<usize> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();

/// Seats that are given back when this is dropped.
#[must_use]
pub struct Seat(usize);

/// One seat among a few.
pub fn seat() -> Seat {
    take(1)
}

/// All seats: for what others would disturb.
pub fn alone() -> Seat {
    take(SEATS)
}

fn take(wanted: usize) -> Seat {
    let mut taken = LEFT
        .wait_while(held(), |taken| *taken + wanted > SEATS)
        .unwrap_or_else(PoisonError::into_inner);
    *taken += wanted;
    Seat(wanted)
}

/// A test that fails with a seat in its hand poisons nothing: the count is right all the same.
fn held() -> MutexGuard<'static, usize> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Seat {
    fn drop(&mut self) {
        *held() -= self.0;
        LEFT.notify_all();
    }
}
