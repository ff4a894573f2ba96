//! What is to be reached, and whether it was.
//!
//! Owns: the goals, as one table, and their judgement from samples: run by run, then the median. Not here: measuring.

use super::contender::Contender;
use super::record::{Key, Record, Runs};
use crate::stats::Spread;

/// What a goal compares with.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    /// Nothing: the value itself counts.
    Nobody,
    /// A peer in the same circumstances.
    Peer {
        /// Who.
        name: &'static str,
        /// What is added to its value.
        more: f64,
    },
    /// Something else that was measured in the same run.
    Other {
        /// What.
        measure: &'static str,
        /// In which circumstances.
        case: &'static str,
        /// Whose.
        name: &'static str,
    },
}

/// How ours stands to theirs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// Divided by it.
    Ratio,
    /// What is left of ours without theirs.
    Added,
}

/// One goal of lameduck's.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The figure.
    pub figure: &'static str,
    /// The measure.
    pub measure: &'static str,
    /// The circumstances.
    pub case: &'static str,
    /// What it is held against.
    pub against: Against,
    /// How.
    pub relation: Relation,
    /// The most that is good.
    pub at_most: f64,
}

/// A goal with what came of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The goal.
    pub goal: Goal,
    /// Ours held against theirs, run by run.
    pub spread: Spread,
    /// The same of lameduck against itself, where that was measured.
    pub null: Option<Spread>,
}

impl Judged {
    /// Whether it was reached.
    pub fn held(&self) -> bool {
        self.spread.median <= self.goal.at_most
    }

    /// How far lameduck is from itself: the greatest distance of a run from 1, as a part.
    pub fn noise(&self) -> f64 {
        self.null.map_or(0.0, farthest)
    }
}

fn farthest(null: Spread) -> f64 {
    let away = |ratio: f64| ratio.ln().abs();
    away(null.least).max(away(null.greatest))
}

impl Goal {
    /// One goal's name; two goals that differ only in how much is good have the same.
    pub fn id(&self) -> String {
        let Self {
            figure,
            measure,
            case,
            ..
        } = self;
        format!("{figure} | {measure} | {case} | {}", self.beside())
    }

    /// Whether it is held against something of the same run.
    pub fn is_relative(&self) -> bool {
        !matches!(self.against, Against::Nobody)
    }

    /// Who it is held against, in words.
    pub fn beside(&self) -> String {
        match self.against {
            Against::Nobody => "–".to_owned(),
            Against::Peer { name, more: 0.0 } => name.to_owned(),
            Against::Peer { name, more } => format!("{name} + {more}"),
            Against::Other {
                measure,
                case,
                name,
            } => {
                let parts = [(measure, self.measure), (case, self.case)];
                let differ = parts.iter().filter(|(other, own)| other != own);
                let differ: Vec<&str> = differ.map(|(other, _)| *other).collect();
                format!("{name}: {}", differ.join(", "))
            }
        }
    }

    /// What of ours it is about; several goals may be about the same.
    pub fn measured(&self) -> String {
        format!("{} | {} | {}", self.figure, self.measure, self.case)
    }

    /// lameduck beside itself, run by run; nothing where that was not measured.
    fn null(&self, record: &Record) -> Option<Spread> {
        let of = |contender: Contender| {
            record.runs(&Key::new(
                self.figure,
                self.measure,
                self.case,
                contender.name(),
            ))
        };
        let (ours, again) = (of(Contender::Lameduck)?, of(Contender::Again)?);
        Spread::of_figures(each(again, ours, |again, ours| again / ours))
    }

    /// How far lameduck was from itself; nothing where that was not measured.
    pub fn noise(&self, record: &Record) -> Option<f64> {
        self.null(record).map(farthest)
    }

    /// Judges from what was measured; nothing where that is not enough.
    pub fn judge(&self, record: &Record) -> Option<Judged> {
        let of = |measure: &str, case: &str, contender: &str| {
            record.runs(&Key::new(self.figure, measure, case, contender))
        };
        let ours = of(self.measure, self.case, Contender::Lameduck.name())?;
        let values = match self.against {
            Against::Nobody => ours.values().copied().collect(),
            Against::Peer { name, more } => {
                self.relate(ours, of(self.measure, self.case, name)?, more)
            }
            Against::Other {
                measure,
                case,
                name,
            } => self.relate(ours, of(measure, case, name)?, 0.0),
        };
        Some(Judged {
            goal: *self,
            spread: Spread::of_figures(values)?,
            null: self.null(record),
        })
    }

    fn relate(&self, ours: &Runs, theirs: &Runs, more: f64) -> Vec<f64> {
        each(ours, theirs, |ours, theirs| match self.relation {
            Relation::Ratio => ours / (theirs + more),
            Relation::Added => ours - theirs - more,
        })
    }
}

fn each(ours: &Runs, theirs: &Runs, relate: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let both = ours
        .iter()
        .filter_map(|(run, ours)| Some((*ours, *theirs.get(run)?)));
    let related = both.map(|(ours, theirs)| relate(ours, theirs));
    // Nothing by nothing is no ratio.
    related.filter(|ratio| ratio.is_finite()).collect()
}

const BARE: &str = "hyper, bare";
const AUTO: &str = "hyper, bare, auto";
const LIMITED: &str = "hyper, bare, same limits";
const HYPER_UTIL: &str = "hyper-util GracefulShutdown";
/// Allocations per request that are none of the request's: a timer's wheel, a late flush.
const STRAY: f64 = 0.05;
/// The sweep, in milliseconds: what `--window none` still takes.
const SWEEP: f64 = 2.0;

/// All of them, figure by figure.
pub fn all() -> Vec<Goal> {
    [
        cpu(),
        memory(),
        departure(),
        broadcast(),
        lost(),
        small(),
        scale(),
    ]
    .concat()
}

fn peer(
    figure: &'static str,
    measure: &'static str,
    case: &'static str,
    name: &'static str,
    at_most: f64,
) -> Goal {
    Goal {
        figure,
        measure,
        case,
        against: Against::Peer { name, more: 0.0 },
        relation: Relation::Ratio,
        at_most,
    }
}

fn value(figure: &'static str, measure: &'static str, case: &'static str, at_most: f64) -> Goal {
    Goal {
        against: Against::Nobody,
        ..peer(figure, measure, case, "", at_most)
    }
}

fn cpu() -> Vec<Goal> {
    let cases = [
        "HTTP/1.1",
        "HTTP/1.1, 16 connections",
        "HTTP/2",
        "HTTP/2, 16 connections",
        "HTTP/1.1, TLS",
    ];
    cases
        .iter()
        .flat_map(|case| {
            [
                peer("cpu", "instructions per request", case, LIMITED, 1.01),
                peer("cpu", "instructions per request", case, BARE, 1.02),
                Goal {
                    relation: Relation::Added,
                    ..peer("cpu", "allocations per request", case, BARE, STRAY)
                },
            ]
        })
        .collect()
}

fn memory() -> Vec<Goal> {
    const RSS: &str = "RSS per connection, B";
    vec![
        peer("memory", RSS, "HTTP/1.1", AUTO, 0.70),
        peer("memory", RSS, "HTTP/1.1", BARE, 1.05),
        // Where idle connections are parked.
        peer("memory", RSS, "HTTP/1.1", BARE, 0.15),
    ]
}

fn departure() -> Vec<Goal> {
    const EXIT: &str = "exit, ms";
    const AFTER: &str = "exit after the last answer, ms";
    const GONE: &str = "listener closed, ms";
    let mut goals = vec![
        Goal {
            against: Against::Peer {
                name: HYPER_UTIL,
                more: SWEEP,
            },
            ..peer("departure", EXIT, "0 idle", "", 1.0)
        },
        peer("departure", EXIT, "10000 idle", HYPER_UTIL, 0.6),
        peer("departure", EXIT, "10000 idle", "nginx", 1.0),
        peer("departure", AFTER, "0 idle, 20 in flight", HYPER_UTIL, 0.5),
        peer(
            "departure",
            AFTER,
            "1000 idle, 20 in flight",
            HYPER_UTIL,
            0.2,
        ),
        peer(
            "departure",
            AFTER,
            "10000 idle, 20 in flight",
            HYPER_UTIL,
            0.25,
        ),
        // Not delayed by closing the idle ones: as soon as without any, but for the jitter of the clock's tick.
        Goal {
            against: Against::Other {
                measure: "last answer, ms",
                case: "0 idle, 20 in flight",
                name: "lameduck",
            },
            ..peer(
                "departure",
                "last answer, ms",
                "10000 idle, 20 in flight",
                "",
                1.02,
            )
        },
    ];
    for case in [
        "0 idle",
        "0 idle, 20 in flight",
        "1000 idle, 20 in flight",
        "10000 idle",
        "10000 idle, 20 in flight",
    ] {
        goals.push(value("departure", GONE, case, SWEEP + 1.0));
    }
    for case in [
        "100 idle, HTTP/2",
        "1000 idle, HTTP/2",
        "100 idle, HTTP/2 that never closes",
        "1000 idle, HTTP/2 that never closes",
    ] {
        goals.push(peer("departure", EXIT, case, HYPER_UTIL, 1.2));
    }
    goals.push(Goal {
        against: Against::Other {
            measure: "all idle closed, ms",
            case: "10000 idle",
            name: HYPER_UTIL,
        },
        ..peer(
            "departure",
            "all told to go, ms",
            "10000 idle, WebSocket",
            "",
            0.5,
        )
    });
    goals.push(value(
        "departure",
        "first told to go, ms",
        "10000 idle, WebSocket",
        1.0,
    ));
    goals
}

fn broadcast() -> Vec<Goal> {
    const CASE: &str = "1 000 000 waiters";
    const ALL_RUN: &str = "until all have run, ns per waiter";
    vec![
        peer("broadcast", "call, ns per waiter", CASE, "Vec<Waker>", 1.25),
        peer("broadcast", ALL_RUN, CASE, "CancellationToken", 0.7),
        peer("broadcast", ALL_RUN, CASE, "Go context", 0.7),
        value("broadcast", "allocated meanwhile, B", CASE, 0.0),
    ]
}

fn lost() -> Vec<Goal> {
    ["a", "b", "c", "d"]
        .map(|mode| value("lost", "lost requests", mode, 0.0))
        .into()
}

fn small() -> Vec<Goal> {
    const TRACKER: &str = "TaskTracker::token";
    const NANOS: &str = "ns";
    let mut goals = vec![
        peer(
            "small",
            NANOS,
            "guard: enter + leave, 1 thread",
            TRACKER,
            0.75,
        ),
        peer(
            "small",
            NANOS,
            "guard: enter + leave, 2 threads",
            TRACKER,
            0.05,
        ),
    ];
    for case in ["phase check, 1 thread", "phase check, 2 threads"] {
        goals.push(peer("small", NANOS, case, "relaxed AtomicBool", 1.2));
    }
    for case in ["request count, 1 thread", "request count, 2 threads"] {
        goals.push(value("small", NANOS, case, 2.5));
    }
    for case in ["signal: to the waker's call", "signal: to the task's run"] {
        goals.push(peer(
            "small",
            "µs from kill(2)",
            case,
            "tokio::signal",
            0.65,
        ));
    }
    goals
}

fn scale() -> Vec<Goal> {
    vec![
        Goal {
            against: Against::Other {
                measure: "exit, µs per connection",
                case: "a fifth",
                name: "lameduck",
            },
            ..peer("scale", "exit, µs per connection", "all", "", 1.2)
        },
        value("scale", "window's end late by, ms", "all", SWEEP + 1.0),
        value("scale", "memory while draining, of before", "all", 1.02),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::record::Sample;

    #[test]
    fn a_goal_is_judged_run_by_run() {
        let mut record = Record::default();
        let goal = peer("f", "m", "c", "theirs", 0.5);
        assert!(goal.judge(&record).is_none());
        for (run, ours, theirs) in [(0, 1.0, 4.0), (1, 100.0, 100.0), (2, 2.0, 5.0)] {
            for (contender, value) in [
                ("lameduck", ours),
                ("theirs", theirs),
                ("lameduck, again", ours * 1.5),
            ] {
                let key = Key::new("f", "m", "c", contender);
                record.add(Sample { key, run, value }).unwrap();
            }
        }
        let judged = goal.judge(&record).unwrap();
        assert_eq!(
            (
                judged.spread.least,
                judged.spread.median,
                judged.spread.greatest
            ),
            (0.25, 0.4, 1.0)
        );
        assert!(judged.held());
        assert!((judged.noise() - 1.5_f64.ln()).abs() < 1e-9);
    }
}
