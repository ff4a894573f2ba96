//! Hostile peers against the lameduck demo: what they cost it, whom they disturb, whether they can hold its exit.
//!
//! Owns: the arguments, the order of an attack's parts, the tables. Not here: the attacks and the honest clients (library), what
//! a measurement means (`lameduck_benches::siege`).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lameduck_benches::hostile::{self, Attack};
use lameduck_benches::siege::{self, Finding, Row, Siege};
use lameduck_benches::target::Demo;
use lameduck_benches::{descriptors, launch};

/// Descriptors that are kept for everything but the hostile connections.
const RESERVED: u64 = 512;

#[derive(Debug, Parser)]
#[command(
    about = "Attacks the lameduck demo on loopback while honest clients use it, then stops it in the midst of the attack"
)]
struct Args {
    /// Attacks to play, by name [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// List the attacks and play none
    #[arg(long)]
    list: bool,
    /// Most peers of one attack
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    peers: u64,
    /// How long an attack goes on once all its peers are there, in seconds
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    hold: u64,
    /// Grace period of the demo, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(4..=120))]
    grace: u64,
    /// A protocol that the demo does not speak is an error, not left out
    #[arg(long)]
    require_all: bool,
    /// The lameduck binary [default: beside this one, or target/release/lameduck]
    #[arg(long, value_name = "PATH")]
    lameduck: Option<PathBuf>,
    /// Write the table here as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write one JSON object for each attack here
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for attack in hostile::catalogue() {
            println!(
                "{:<16} {:>6} peers  {:<13}  {}",
                attack.name,
                attack.peers,
                attack.speaks.to_string(),
                attack.about
            );
        }
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Plays all attacks that are asked for; returns how many broke a criterion.
fn run(args: &Args) -> Result<usize, Box<dyn std::error::Error>> {
    let attacks = chosen(&args.only)?;
    let program = launch::lameduck_binary(args.lameduck.as_deref());
    if !program.is_file() {
        let hint = "hint: cargo build --release, or --lameduck PATH";
        return Err(format!("no lameduck binary at {}\n{hint}", program.display()).into());
    }
    let most_peers = peers_allowed(args.peers);
    let demo = Demo::learn(&program)?;
    for missing in demo.lacks() {
        if args.require_all {
            return Err(format!("the demo does not speak {missing}").into());
        }
        eprintln!("left out: {missing}, which the demo does not speak");
    }
    let mut jsonl = open(args.jsonl.as_ref())?;
    let mut rows = Vec::new();
    let siege = Siege {
        grace: Duration::from_secs(args.grace),
        hold: Duration::from_secs(args.hold),
    };
    println!("{}", siege::heading());
    for attack in attacks.iter().filter(|attack| demo.speaks(attack.speaks)) {
        let peers = attack.peers.min(most_peers);
        let row = siege.lay(&demo, attack, peers)?;
        println!("{row}");
        for finding in &row.findings {
            eprintln!("BROKEN {}: {finding}", attack.name);
        }
        if let Some(file) = &mut jsonl {
            serde_json::to_writer(&mut *file, &row)?;
            writeln!(file)?;
            file.flush()?;
        }
        rows.push(row);
    }
    if let Some(mut file) = open(args.markdown.as_ref())? {
        write!(file, "{}", siege::markdown(&rows))?;
        file.flush()?;
    }
    let broken = rows.iter().filter(|row| !row.findings.is_empty()).count();
    println!("{}", sentence(&rows, broken));
    Ok(broken)
}

fn sentence(rows: &[Row], broken: usize) -> String {
    let sent: u64 = rows.iter().map(|row| row.honest.sent).sum();
    let lost: u64 = rows.iter().map(|row| row.honest.lost).sum();
    let findings: usize = rows.iter().map(|row| row.findings.len()).sum();
    let lossy = rows
        .iter()
        .flat_map(|row| &row.findings)
        .filter(|finding| matches!(finding, Finding::Lost(_)))
        .count();
    format!(
        "{} attacks, {broken} broke a criterion ({findings} findings, {lossy} of them losses); honest clients lost {lost} of {sent}",
        rows.len()
    )
}

fn chosen(names: &[String]) -> Result<Vec<Attack>, String> {
    let all = hostile::catalogue();
    if let Some(unknown) = names
        .iter()
        .find(|name| all.iter().all(|attack| attack.name != **name))
    {
        return Err(format!("no attack {unknown}\nhint: --list names them"));
    }
    let wanted = |attack: &Attack| names.is_empty() || names.iter().any(|name| name == attack.name);
    Ok(all.into_iter().filter(wanted).collect())
}

/// Raises the limit on descriptors, for us and so for the demo, and says how many peers it leaves room for.
fn peers_allowed(wanted: u64) -> usize {
    let limit = descriptors::raise(wanted + RESERVED);
    let allowed = wanted.min(limit.saturating_sub(RESERVED));
    if allowed < wanted {
        eprintln!(
            "only {limit} descriptors can be had: at most {allowed} peers instead of {wanted}"
        );
    }
    usize::try_from(allowed).expect("at most ten thousand")
}

fn open(path: Option<&PathBuf>) -> io::Result<Option<BufWriter<File>>> {
    path.map(File::create)
        .transpose()
        .map(|file| file.map(BufWriter::new))
}
