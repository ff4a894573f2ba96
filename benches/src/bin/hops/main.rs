//! Two hops, each replaced at random instants under load: client → front → back. Nothing may be lost or done twice.
//!
//! | module | owns |
//! |---|---|
//! | this one | the arguments, the rounds, the verdict |
//! | `service` | the front and the back: hooks, truncation, breaker, client and pool in use |
//! | `walker` | clients of the front, and what became of their requests |
//! | `ledger` | what a service writes down of each request, and how it is read |

mod ledger;
mod service;
mod walker;

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use lameduck_benches::rng::Rng;
use lameduck_benches::server::{self, Launch, Ready, Server, Signal};

use ledger::Book;
use walker::Walks;

type Failure = Box<dyn Error + Send + Sync>;

/// How long a service may take from its signal to its exit.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// How long clients walk before the first replacement, and after the last.
const AROUND: Duration = Duration::from_millis(300);
const MOST_ROUNDS: u64 = 10_000;

#[derive(Debug, Parser)]
#[command(
    about = "Replaces both of two services under load, at random instants; any loss, and any request done twice, is a failure"
)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Rounds to play
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=MOST_ROUNDS))]
    rounds: u64,
    /// Seed of all rounds [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Clients at a time
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=200))]
    clients: u64,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// One of the services, as this program starts them
    #[command(hide = true)]
    Serve(service::ServiceArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.role {
        Some(Role::Serve(args)) => return service::serve(args),
        None => play(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn play(args: &Args) -> Result<bool, Failure> {
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    let began = Instant::now();
    let mut sum = Sum::default();
    for round in 0..args.rounds {
        let scratch = Scratch::new(round)?;
        let found = play_round(Rng::child(seed, round), args.clients, &scratch.0)?;
        for complaint in &found.complaints {
            println!("round {round} of seed {seed}: {complaint}");
        }
        sum.add(found);
        eprintln!(
            "{} of {} rounds, {} requests, {} lost, {:.0} s",
            round + 1,
            args.rounds,
            sum.answered,
            sum.lost,
            began.elapsed().as_secs_f64()
        );
    }
    println!(
        "two hops: {} requests through {} replacements in {} rounds: {} lost, {} refused, {} complaints (seed {seed}, {:.0} s)",
        sum.answered,
        sum.replaced,
        args.rounds,
        sum.lost,
        sum.refused,
        sum.complaints,
        began.elapsed().as_secs_f64()
    );
    Ok(sum.lost == 0 && sum.complaints == 0 && sum.refused == 0)
}

fn seed_of_the_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs())
}

#[derive(Debug, Default)]
struct Sum {
    answered: u64,
    lost: u64,
    refused: u64,
    replaced: u64,
    complaints: usize,
}

impl Sum {
    fn add(&mut self, found: Found) {
        self.answered += found.answered;
        self.lost += found.lost;
        self.refused += found.refused;
        self.replaced += found.replaced;
        self.complaints += found.complaints.len();
    }
}

/// What one round came to.
#[derive(Debug, Default)]
struct Found {
    answered: u64,
    lost: u64,
    refused: u64,
    replaced: u64,
    complaints: Vec<String>,
}

/// A directory of one round, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(round: u64) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("hops-{}-{round}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One of the two places in which a service stands, and is replaced.
struct Post {
    role: &'static str,
    further: Vec<OsString>,
    directory: PathBuf,
    books: Vec<PathBuf>,
    now: Server,
}

impl Post {
    fn fill(role: &'static str, further: Vec<OsString>, directory: &Path) -> Result<Self, Failure> {
        let mut books = Vec::new();
        let now = start(role, &further, directory, &mut books)?;
        Ok(Self {
            role,
            further,
            directory: directory.to_owned(),
            books,
            now,
        })
    }

    /// Starts a successor; whom it relieves.
    fn replace(&mut self) -> Result<Server, Failure> {
        let next = start(self.role, &self.further, &self.directory, &mut self.books)?;
        Ok(std::mem::replace(&mut self.now, next))
    }
}

fn start(
    role: &str,
    further: &[OsString],
    directory: &Path,
    books: &mut Vec<PathBuf>,
) -> Result<Server, Failure> {
    let address = server::free_address()?;
    let book = directory.join(format!("{role}-{}", books.len()));
    let mut args: Vec<OsString> = vec!["serve".into(), role.into(), address.to_string().into()];
    args.extend(["--book".into(), book.clone().into()]);
    args.extend(further.iter().cloned());
    let launch = Launch {
        program: std::env::current_exe()?.into(),
        args,
        address,
        ready: Ready::Line,
    };
    let server = Server::start(&launch)?;
    books.push(book);
    Ok(server)
}

fn play_round(mut rng: Rng, clients: u64, directory: &Path) -> Result<Found, Failure> {
    let next = directory.join("next");
    let protocol = *rng.pick(&["http1", "http2"]);
    let mut back = Post::fill("back", Vec::new(), directory)?;
    ledger::publish(&next, back.now.address())?;
    let further = ["--next".into(), next.clone().into()];
    let further = further
        .into_iter()
        .chain(["--speech".into(), protocol.into()]);
    let mut front = Post::fill("front", further.collect(), directory)?;
    let door = Arc::new(RwLock::new(front.now.address()));
    let walks = Walks::begin(clients, &door, rng.next());
    thread::sleep(AROUND);
    let mut found = Found::default();
    let mut leaving = Vec::new();
    for _ in 0..rng.within(2..=4) {
        let which = rng.within(0..=2);
        // 0: the back, 1: the front, 2: both at the same time.
        if which != 1 {
            let mut old = back.replace()?;
            ledger::publish(&next, back.now.address())?;
            old.signal(Signal::Terminate);
            leaving.push(old);
        }
        if which != 0 {
            let mut old = front.replace()?;
            *door.write().expect("no walker panics with it") = front.now.address();
            old.signal(Signal::Terminate);
            leaving.push(old);
        }
        found.replaced += 1 + u64::from(which == 2);
        thread::sleep(rng.duration(Duration::ZERO..=Duration::from_millis(900)));
    }
    thread::sleep(AROUND);
    let walked = walks.end();
    let (books_front, books_back) = (front.books.clone(), back.books.clone());
    let mut last = [front.now, back.now];
    for server in &mut last {
        server.signal(Signal::Terminate);
    }
    leaving.extend(last);
    for mut server in leaving {
        found.complaints.extend(farewell(&mut server));
    }
    let (front, back) = (Book::read(&books_front)?, Book::read(&books_back)?);
    found.complaints.extend(front.complaints("front"));
    found.complaints.extend(back.complaints("back"));
    found.complaints.extend(walked.complaints());
    for (id, fate) in &walked.fates {
        match fate {
            walker::Fate::Answered => found.answered += 1,
            walker::Fate::Refused(_) => found.refused += 1,
            walker::Fate::Lost(_) => found.lost += 1,
        }
        let is_answered = matches!(fate, walker::Fate::Answered);
        for (name, book) in [("front", &front), ("back", &back)] {
            let done = book.done(*id);
            if done > 1 || is_answered && done == 0 {
                let complaint = format!("request {id} was done {done} times at the {name}");
                found.complaints.push(complaint);
            }
        }
    }
    Ok(found)
}

/// What is wrong with how a service left.
fn farewell(server: &mut Server) -> Option<String> {
    if server.wait_exit(GONE_WITHIN).is_none() {
        return Some(format!(
            "a service was still there {GONE_WITHIN:?} after its signal"
        ));
    }
    let status = server.exit_status().expect("it has ended");
    (!status.success()).then(|| {
        let words = server.last_words(Duration::from_secs(1));
        format!("a service left with {}: {words}", server::describe(status))
    })
}

/// Counts by name.
type Tally = BTreeMap<String, u64>;
