//! What one chaos round does, drawn from a seed: equal seeds and rounds give equal plans on any machine.
//!
//! Owns: windows, signals, repeats and the mix of clients, all inside what the shutdown contract promises zero loss
//! for. Not here: playing the plan (`engine`), starting the server (`bin/chaos`).

mod mix;

use std::fmt;
use std::time::Duration;

use crate::honest::Member;
use crate::hostile;
use crate::launch::GRACE;
use crate::rng::Rng;
use crate::script::{AfterClose, AfterRefusal, Kind, Promise, Script, Think};
use crate::server::Signal;
use crate::target::Speech;

/// The server's lame-duck window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// How it is written for the server: `local`, or floor, quiet, ceiling in seconds.
    pub argument: &'static str,
    /// Its quiet time, from which the promised idle times follow.
    pub quiet: Duration,
}

/// What the server does about repeated signals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repeats {
    /// Writes them down and changes nothing.
    Record,
    /// Lets them escalate, unless they are merged into the first.
    Escalate,
}

impl Repeats {
    /// How it is written for the server.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Escalate => "escalate",
        }
    }
}

/// One chaos round.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The seed of all rounds.
    pub seed: u64,
    /// Which round.
    pub round: u64,
    /// The server's window.
    pub window: Window,
    /// The server's policy.
    pub repeats: Repeats,
    /// The signals and their instants after the start of the load; the first is T.
    pub signals: Vec<(Duration, Signal)>,
    /// The HTTP/1.1 clients without TLS.
    pub scripts: Vec<Script>,
    /// The honest clients of everything else.
    pub members: Vec<Member>,
    /// The hostile ones: attacks by name, and how many peers each has.
    pub hostile: Vec<(&'static str, usize)>,
    /// The server's grace period: long enough for the limits that hostile peers meet.
    pub grace: Duration,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const WINDOWS: [Window; 5] = [
    Window {
        argument: "local",
        quiet: ms(100),
    },
    Window {
        argument: "0.2,0.1,1",
        quiet: ms(100),
    },
    Window {
        argument: "0,0.1,0.5",
        quiet: ms(100),
    },
    Window {
        argument: "0.05,0.2,0.8",
        quiet: ms(200),
    },
    Window {
        argument: "0.1,0.15,0.6",
        quiet: ms(150),
    },
];
/// A silent connection is promised 250 ms after its accept; the rest is for the machine.
const PROMISED_HOLD: Duration = ms(200);
/// A peer that stands still is ended 5 s after the window's end: the drain must be longer than that.
const GRACE_UNDER_ATTACK: Duration = ms(10_000);
const LONGEST_REUSE: Duration = ms(80);

impl Plan {
    /// Draws the plan of one round.
    pub fn draw(seed: u64, round: u64) -> Self {
        let mut rng = Rng::child(seed, round);
        let window = *rng.pick(&WINDOWS);
        let signal = if rng.chance(50) {
            Signal::Terminate
        } else {
            Signal::Interrupt
        };
        let at = rng.duration(ms(60)..=ms(500));
        let (repeats, signals) = draw_signals(&mut rng, at, signal);
        // All leave, none does, or some: windows end by quiet, by ceiling, or in between.
        let leaving = *rng.pick(&[0, 50, 100]);
        let clients = rng.within(24..=56);
        let scripts = (0..clients)
            .map(|index| draw_script(&mut rng, index, window, leaving))
            .collect();
        let members = mix::honest(&mut rng, window, leaving);
        let hostile = mix::hostile(&mut rng);
        let grace = if hostile.is_empty() {
            GRACE
        } else {
            GRACE_UNDER_ATTACK
        };
        Self {
            seed,
            round,
            window,
            repeats,
            signals,
            scripts,
            members,
            hostile,
            grace,
        }
    }
}

impl Plan {
    /// Leaves out whoever needs a protocol that the server does not speak.
    pub fn keep_what(&mut self, speaks: impl Fn(Speech) -> bool) {
        self.members
            .retain(|member| member.role.speaks().all(&speaks));
        let attacks = hostile::catalogue();
        self.hostile.retain(|(name, _)| {
            attacks
                .iter()
                .any(|attack| attack.name == *name && speaks(attack.speaks))
        });
    }
}

/// Repeats that must change nothing: any under `Record`; under `Escalate` the same signal inside the merge interval.
fn draw_signals(rng: &mut Rng, at: Duration, signal: Signal) -> (Repeats, Vec<(Duration, Signal)>) {
    let mut signals = vec![(at, signal)];
    let repeats = if rng.chance(60) {
        Repeats::Record
    } else {
        Repeats::Escalate
    };
    if rng.chance(50) {
        let latest = match repeats {
            Repeats::Record => ms(1_500),
            Repeats::Escalate => ms(150),
        };
        for _ in 0..rng.within(1..=4) {
            let repeated = match repeats {
                Repeats::Record => *rng.pick(&[Signal::Terminate, Signal::Interrupt]),
                Repeats::Escalate => signal,
            };
            signals.push((at + rng.duration(Duration::ZERO..=latest), repeated));
        }
        signals.sort_by_key(|&(at, _)| at);
    }
    (repeats, signals)
}

fn draw_script(rng: &mut Rng, index: u64, window: Window, leaving: u64) -> Script {
    let promised = LONGEST_REUSE.min(window.quiet * 4 / 5);
    let short = Think::Between(ms(1), *rng.pick(&[ms(4), ms(10), ms(40)]));
    let half = Think::Between(ms(1), window.quiet / 2);
    // The first of each kind is certain, so that no round is without one.
    let which = if index < 10 { index } else { rng.within(0..=9) };
    let (kind, think) = match which {
        0 => (Kind::Get, short),
        1 => (Kind::Echo { largest: 64 * 1024 }, short),
        2 => (Kind::Slow { longest: ms(400) }, half),
        3 => (
            Kind::Stream {
                chunks: 10,
                pause: ms(40),
            },
            half,
        ),
        4 => (
            Kind::Large {
                bytes: 1 << 20,
                sip: 32 * 1024,
                pause: ms(10),
            },
            Think::Between(ms(1), window.quiet / 4),
        ),
        5 => (
            Kind::Upload {
                pieces: 8,
                piece: 8 * 1024,
                gap: ms(40),
            },
            half,
        ),
        6 => (Kind::HalfHead { gap: ms(120) }, half),
        7 => (
            Kind::PerRequest {
                hold: *rng.pick(&[Duration::ZERO, ms(20), ms(120)]),
            },
            short,
        ),
        8 => (Kind::Get, Think::Bursts(promised / 2, promised)),
        // Longer than any promise: what it loses is a figure.
        _ => (Kind::Get, Think::Between(ms(150), ms(800))),
    };
    Script {
        kind,
        think,
        seed: rng.next(),
        start: rng.duration(Duration::ZERO..=ms(40)),
        after_close: if rng.chance(leaving) {
            AfterClose::Leave
        } else {
            AfterClose::Reconnect
        },
        after_refusal: AfterRefusal::Retry(ms(15)),
        promise: Promise::Within {
            idle: promised,
            hold: PROMISED_HOLD,
        },
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} round {}: window {}, repeat {}, grace {:?}, {} clients",
            self.seed,
            self.round,
            self.window.argument,
            self.repeats.argument(),
            self.grace,
            self.scripts.len() + self.members.len()
        )?;
        for (at, signal) in &self.signals {
            writeln!(f, "  {signal} at {at:?}")?;
        }
        for (id, script) in self.scripts.iter().enumerate() {
            writeln!(
                f,
                "  client {id}: from {:?}, {:?}, think {:?}, after close {:?}, seed {:016x}",
                script.start, script.kind, script.think, script.after_close, script.seed
            )?;
        }
        for (id, member) in self.members.iter().enumerate() {
            writeln!(
                f,
                "  member {id}: from {:?}, {:?}, after close {:?}, seed {:016x}",
                member.start, member.role, member.after_close, member.seed
            )?;
        }
        for (attack, peers) in &self.hostile {
            writeln!(f, "  hostile: {peers} of {attack}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_round_draw_the_same_plan_to_the_last_request() {
        for round in 0..20 {
            let (one, other) = (Plan::draw(42, round), Plan::draw(42, round));
            assert_eq!(one, other);
            assert_eq!(one.to_string(), other.to_string());
            for (script, same) in one.scripts.iter().zip(&other.scripts) {
                let (mut rng, mut again) = (Rng::new(script.seed), Rng::new(same.seed));
                for _ in 0..10 {
                    let (exchange, repeated) = (script.next(&mut rng), same.next(&mut again));
                    assert_eq!(exchange.pieces, repeated.pieces);
                    assert_eq!(
                        (exchange.think, exchange.hold),
                        (repeated.think, repeated.hold)
                    );
                }
            }
        }
        assert_ne!(Plan::draw(42, 0), Plan::draw(42, 1));
        assert_ne!(Plan::draw(42, 0), Plan::draw(43, 0));
    }

    #[test]
    fn every_plan_keeps_to_what_is_promised() {
        for round in 0..500 {
            let plan = Plan::draw(9, round);
            assert!(plan.signals.is_sorted_by_key(|&(at, _)| at));
            let (first, signal) = plan.signals[0];
            for &(at, repeated) in &plan.signals {
                // The shorter merge interval of the two signals is 300 ms.
                let merged = repeated == signal && at - first < ms(300);
                assert!(plan.repeats == Repeats::Record || merged, "round {round}");
            }
            for script in &plan.scripts {
                let Promise::Within { idle, .. } = script.promise else {
                    panic!("chaos promises are bounded")
                };
                assert!(idle < plan.window.quiet, "round {round}");
            }
        }
    }

    #[test]
    fn what_the_server_does_not_speak_is_left_out() {
        for round in 0..50 {
            let mut plan = Plan::draw(3, round);
            let honest = plan.members.len();
            plan.keep_what(|speech| speech != Speech::Tls);
            assert!(!plan.members.is_empty() && plan.members.len() < honest);
            plan.keep_what(|speech| speech == Speech::Http1);
            assert!(plan.members.is_empty());
        }
    }

    #[test]
    fn hostile_peers_come_to_about_half_of_the_rounds() {
        let rounds = (0..400).filter(|&round| !Plan::draw(5, round).hostile.is_empty());
        assert!((120..280).contains(&rounds.count()));
    }

    #[test]
    fn every_round_has_every_kind() {
        for round in 0..50 {
            let mut kinds: Vec<_> = Plan::draw(3, round)
                .scripts
                .iter()
                .map(|script| std::mem::discriminant(&script.kind))
                .collect();
            kinds.sort_by_key(|kind| format!("{kind:?}"));
            kinds.dedup();
            assert_eq!(kinds.len(), 8, "round {round}");
        }
    }
}
