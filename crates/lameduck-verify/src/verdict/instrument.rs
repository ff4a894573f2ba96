//! Owns how good the tester's own measurements are: what it adds, and how far its times may be off.
//! Not: measuring it (see `observe`).

use serde::{Deserialize, Serialize};

/// Delays of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// The median, in µs.
    pub p50_us: f64,
    /// All but one of a hundred are shorter, in µs.
    pub p99_us: f64,
    /// The longest, in µs.
    pub max_us: f64,
}

/// How late the writes of a sweep were, at one offset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WriteLateness {
    /// When they were due, after T.
    pub offset_ms: f64,
    /// How many were written.
    pub written: u64,
    /// Of these: too late to say anything about this offset.
    pub late: u64,
    /// The latest, after it was due.
    pub max_us: f64,
}

/// The tester's own overhead and error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Instrument {
    /// The step of the clock, as the system declares it, in ns.
    pub clock_step_ns: f64,
    /// What one look at it takes, in ns.
    pub clock_look_ns: f64,
    /// How long kill(2) took: T is known to so much.
    pub signal: Spread,
    /// From when a client's loop should have woken, or have come to a client, to when it did; from right before T on.
    pub wakeups: Spread,
    /// Writes of the sweeps, by offset.
    pub writes: Vec<WriteLateness>,
}

impl Instrument {
    /// One line for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        let millis = |micros: f64| {
            if micros < 100.0 {
                format!("{:.2} ms", micros / 1e3)
            } else {
                format!("{:.1} ms", micros / 1e3)
            }
        };
        format!(
            "our own error: T is known to {}; clients acted {} late in the median, {} at most in 99 of 100 cases, {} once",
            millis(self.signal.max_us),
            millis(self.wakeups.p50_us),
            millis(self.wakeups.p99_us),
            millis(self.wakeups.max_us)
        )
    }
}
