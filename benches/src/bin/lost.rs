//! Requests lost at SIGTERM, in four load modes, servers beside each other inside every run.
//!
//! Owns: the arguments, the order of the rounds, the tables and the raw record. Not here: the clients (library).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use lameduck_benches::engine::{self, Load, Round};
use lameduck_benches::launch::{self, Nginx};
use lameduck_benches::modes::Mode;
use lameduck_benches::rng::Rng;
use lameduck_benches::server::{self, Launch, Server, Signal, describe};
use lameduck_benches::stats::{Spread, cell, row};
use lameduck_benches::tally::Loss;
use serde::Serialize;

/// How long clients and server may take after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(12);
const MOST_RUNS: u64 = 1_000;
/// Most losses of the candidate that are printed in words.
const MOST_PRINTED: usize = 20;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// `lameduck demo --window local --grace 4s`
    Lameduck,
    /// hyper under hyper-util's GracefulShutdown
    HyperUtil,
    /// `axum::serve` with graceful shutdown
    Axum,
    /// nginx with two workers, stopped by SIGQUIT
    Nginx,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Lameduck => "lameduck demo",
            Self::HyperUtil => "hyper + hyper-util GracefulShutdown",
            Self::Axum => "axum::serve",
            Self::Nginx => "nginx SIGQUIT",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Nginx => Signal::Quit,
            _ => Signal::Terminate,
        }
    }
}

#[derive(Debug, Parser)]
#[command(about = "Requests lost at SIGTERM in four load modes, beside peers in the same run")]
struct Args {
    /// Runs of each mode and server
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=MOST_RUNS))]
    runs: u64,
    /// Modes: letters of a, b, c, d, or `all`
    #[arg(long, default_value = "all", value_parser = parse_modes)]
    modes: Modes,
    /// Servers, in the order of the tables
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["lameduck", "hyper-util", "axum"])]
    servers: Vec<Kind>,
    /// The lameduck binary [default: beside this one, or target/release/lameduck]
    #[arg(long, value_name = "PATH")]
    lameduck: Option<PathBuf>,
    /// Window given to lameduck
    #[arg(long, default_value = "local")]
    window: String,
    /// Seed of the signal instants and think times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write one JSON object per round to this file
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Modes(Vec<Mode>);

fn parse_modes(text: &str) -> Result<Modes, String> {
    if text == "all" {
        return Ok(Modes(Mode::ALL.to_vec()));
    }
    let modes = text.chars().filter(|&letter| letter != ',').map(|letter| {
        Mode::ALL
            .into_iter()
            .find(|mode| mode.letter() == letter)
            .ok_or_else(|| format!("no mode {letter:?}"))
    });
    modes.collect::<Result<Vec<_>, _>>().map(Modes)
}

/// One round, as it is written to the raw file.
#[derive(Debug, Serialize)]
struct Record {
    run: u64,
    mode: char,
    server: &'static str,
    sent: u64,
    lost_reused: u64,
    lost_fresh: u64,
    served_after_signal: u64,
    told_close: u64,
    seen_closed: u64,
    refused: u64,
    dropped_fresh: u64,
    accepted_after_refused: u64,
    connects_hung: u64,
    local_failures: u64,
    exit_after_ms: Option<f64>,
    exit: Option<String>,
    losses: Vec<Loss>,
    losses_dropped: u64,
}

impl Record {
    fn new(run: u64, mode: Mode, kind: Kind, round: &Round) -> Self {
        let tally = &round.tally;
        Self {
            run,
            mode: mode.letter(),
            server: kind.name(),
            sent: tally.sent,
            lost_reused: tally.lost_reused,
            lost_fresh: tally.lost_fresh,
            served_after_signal: tally.served_after_signal,
            told_close: tally.told_close,
            seen_closed: tally.seen_closed,
            refused: tally.refused,
            dropped_fresh: tally.dropped_fresh,
            accepted_after_refused: tally.accepted_after_refused,
            connects_hung: tally.connects_hung,
            local_failures: tally.local_failures,
            exit_after_ms: round.exit_after.map(|after| after.as_secs_f64() * 1e3),
            exit: round.status.map(describe),
            losses: tally.losses(round.signalled_at),
            losses_dropped: tally.losses_dropped(),
        }
    }

    fn lost(&self) -> u64 {
        self.lost_reused + self.lost_fresh
    }
}

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(lost) => {
            eprintln!("lameduck lost {lost} requests");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Plays all rounds and prints the tables; returns what lameduck lost.
fn measure(args: &Args) -> Result<u64, Box<dyn std::error::Error>> {
    let mut raw = args
        .raw
        .as_deref()
        .map(File::create)
        .transpose()?
        .map(BufWriter::new);
    let nginx = args
        .servers
        .contains(&Kind::Nginx)
        .then(Nginx::new)
        .transpose()?;
    let mut records = Vec::new();
    for run in 0..args.runs {
        for &mode in &args.modes.0 {
            for position in 0..args.servers.len() {
                // Rotated, so that no server always follows the same one.
                let turn = (position + run as usize) % args.servers.len();
                let kind = args.servers[turn];
                let round = play(args, nginx.as_ref(), run, mode, kind)?;
                let record = Record::new(run, mode, kind, &round);
                if kind == Kind::Lameduck {
                    print_losses(&record);
                }
                if let Some(raw) = &mut raw {
                    serde_json::to_writer(&mut *raw, &record)?;
                    writeln!(raw)?;
                }
                records.push((mode, kind, record));
            }
        }
        eprintln!("run {} of {}", run + 1, args.runs);
    }
    if let Some(raw) = &mut raw {
        raw.flush()?;
    }
    for &mode in &args.modes.0 {
        print_table(mode, &args.servers, &records);
    }
    Ok(records
        .iter()
        .filter(|(_, kind, _)| *kind == Kind::Lameduck)
        .map(|(.., record)| record.lost())
        .sum())
}

fn play(
    args: &Args,
    nginx: Option<&Nginx>,
    run: u64,
    mode: Mode,
    kind: Kind,
) -> Result<Round, Box<dyn std::error::Error>> {
    // The same instants and think times for every server of a run.
    let seed = Rng::child(
        args.seed,
        run * Mode::ALL.len() as u64 + u64::from(mode.letter() as u8),
    )
    .next();
    let at = Rng::new(seed).duration(Duration::from_millis(300)..=Duration::from_millis(500));
    let load = Load {
        scripts: mode.scripts(seed),
        signals: vec![(at, kind.signal())],
        patience: PATIENCE,
    };
    let mut server = Server::start(&launch(args, nginx, kind)?)?;
    Ok(engine::run(&load, &mut server)?)
}

fn launch(args: &Args, nginx: Option<&Nginx>, kind: Kind) -> io::Result<Launch> {
    let address = server::free_address()?;
    match kind {
        Kind::Lameduck => {
            let program = launch::lameduck_binary(args.lameduck.as_deref());
            Ok(launch::lameduck(&program, address, &args.window, &[]))
        }
        Kind::HyperUtil => launch::peer("hyper-util", address),
        Kind::Axum => launch::peer("axum", address),
        Kind::Nginx => nginx
            .expect("made when nginx is among the servers")
            .launch(address),
    }
}

fn print_losses(record: &Record) {
    for loss in record.losses.iter().take(MOST_PRINTED) {
        eprintln!("LOST run {} mode {}: {loss}", record.run, record.mode);
    }
    let unprinted = record.lost().saturating_sub(MOST_PRINTED as u64);
    if unprinted > 0 {
        eprintln!(
            "LOST run {} mode {}: {unprinted} more",
            record.run, record.mode
        );
    }
}

fn print_table(mode: Mode, servers: &[Kind], records: &[(Mode, Kind, Record)]) {
    println!("\n### ({}) {}\n", mode.letter(), mode.title());
    let columns = [
        "server",
        "total lost",
        "lost, reused connection",
        "lost, fresh connection",
        "answered after the signal",
        "told `close`",
        "seen closed while idle",
        "dropped before the first byte",
        "signal → exit, ms",
        "requests",
        "runs",
    ];
    println!("{}", row(&columns.map(str::to_owned)));
    println!("{}", row(&columns.map(|_| "---".to_owned())));
    for &kind in servers {
        let of: Vec<&Record> = records
            .iter()
            .filter(|(other, server, _)| *other == mode && *server == kind)
            .map(|(.., record)| record)
            .collect();
        let counts = |field: fn(&Record) -> u64| {
            cell(Spread::of_counts(of.iter().map(|record| field(record))))
        };
        println!(
            "{}",
            row(&[
                kind.name().to_owned(),
                format!("**{}**", of.iter().map(|record| record.lost()).sum::<u64>()),
                counts(|record| record.lost_reused),
                counts(|record| record.lost_fresh),
                counts(|record| record.served_after_signal),
                counts(|record| record.told_close),
                counts(|record| record.seen_closed - record.dropped_fresh),
                counts(|record| record.dropped_fresh),
                cell(Spread::of_millis(
                    of.iter().filter_map(|record| record.exit_after_ms)
                )),
                of.iter().map(|record| record.sent).sum::<u64>().to_string(),
                of.len().to_string(),
            ])
        );
    }
    let of_mode = || records.iter().filter(move |(other, ..)| *other == mode);
    let odd: u64 = of_mode()
        .map(|(.., record)| {
            record.accepted_after_refused + record.connects_hung + record.local_failures
        })
        .sum();
    let not_exited = of_mode()
        .filter(|(.., record)| record.exit_after_ms.is_none())
        .count();
    println!(
        "\nAccepted after a refused connect, hung connects, failures of the client's own: {odd}. \
         Not exited in {} s: {not_exited}.",
        PATIENCE.as_secs()
    );
}
