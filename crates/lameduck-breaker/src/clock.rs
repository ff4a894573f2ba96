//! What time it is, in whole milliseconds: all that breakers decide by.
//!
//! Owns which clock is read. Nothing is decided here.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A duration in the unit of this crate; what does not fit is as good as for ever.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that never goes back.
#[derive(Clone)]
pub(crate) enum Clock {
    /// The kernel's last tick (`CLOCK_MONOTONIC_COARSE`, clock_getres(2): 1 to 10 ms): a read costs a fifth of the exact one.
    Tick,
    /// Exact, since this instant.
    Since(Instant),
    /// The program's own.
    Given(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Clock {
    /// The cheapest that tells this much time apart.
    pub(crate) fn telling(apart: Option<Duration>) -> Self {
        match apart {
            Some(apart) if apart < Duration::from_millis(100) => Self::Since(Instant::now()),
            _ => Self::Tick,
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Tick => tick(),
            Self::Since(start) => millis(start.elapsed()),
            Self::Given(clock) => millis(clock()),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tick => "Tick",
            Self::Since(_) => "Since",
            Self::Given(_) => "Given",
        })
    }
}

#[cfg(all(target_os = "linux", not(lameduck_portable)))]
#[inline]
fn tick() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) writes one timespec, and gets a pointer to one that outlives the call. It fails only for a clock that the
    // kernel does not have; this one is there since Linux 2.6.32, and zeros stay otherwise.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    // Neither is negative. Their width is the platform's.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(not(all(target_os = "linux", not(lameduck_portable))))]
fn tick() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    millis(START.get_or_init(Instant::now).elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_moves_and_never_goes_back() {
        let (start, mut last) = (Instant::now(), tick());
        let first = last;
        while tick() == first {
            assert!(start.elapsed() < Duration::from_secs(30), "it stands still");
        }
        for _ in 0..100_000 {
            let now = tick();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn short_times_are_told_apart_by_the_exact_clock() {
        let which = |apart| format!("{:?}", Clock::telling(apart));
        assert_eq!(which(None), "Tick");
        assert_eq!(which(Some(Duration::from_secs(1))), "Tick");
        assert_eq!(which(Some(Duration::from_millis(20))), "Since");
    }
}
