//! The four load modes in which servers are compared.
//!
//! Owns: the clients of each mode. Not here: the random mix of the chaos rounds (`plan`).

use std::time::Duration;

use crate::rng::Rng;
use crate::script::{AfterClose, AfterRefusal, Kind, Promise, Script, Think};

/// One of the four.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// 64 kept connections, no think time.
    Saturated,
    /// 200 kept connections, 5 ms mean think time.
    Busy,
    /// 200 kept connections, 50 ms mean think time.
    Unsaturated,
    /// 32 clients, a new connection for each request.
    PerRequest,
}

impl Mode {
    /// All modes, in the order of the tables.
    pub const ALL: [Self; 4] = [
        Self::Saturated,
        Self::Busy,
        Self::Unsaturated,
        Self::PerRequest,
    ];

    /// The letter that names it on the command line.
    pub fn letter(self) -> char {
        match self {
            Self::Saturated => 'a',
            Self::Busy => 'b',
            Self::Unsaturated => 'c',
            Self::PerRequest => 'd',
        }
    }

    /// The heading of its table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Saturated => "64 keep-alive connections, closed loop, no think time (saturated)",
            Self::Busy => "200 keep-alive connections, 5 ms mean think time",
            Self::Unsaturated => "200 keep-alive connections, 50 ms mean think time (unsaturated)",
            Self::PerRequest => {
                "32 clients, a new connection for each request (`Connection: close`)"
            }
        }
    }

    /// Its clients, drawn from `seed`.
    pub fn scripts(self, seed: u64) -> Vec<Script> {
        let exponential = |ms| Think::Exponential(Duration::from_millis(ms));
        let (clients, kind, think) = match self {
            Self::Saturated => (64, Kind::Get, Think::None),
            Self::Busy => (200, Kind::Get, exponential(5)),
            Self::Unsaturated => (200, Kind::Get, exponential(50)),
            Self::PerRequest => (
                32,
                Kind::PerRequest {
                    hold: Duration::ZERO,
                },
                Think::None,
            ),
        };
        (0..clients)
            .map(|index| {
                let mut rng = Rng::child(seed, index);
                Script {
                    kind: kind.clone(),
                    think: think.clone(),
                    // Connecting all at once would measure the ramp, not the load.
                    start: rng.duration(Duration::ZERO..=Duration::from_millis(50)),
                    seed: rng.next(),
                    after_close: AfterClose::Reconnect,
                    after_refusal: AfterRefusal::Leave,
                    promise: Promise::Always,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_clients() {
        for mode in Mode::ALL {
            assert_eq!(mode.scripts(5), mode.scripts(5));
            assert_ne!(mode.scripts(5), mode.scripts(6));
        }
    }
}
