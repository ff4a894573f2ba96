//! Times contenders in turn and compares them within each round.
//!
//! Owns no case. A round runs every contender once, starting with another one each time, so that drift of the machine meets all
//! of them. A slice in which a thread was preempted, or in which threads did not start together, says nothing about contention:
//! it is repeated, and counted. (A thread that waits for a lock gives its CPU up by itself: that is the contender's price.)
//! Figures are medians with their extremes over the rounds.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a contender runs within one round: short against the scheduler's slices, so that enough rounds stay undisturbed.
const SLICE: Duration = Duration::from_millis(1);
/// How many rounds, and how long a case waits for undisturbed slices.
const ROUNDS: usize = 101;
const PATIENCE: Duration = Duration::from_secs(20);
/// With fewer, no verdict.
const ROUNDS_AT_LEAST: usize = 15;
/// How much later than the first the last thread may start, as a part of the slice.
const SKEW: f64 = 0.05;

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

/// Works for about so long; says how many operations that were, and how long they took.
pub(crate) type Work = Box<dyn Fn(Duration) -> (u64, Duration) + Send + Sync>;

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
    slices: (usize, usize),
    nanos: Spread,
    /// Ours divided by theirs.
    ratio: Option<Spread>,
    verdict: Option<String>,
}

/// One thread of one contender within one round.
struct Run {
    start: Instant,
    preempted: i64,
    took: Duration,
    nanos: f64,
}

/// One contender within one round.
struct Slice {
    /// For one operation of one thread, by the throughput of all of them.
    nanos: f64,
    undisturbed: bool,
}

struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// Repeats an operation, with a look at the clock now and then.
pub(crate) fn looped(operation: impl Fn() + Send + Sync + 'static) -> Work {
    const BETWEEN_LOOKS: u64 = 64;
    Box::new(move |slice| {
        let (start, mut done) = (Instant::now(), 0);
        loop {
            for _ in 0..BETWEEN_LOOKS {
                // Written out, so that the loop itself is not what is measured.
                operation();
                operation();
                operation();
                operation();
                operation();
                operation();
                operation();
                operation();
            }
            done += 8 * BETWEEN_LOOKS;
            let took = start.elapsed();
            if took >= slice {
                return (done, took);
            }
        }
    })
}

/// An operation that needs a fresh scene and times itself; one call counts as `parts` operations.
pub(crate) fn fresh(parts: u64, scene: impl Fn() -> Duration + Send + Sync + 'static) -> Work {
    Box::new(move |slice| {
        let (start, mut done, mut took) = (Instant::now(), 0, Duration::ZERO);
        while done == 0 || start.elapsed() < slice {
            took += scene();
            done += parts;
        }
        (done, took)
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

    /// Runs `work` on all threads at the same time.
    fn time(&self, work: &Work, slice: Duration) -> Slice {
        let arrived = AtomicUsize::new(0);
        let one = || {
            arrived.fetch_add(1, Ordering::SeqCst);
            // Spinning starts threads together; a barrier would start them one wake-up apart.
            while arrived.load(Ordering::SeqCst) < self.threads {
                std::thread::yield_now();
            }
            let (start, preempted) = (Instant::now(), preemptions());
            let (done, took) = work(slice);
            let preempted = preemptions() - preempted;
            Run {
                start,
                preempted,
                took,
                nanos: took.as_secs_f64() * 1e9 / done as f64,
            }
        };
        let runs: Vec<Run> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads).map(|_| scope.spawn(one)).collect();
            let mine = one();
            let others = others
                .into_iter()
                .map(|other| other.join().expect("a contender panicked"));
            others.chain([mine]).collect()
        });
        let starts = runs.iter().map(|run| run.start);
        let skew = starts
            .clone()
            .max()
            .zip(starts.min())
            .map_or(Duration::ZERO, |(last, first)| last - first);
        let shortest = runs.iter().map(|run| run.took).min().unwrap_or_default();
        let together = skew <= shortest.mul_f64(SKEW);
        Slice {
            nanos: runs.len() as f64 / runs.iter().map(|run| 1.0 / run.nanos).sum::<f64>(),
            undisturbed: together && runs.iter().all(|run| run.preempted == 0),
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
        let count = case.contenders.len();
        let (rounds, slice, patience) = match self.effort {
            Effort::Full => (ROUNDS, SLICE, PATIENCE),
            Effort::Smoke => (1, Duration::ZERO, Duration::ZERO),
        };
        let (mut kept, mut tried, start) = (vec![Vec::new(); count], 0, Instant::now());
        for round in 0..rounds {
            let mut nanos = vec![f64::NAN; count];
            for i in (0..count).map(|turn| (round + turn) % count) {
                // A disturbed slice is repeated at once, beside the same neighbours.
                while nanos[i].is_nan() {
                    let timed = case.time(&case.contenders[i].1, slice);
                    tried += 1;
                    if timed.undisturbed {
                        nanos[i] = timed.nanos;
                    } else if start.elapsed() >= patience {
                        break;
                    }
                }
            }
            if nanos.iter().all(|nanos| nanos.is_finite()) {
                kept.iter_mut()
                    .zip(nanos)
                    .for_each(|(kept, nanos)| kept.push(nanos));
            }
        }
        self.add_rows(case, &kept, tried);
    }

    fn add_rows(&mut self, case: &Case, kept: &[Vec<f64>], tried: usize) {
        let slices = (kept[0].len() * kept.len(), tried);
        for (i, (contender, _)) in case.contenders.iter().enumerate() {
            let ratio = (i > 0).then(|| {
                Spread::of(
                    kept[0]
                        .iter()
                        .zip(&kept[i])
                        .map(|(ours, theirs)| ours / theirs),
                )
            });
            let nanos = Spread::of(kept[i].iter().copied());
            let verdict = match (case.goal, &ratio) {
                (Some(Goal::Ratio { beside, at_most }), Some(ratio)) if beside == *contender => {
                    Some(verdict(ratio.median, at_most, "x", kept[0].len()))
                }
                (Some(Goal::Nanos { at_most }), None) => {
                    Some(verdict(nanos.median, at_most, " ns", kept[0].len()))
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
                slices,
                nanos,
                ratio,
                verdict,
            });
        }
    }

    /// One JSON object a line, for `bench-peers`: the first contender of a case is ours.
    pub(crate) fn print_lines(&self) {
        for row in &self.rows {
            let line = serde_json::json!({
                "case": row.case,
                "contender": row.contender,
                "ours": row.ratio.is_none(),
                "median": row.nanos.median,
            });
            println!("{line}");
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
            "median [least..most] over rounds of undisturbed slices of {SLICE:?}; ratio: ours / theirs within a round"
        );
        println!();
        println!("| case | slices kept / run | contender | ns | ratio | goal |");
        println!("|---|---|---|---|---|---|");
        for row in &self.rows {
            let ratio = row
                .ratio
                .as_ref()
                .map(Spread::to_string)
                .unwrap_or_default();
            let verdict = row.verdict.as_deref().unwrap_or_default();
            let (kept, tried) = row.slices;
            println!(
                "| {} | {kept} / {tried} | {} | {} | {ratio} | {verdict} |",
                row.case, row.contender, row.nanos
            );
        }
    }
}

fn verdict(median: f64, at_most: f64, unit: &str, rounds: usize) -> String {
    let word = match median {
        _ if rounds < ROUNDS_AT_LEAST => "machine too busy",
        median if median <= at_most => "held",
        _ => "missed",
    };
    format!("<= {at_most}{unit}: {word}")
}

/// How often the calling thread had to leave its CPU against its will.
fn preemptions() -> i64 {
    // SAFETY: all zeros is a valid rusage, which consists of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid rusage that outlives the call, and is only written to.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(answer, 0, "every Linux knows this thread's usage");
    usage.ru_nivcsw
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            min: at(0),
            max: at(values.len().saturating_sub(1)),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} [{:.3}..{:.3}]", self.median, self.min, self.max)
    }
}
