//! Random load, random instants, random signals: nothing that was promised may be lost.
//!
//! Owns: the arguments, the worker threads that play rounds, progress, and what is said about a round that failed.
//! Not here: the plan of a round and the clients (library).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use lameduck_benches::engine::{self, Load, Round};
use lameduck_benches::launch::{self, GRACE};
use lameduck_benches::plan::Plan;
use lameduck_benches::server::{self, Server, describe};
use lameduck_benches::tally::{Loss, Tally};

/// How long clients and server may take after the last signal; the grace period is over long before.
const PATIENCE: Duration = Duration::from_secs(8);
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
    /// The lameduck binary [default: beside this one, or target/release/lameduck]
    #[arg(long, value_name = "PATH")]
    lameduck: Option<PathBuf>,
}

/// What was wrong with a round, or that nothing was.
struct Verdict {
    round: u64,
    tally: Tally,
    exit_after: Option<Duration>,
    complaints: Vec<String>,
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
    let started = Instant::now();
    let mut sum = Sum::default();
    let next = AtomicU64::new(rounds.start);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.min(rounds.end - rounds.start) {
            let (tell, next, rounds, program) = (tell.clone(), &next, &rounds, &program);
            scope.spawn(move || {
                loop {
                    // Relaxed: each round is taken once, nothing is published through the counter.
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= rounds.end {
                        break;
                    }
                    let plan = Plan::draw(seed, round);
                    if args.verbose {
                        eprint!("{plan}");
                    }
                    let verdict = play(&plan, program);
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

fn seed_of_the_clock() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Short enough to be typed again.
    u64::from(now.subsec_nanos()) ^ (now.as_secs() & 0xFFFF_FFFF)
}

fn play(plan: &Plan, program: &Path) -> Verdict {
    let unplayed = |complaint: String| Verdict {
        round: plan.round,
        tally: Tally::default(),
        exit_after: None,
        complaints: vec![complaint],
    };
    let address = match server::free_address() {
        Ok(address) => address,
        Err(error) => return unplayed(format!("no free port: {error}")),
    };
    let further = ["--repeat", plan.repeats.argument()];
    let launch = launch::lameduck(program, address, plan.window.argument, &further);
    let mut server = match Server::start(&launch) {
        Ok(server) => server,
        Err(error) => return unplayed(error.to_string()),
    };
    let load = Load {
        scripts: plan.scripts.clone(),
        signals: plan.signals.clone(),
        patience: PATIENCE,
    };
    match engine::run(&load, &mut server) {
        Ok(round) => judge(plan, round, &server),
        Err(error) => unplayed(format!("no poll descriptor: {error}")),
    }
}

/// Says all that a round did that a lame duck must not do.
fn judge(plan: &Plan, round: Round, server: &Server) -> Verdict {
    let tally = round.tally;
    let mut complaints: Vec<String> = tally
        .losses(round.signalled_at)
        .iter()
        .map(Loss::to_string)
        .collect();
    if tally.losses_dropped() > 0 {
        complaints.push(format!("{} more lost", tally.losses_dropped()));
    }
    let mut complain = |count: u64, what: &str| {
        if count > 0 {
            complaints.push(format!("{count} {what}"));
        }
    };
    complain(
        tally.refused_before_signal,
        "connects refused before the signal",
    );
    complain(
        tally.accepted_after_refused,
        "connections accepted although begun after a refused connect",
    );
    complain(
        tally.dropped_fresh,
        "new connections accepted, then closed before their first byte",
    );
    complain(tally.connects_hung, "connects neither accepted nor refused");
    complain(
        tally.local_failures,
        "connects failed for want of a port or descriptor of our own",
    );
    match (
        round.exit_after,
        round.status.and_then(|status| status.code()),
    ) {
        (Some(after), Some(0)) if after <= GRACE => {}
        (after, _) => complaints.push(format!(
            "ended by {} after {after:?}, instead of exit 0 within {GRACE:?}",
            round.status.map_or_else(|| "nothing".to_owned(), describe)
        )),
    }
    if !complaints.is_empty() {
        let stderr = server.stderr();
        if !stderr.is_empty() {
            complaints.push(format!("its stderr: {}", stderr.trim_end()));
        }
    }
    Verdict {
        round: plan.round,
        tally,
        exit_after: round.exit_after,
        complaints,
    }
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
    refused_503: u64,
    beyond_promise: u64,
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
        self.refused_503 += verdict.tally.refused_503;
        self.beyond_promise += verdict.tally.beyond_promise;
        self.slowest_exit = self
            .slowest_exit
            .max(verdict.exit_after.unwrap_or_default());
        for (label, count) in &verdict.tally.kinds {
            let (sent, lost) = self.kinds.entry(label).or_default();
            *sent += count.sent;
            *lost += count.lost;
        }
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

    fn sentence(&self, seed: u64, took: Duration) -> String {
        let mut text = format!(
            "LOST {} of {} requests in {} rounds ({} rounds failed), seed {seed}, {:.0} s\n\
             {} answered after the signal, {} connects refused, {} retry-safe refusals, slowest exit {:.2} s after it\n\
             {} lost on connections idle longer than promised (a figure, no failure)",
            self.lost,
            self.sent,
            self.rounds,
            self.failed,
            took.as_secs_f64(),
            self.served_after_signal,
            self.refused,
            self.refused_503,
            self.slowest_exit.as_secs_f64(),
            self.beyond_promise,
        );
        for (label, (sent, lost)) in &self.kinds {
            let _ = write!(text, "\n  {label:<20} {sent:>8} sent {lost:>4} lost");
        }
        text
    }
}
