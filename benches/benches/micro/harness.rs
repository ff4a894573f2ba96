//! Times contenders in turn and compares them within each round.
//!
//! Owns no case. A round runs every contender once, starting with another one each time, so that drift of the machine meets all
//! of them; figures are medians with their extremes over the rounds.

use std::fmt;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// How long a contender runs within one round.
const SLICE: Duration = Duration::from_millis(25);
const ROUNDS: usize = 25;

/// Measured, or only seen to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Full,
    Smoke,
}

/// What a case was written to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// The median of the ratios to a peer, round by round.
    Ratio { beside: &'static str, at_most: f64 },
    /// The median time of one operation.
    Nanos { at_most: f64 },
}

/// Runs about so many operations; says how many it did, and how long they took.
pub(crate) type Work = Box<dyn Fn(u64) -> (u64, Duration) + Send + Sync>;

/// One operation, done by ourselves and by others.
pub(crate) struct Case {
    name: &'static str,
    threads: usize,
    contenders: Vec<(&'static str, Work)>,
    goal: Option<Goal>,
}

/// Runs cases, keeps their rows.
pub(crate) struct Bench {
    effort: Effort,
    rows: Vec<Row>,
}

struct Row {
    case: String,
    contender: &'static str,
    nanos: Spread,
    /// Ours divided by theirs.
    ratio: Option<Spread>,
    verdict: Option<String>,
}

struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// Repeats an operation between two looks at the clock.
pub(crate) fn looped(operation: impl Fn() + Send + Sync + 'static) -> Work {
    Box::new(move |times| {
        let start = Instant::now();
        for _ in 0..times {
            operation();
        }
        (times, start.elapsed())
    })
}

/// An operation that needs a fresh scene and times itself; one call counts as `parts` operations.
pub(crate) fn fresh(parts: usize, scene: impl Fn() -> Duration + Send + Sync + 'static) -> Work {
    Box::new(move |times| {
        let calls = times.div_ceil(parts as u64);
        (calls * parts as u64, (0..calls).map(|_| scene()).sum())
    })
}

impl Case {
    pub(crate) fn new(name: &'static str, threads: usize) -> Self {
        Self {
            name,
            threads,
            contenders: Vec::new(),
            goal: None,
        }
    }

    /// The contender that the goal is about; the first one.
    pub(crate) fn of(self, name: &'static str, work: Work) -> Self {
        assert!(self.contenders.is_empty(), "ours is the first contender");
        self.beside(name, work)
    }

    pub(crate) fn beside(mut self, name: &'static str, work: Work) -> Self {
        self.contenders.push((name, work));
        self
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Nanoseconds for one operation: of the slowest thread, all of them working at the same time.
    fn time(&self, work: &Work, times: u64) -> f64 {
        let together = Barrier::new(self.threads);
        let one = || {
            together.wait();
            let (done, took) = work(times);
            took.as_secs_f64() * 1e9 / done as f64
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads).map(|_| scope.spawn(one)).collect();
            let mine = one();
            others
                .into_iter()
                .map(|other| other.join().expect("a contender panicked"))
                .fold(mine, f64::max)
        })
    }

    /// So many operations that they take about a slice.
    fn calibrate(&self, work: &Work) -> u64 {
        let mut times = 1_000;
        loop {
            let nanos = self.time(work, times);
            let wanted = (SLICE.as_secs_f64() * 1e9 / nanos) as u64;
            if wanted < times * 4 {
                return wanted.max(1);
            }
            times *= 8;
        }
    }
}

impl Bench {
    pub(crate) fn new(effort: Effort) -> Self {
        Self {
            effort,
            rows: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, case: &Case) {
        let (rounds, times) = match self.effort {
            Effort::Full => (
                ROUNDS,
                case.contenders
                    .iter()
                    .map(|(_, work)| case.calibrate(work))
                    .collect::<Vec<_>>(),
            ),
            Effort::Smoke => (1, vec![1_000; case.contenders.len()]),
        };
        let mut nanos = vec![Vec::with_capacity(rounds); case.contenders.len()];
        for round in 0..rounds {
            for turn in 0..case.contenders.len() {
                let i = (round + turn) % case.contenders.len();
                nanos[i].push(case.time(&case.contenders[i].1, times[i]));
            }
        }
        for (i, (contender, _)) in case.contenders.iter().enumerate() {
            let ratio = (i > 0).then(|| {
                Spread::of(
                    nanos[0]
                        .iter()
                        .zip(&nanos[i])
                        .map(|(ours, theirs)| ours / theirs),
                )
            });
            let measured = Spread::of(nanos[i].iter().copied());
            let verdict = match (case.goal, &ratio) {
                (Some(Goal::Ratio { beside, at_most }), Some(ratio)) if beside == *contender => {
                    Some(verdict(ratio.median, at_most, "x"))
                }
                (Some(Goal::Nanos { at_most }), None) => {
                    Some(verdict(measured.median, at_most, " ns"))
                }
                _ => None,
            };
            let threads = if case.threads == 1 {
                "1 thread".to_owned()
            } else {
                format!("{} threads", case.threads)
            };
            let case = format!("{}, {threads}", case.name);
            self.rows.push(Row {
                case,
                contender,
                nanos: measured,
                ratio,
                verdict,
            });
        }
    }

    /// A Markdown table on stdout; a smoke run says only that it ran, because its figures mean nothing.
    pub(crate) fn print(&self) {
        if self.effort == Effort::Smoke {
            println!(
                "{} contenders ran; `cargo bench` measures them",
                self.rows.len()
            );
            return;
        }
        println!(
            "{ROUNDS} rounds, {SLICE:?} each; median [least..most] over the rounds; ratio: ours / theirs within a round"
        );
        println!();
        println!("| case | contender | ns | ratio | goal |");
        println!("|---|---|---|---|---|");
        for row in &self.rows {
            let ratio = row
                .ratio
                .as_ref()
                .map(Spread::to_string)
                .unwrap_or_default();
            let verdict = row.verdict.as_deref().unwrap_or_default();
            println!(
                "| {} | {} | {} | {ratio} | {verdict} |",
                row.case, row.contender, row.nanos
            );
        }
    }
}

fn verdict(median: f64, at_most: f64, unit: &str) -> String {
    let word = if median <= at_most { "held" } else { "missed" };
    format!("<= {at_most}{unit}: {word}")
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (values[0], values[values.len() - 1]);
        Self {
            median: values[values.len() / 2],
            min,
            max,
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} [{:.3}..{:.3}]", self.median, self.min, self.max)
    }
}
