//! lameduck beside its peers: `peers measure` for the page, `peers check` against the committed baseline.
//!
//! Owns: the arguments, the order of the figures, and what is written where. Not here: how anything is measured, judged or
//! drawn (library, `compare`).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lameduck_benches::compare::baseline::{Baseline, Finding};
use lameduck_benches::compare::contender::Stage;
use lameduck_benches::compare::figures::{self, Bench, Cast, Effort, Failure, Figure};
use lameduck_benches::compare::goals::{self, Judged};
use lameduck_benches::compare::record::Record;
use lameduck_benches::compare::{page, plot};

const PAGE: &str = "docs/benchmarks.md";
const DIRECTORY: &str = "docs/benchmarks";
const BASELINE: &str = "docs/benchmarks/baseline.json";
const GO: &str = "target/peers/go-app";
/// What a check measures unless told otherwise: what a change makes worse without anybody noticing.
const CHECKED: [&str; 4] = ["cpu", "memory", "departure", "broadcast"];
/// Runs of a check, for noise and for ratios.
const CHECK_RUNS: u32 = 3;

#[derive(Debug, Parser)]
#[command(about = "lameduck beside its peers, figure by figure")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures, and writes raw data, plots, the baseline and the page's measured part
    Measure(Measure),
    /// Measures lameduck's own noise, then the ratios; fails where one is worse than the baseline
    Check(Choice),
    /// Draws plots and page again from the raw data that is there
    Page,
    /// Names the figures
    List,
}

#[derive(Debug, Args)]
struct Measure {
    #[command(flatten)]
    choice: Choice,
    /// One run of everything: to see that it works
    #[arg(long)]
    quick: bool,
    /// Leave the repository's files alone: raw data, page and plots go here
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Write the functions of each profile, the dearest first, here
    #[arg(long, value_name = "DIRECTORY")]
    profiles: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Choice {
    /// These figures only
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Runs of what takes turns
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
}

impl Choice {
    fn figures(&self, otherwise: &[&str]) -> Result<Vec<Figure>, Failure> {
        let wanted: Vec<&str> = match self.only[..] {
            [] => otherwise.to_vec(),
            _ => self.only.iter().map(String::as_str).collect(),
        };
        let find = |name: &&str| {
            let found = figures::ALL.iter().find(|figure| figure.name == *name);
            found
                .copied()
                .ok_or_else(|| format!("no figure {name}; `peers list` names them").into())
        };
        wanted.iter().map(find).collect()
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Measure(measure) => measure.run(),
        Command::Check(choice) => check(&choice),
        Command::Page => publish(&Outlet::published()),
        Command::List => {
            for figure in figures::ALL {
                println!("{:10} {}", figure.name, figure.title);
            }
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

/// Where results go.
struct Outlet {
    directory: PathBuf,
    page: PathBuf,
    baseline: PathBuf,
}

impl Outlet {
    fn published() -> Self {
        Self {
            directory: DIRECTORY.into(),
            page: PAGE.into(),
            baseline: BASELINE.into(),
        }
    }

    fn apart(directory: PathBuf) -> Self {
        Self {
            page: directory.join("page.md"),
            baseline: directory.join("baseline.json"),
            directory,
        }
    }
}

impl Measure {
    fn run(self) -> Result<ExitCode, Failure> {
        let all: Vec<&str> = figures::ALL.iter().map(|figure| figure.name).collect();
        let chosen = self.choice.figures(&all)?;
        let mut effort = if self.quick {
            Effort::QUICK
        } else {
            Effort::FULL
        };
        effort.runs = self.choice.runs.unwrap_or(effort.runs);
        let outlet = self.out.map_or_else(Outlet::published, Outlet::apart);
        for directory in [Some(&outlet.directory), self.profiles.as_ref()]
            .into_iter()
            .flatten()
        {
            std::fs::create_dir_all(directory)?;
        }
        let record = Record::new(Some(&outlet.directory));
        let mut bench = Bench::new(Stage::set(Path::new(GO))?, record, effort);
        bench.profiles = self.profiles;
        tell_missing(&bench);
        let mut failed = false;
        for figure in &chosen {
            eprintln!("{}", figure.title);
            // One that cannot be measured does not keep the others from it.
            if let Err(error) = bench.measure(figure) {
                eprintln!("error: {}: {error}", figure.name);
                failed = true;
            }
        }
        publish(&outlet)?;
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn tell_missing(bench: &Bench) {
    for (contender, why) in bench.stage.missing() {
        eprintln!("{} is missing: {why}", contender.name());
    }
    eprintln!("{} contenders missing", bench.stage.missing().len());
}

/// Plots, baseline and page, from all raw data that there is.
fn publish(outlet: &Outlet) -> Result<ExitCode, Failure> {
    let names = figures::ALL.iter().map(|figure| figure.name);
    let record = Record::read(&outlet.directory, names)?;
    let goals = goals::all();
    let judged: Vec<Judged> = goals
        .iter()
        .filter_map(|goal| goal.judge(&record))
        .collect();
    for figure in figures::ALL {
        let tables = page::tables(figure.name, &record);
        let drawn: Vec<_> = tables
            .iter()
            .filter(|table| figure.plotted.contains(&table.measure))
            .collect();
        if !drawn.is_empty() {
            let file = outlet.directory.join(figure.name).with_extension("svg");
            std::fs::write(file, plot::draw(figure.title, &drawn))?;
        }
    }
    Baseline::of(&judged).write(&outlet.baseline)?;
    let measured = page::write(figures::ALL, &goals, &record);
    let text = match std::fs::read_to_string(&outlet.page) {
        Ok(page) => page::splice(&page, &measured)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => page::alone(&measured),
        Err(error) => return Err(error.into()),
    };
    std::fs::write(&outlet.page, text)?;
    let held = judged.iter().filter(|one| one.held()).count();
    eprintln!(
        "{held} of {} goals held; {}",
        judged.len(),
        outlet.page.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn check(choice: &Choice) -> Result<ExitCode, Failure> {
    let chosen = choice.figures(&CHECKED)?;
    let baseline = Baseline::read(Path::new(BASELINE))
        .map_err(|error| format!("{BASELINE}: {error}\nhint: `just bench-peers` writes it"))?;
    let effort = Effort {
        runs: choice.runs.unwrap_or(CHECK_RUNS),
        load_runs: CHECK_RUNS,
        ..Effort::FULL
    };
    let goals = goals::all();
    let mut bench = Bench::new(Stage::set(Path::new(GO))?, Record::new(None), effort);
    tell_missing(&bench);
    eprintln!("noise first: lameduck beside itself");
    bench.cast = Cast::Ourselves;
    chosen.iter().try_for_each(|figure| bench.measure(figure))?;
    let noise: HashMap<String, f64> = goals
        .iter()
        .filter_map(|goal| Some((goal.measured(), goal.noise(&bench.record)?)))
        .collect();
    bench.record = Record::new(None);
    bench.cast = Cast::All;
    for figure in &chosen {
        eprintln!("{}", figure.title);
        bench.measure(figure)?;
    }
    let mut worse = 0;
    let mut compared = 0;
    for judged in goals.iter().filter_map(|goal| goal.judge(&bench.record)) {
        let noise = noise.get(&judged.goal.measured()).copied().unwrap_or(0.0);
        let Some(comparison) = baseline.compare(&judged, noise) else {
            continue;
        };
        compared += 1;
        worse += usize::from(comparison.finding == Finding::Worse);
        println!("{comparison}");
    }
    if compared == 0 {
        return Err("the baseline has none of these figures".into());
    }
    println!("{worse} of {compared} figures are worse than the baseline");
    Ok(if worse == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
