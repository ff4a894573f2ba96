//! Random load, random instants, random signals: nothing that was promised may be lost.
//!
//! Owns: the arguments, the worker threads that play rounds, progress, and what is said about a round that failed.
//! Not here: the plan of a round, its clients and its verdict (library).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use lameduck_benches::launch;
use lameduck_benches::plan::Plan;
use lameduck_benches::round::{self, Verdict};
use lameduck_benches::target::Demo;

/// Most failed rounds that are told in detail.
const MOST_TOLD: u64 = 10;
const MOST_ROUNDS: u64 = 100_000;

#[derive(Debug, Parser)]
#[command(
    about = "Stops the lameduck demo at random instants under random load; any loss is a failure"
)]
struct Args {
    /// Rounds to play
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=MOST_ROUNDS))]
    rounds: u64,
    /// Seed of all plans [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Play only this round of the seed
    #[arg(long)]
    round: Option<u64>,
    /// Print the plans and play nothing
    #[arg(long)]
    plan: bool,
    /// Print each plan before it is played
    #[arg(long)]
    verbose: bool,
    /// Rounds played at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    /// A protocol that the demo does not speak is an error, not left out
    #[arg(long)]
    require_all: bool,
    /// No hostile peers
    #[arg(long)]
    no_hostile: bool,
    /// The lameduck binary [default: beside this one, or target/release/lameduck]
    #[arg(long, value_name = "PATH")]
    lameduck: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    let rounds = args.round.map_or(0..args.rounds, |round| round..round + 1);
    if args.plan {
        for round in rounds {
            print!("{}", Plan::draw(seed, round));
        }
        return ExitCode::SUCCESS;
    }
    let program = launch::lameduck_binary(args.lameduck.as_deref());
    if !program.is_file() {
        eprintln!("error: no lameduck binary at {}", program.display());
        eprintln!("hint: cargo build --release, or --lameduck PATH");
        return ExitCode::from(2);
    }
    let demo = match learn(&program, args.require_all) {
        Ok(demo) => demo,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let mut sum = Sum::default();
    let next = AtomicU64::new(rounds.start);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.min(rounds.end - rounds.start) {
            let (tell, next, rounds, demo) = (tell.clone(), &next, &rounds, &demo);
            let args = &args;
            scope.spawn(move || {
                loop {
                    // Relaxed: each round is taken once, nothing is published through the counter.
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= rounds.end {
                        break;
                    }
                    let verdict = play(args, demo, seed, round);
                    tell.send(verdict)
                        .expect("the main thread listens until all workers are done");
                }
            });
        }
        drop(tell);
        let total = rounds.end - rounds.start;
        for verdict in told {
            sum.add(&verdict, seed);
            if sum.rounds.is_multiple_of(10) || sum.rounds == total {
                eprintln!(
                    "{} of {total} rounds, {} requests, {} lost, {:.0} s",
                    sum.rounds,
                    sum.sent,
                    sum.lost,
                    started.elapsed().as_secs_f64()
                );
            }
        }
    });
    println!("{}", sum.sentence(seed, started.elapsed()));
    if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn play(args: &Args, demo: &Demo, seed: u64, round: u64) -> Verdict {
    let mut plan = Plan::draw(seed, round);
    if args.no_hostile {
        plan.hostile.clear();
    }
    plan.keep_what(|speech| demo.speaks(speech));
    if args.verbose {
        eprint!("{plan}");
    }
    round::play(&plan, demo)
}

/// Asks the demo what it speaks; what it lacks is left out, and said.
fn learn(program: &std::path::Path, require_all: bool) -> Result<Demo, String> {
    let demo = Demo::learn(program).map_err(|error| error.to_string())?;
    for missing in demo.lacks() {
        if require_all {
            return Err(format!("the demo does not speak {missing}"));
        }
        eprintln!("left out: {missing}, which the demo does not speak");
    }
    Ok(demo)
}

fn seed_of_the_clock() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Short enough to be typed again.
    u64::from(now.subsec_nanos()) ^ (now.as_secs() & 0xFFFF_FFFF)
}

/// What all rounds so far add up to.
#[derive(Default)]
struct Sum {
    rounds: u64,
    failed: u64,
    sent: u64,
    lost: u64,
    served_after_signal: u64,
    refused: u64,
    refused_retry_safe: u64,
    beyond_promise: u64,
    crossed: u64,
    hostile: u64,
    slowest_exit: Duration,
    kinds: std::collections::BTreeMap<&'static str, (u64, u64)>,
}

impl Sum {
    fn add(&mut self, verdict: &Verdict, seed: u64) {
        self.rounds += 1;
        self.sent += verdict.tally.sent;
        self.lost += verdict.tally.lost();
        self.served_after_signal += verdict.tally.served_after_signal;
        self.refused += verdict.tally.refused;
        self.refused_retry_safe += verdict.tally.refused_503;
        self.beyond_promise += verdict.tally.beyond_promise;
        self.slowest_exit = self
            .slowest_exit
            .max(verdict.exit_after.unwrap_or_default());
        for (label, count) in &verdict.tally.kinds {
            self.count(label, count.sent, count.lost);
        }
        for (label, count) in &verdict.others {
            self.count(label, count.sent, count.lost);
            self.sent += count.sent;
            self.lost += count.lost;
            self.beyond_promise += count.beyond;
            self.crossed += count.crossed;
            self.refused_retry_safe += count.refused;
        }
        self.hostile += verdict.hostile;
        if verdict.complaints.is_empty() {
            return;
        }
        self.failed += 1;
        if self.failed <= MOST_TOLD {
            eprintln!(
                "FAILED round {}: `chaos --seed {seed} --round {}`",
                verdict.round, verdict.round
            );
            for complaint in &verdict.complaints {
                eprintln!("  {complaint}");
            }
        } else if self.failed == MOST_TOLD + 1 {
            eprintln!("FAILED more than {MOST_TOLD} rounds; the others are only counted");
        }
    }

    fn count(&mut self, label: &'static str, sent: u64, lost: u64) {
        let (all_sent, all_lost) = self.kinds.entry(label).or_default();
        *all_sent += sent;
        *all_lost += lost;
    }

    fn sentence(&self, seed: u64, took: Duration) -> String {
        let mut text = format!(
            "LOST {} of {} requests in {} rounds ({} rounds failed), seed {seed}, {:.0} s\n\
             {} answered after the signal, {} connects refused, {} retry-safe refusals, slowest exit {:.2} s after it\n\
             {} lost on connections idle longer than promised, {} messages crossed a Close (figures, no failures)\n\
             {} hostile connections",
            self.lost,
            self.sent,
            self.rounds,
            self.failed,
            took.as_secs_f64(),
            self.served_after_signal,
            self.refused,
            self.refused_retry_safe,
            self.slowest_exit.as_secs_f64(),
            self.beyond_promise,
            self.crossed,
            self.hostile,
        );
        for (label, (sent, lost)) in &self.kinds {
            let _ = write!(text, "\n  {label:<26} {sent:>8} sent {lost:>4} lost");
        }
        text
    }
}
