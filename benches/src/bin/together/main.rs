//! Groups of five processes that are told to leave at once, again and again, while members are killed and stopped and whoever lends the slots
//! is killed, stopped or cut off. Never two clean-ups, never past the deadline, every straggler named, no slot lent twice.
//!
//! | module | owns |
//! |---|---|
//! | this one | the arguments, the rounds, the verdict |
//! | `member` | one process of the group: participants of every manner, and a clean-up |
//! | `diary` | what a member writes down, and how it is read |
//! | `host`, `etcd` | who lends the slots, and what is done to them |
//! | `judge` | what must hold of a round that is over |

#[cfg(feature = "etcd")]
#[path = "../../../../crates/lameduck-etcd/tests/group/audit.rs"]
#[allow(dead_code, reason = "networks are parted by its own tests")]
mod audit;
#[cfg(feature = "etcd")]
#[path = "../../../../crates/lameduck-etcd/tests/group/cluster.rs"]
#[allow(dead_code, reason = "networks are parted by its own tests")]
mod cluster;
mod diary;
#[cfg(feature = "etcd")]
mod etcd;
mod host;
mod judge;
mod member;
#[cfg(feature = "etcd")]
#[path = "../../../../crates/lameduck-etcd/tests/group/network.rs"]
#[allow(dead_code, reason = "networks are parted by its own tests")]
mod network;
#[cfg(feature = "etcd")]
mod suite;

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand, ValueEnum};
use lameduck_benches::rng::Rng;

use host::Host;
use judge::{Sum, Told};
use member::{Manner, Member};

type Failure = Box<dyn Error + Send + Sync>;

/// How many processes are in a group.
const MEMBERS: u64 = 5;
const MOST_DRAINS: u64 = 100_000;

#[derive(Debug, Parser)]
#[command(
    about = "Tells groups of five processes to leave at once, under kills, delays and partitions; two clean-ups, an exit past the deadline, a straggler without a name or a slot lent twice is a failure"
)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Drains to see; five a round
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=MOST_DRAINS))]
    drains: u64,
    /// Seed of all rounds [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Who lends the slots
    #[arg(long, value_enum, default_value = "unix")]
    lender: Kind,
    /// Slots that the group lends at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=MEMBERS))]
    slots: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// A host on a Unix socket
    Unix,
    /// Three nodes of etcd, whose history is read at the end
    #[cfg(feature = "etcd")]
    Etcd,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// One process of a group, as this program starts it
    #[command(hide = true)]
    Member(member::MemberArgs),
    /// The host of the slots, as this program starts it
    #[command(hide = true)]
    Host(host::HostArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.role.is_some() {
        end_with_parent();
    }
    let outcome = match args.role {
        Some(Role::Member(args)) => return member::run(args),
        Some(Role::Host(args)) => return host::run(args),
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

/// Whoever started this process may fail: nothing of a round outlives it.
fn end_with_parent() {
    // SAFETY: prctl with PR_SET_PDEATHSIG takes a number, no pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

fn play(args: &Args) -> Result<bool, Failure> {
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    let began = Instant::now();
    let mut sum = Sum::default();
    let mut lender: Box<dyn Lender> = match args.lender {
        Kind::Unix => Box::new(Host::new(args.slots)),
        #[cfg(feature = "etcd")]
        Kind::Etcd => Box::new(etcd::Etcd::start(args.slots)?),
    };
    for round in 0..args.drains.div_ceil(MEMBERS) {
        let scratch = Scratch::new(round)?;
        lender.begin(round, &scratch.0)?;
        let told = play_round(Rng::child(seed, round), lender.as_mut(), &scratch.0)?;
        for complaint in sum.add(&told, args.slots) {
            println!("round {round} of seed {seed}: {complaint}");
        }
        eprintln!(
            "{} of {} drains, {} complaints, {:.0} s",
            sum.drains,
            args.drains,
            sum.complaints,
            began.elapsed().as_secs_f64()
        );
    }
    println!(
        "{sum}{} (seed {seed}, {:.0} s)",
        lender.history(),
        began.elapsed().as_secs_f64()
    );
    Ok(sum.complaints == 0)
}

fn seed_of_the_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs())
}

/// A directory of one round, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(round: u64) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("together-{}-{round}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whoever lends the slots.
trait Lender {
    /// Makes ready for a round.
    fn begin(&mut self, round: u64, directory: &Path) -> Result<(), Failure>;
    /// How the members of this round find it.
    fn arguments(&self) -> Vec<OsString>;
    /// Kills it, or a part of it; it is whole again after so long, if it can be.
    fn kill(&mut self, long: Duration) -> Result<(), Failure>;
    /// Gives it, or a part of it, no processor for so long: nobody can reach it.
    fn stop(&mut self, long: Duration);
    /// What it has on record itself, as words for the end; it panics if a slot was oversold.
    fn history(&mut self) -> String;
}

/// What is done to somebody in a round, beside that all are told to leave.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// A member is killed.
    Killed(usize),
    /// A member gets no processor for so long.
    Stopped(usize, Duration),
    /// Who lends is killed, and another one comes after so long.
    LenderKilled(Duration),
    /// Who lends cannot be reached for so long.
    LenderStopped(Duration),
}

fn play_round(mut rng: Rng, lender: &mut dyn Lender, directory: &Path) -> Result<Told, Failure> {
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        let manners = (0..rng.within(1..=4)).map(|_| Manner::drawn(&mut rng));
        members.push(Member::start(
            number,
            &lender.arguments(),
            manners.collect(),
            directory,
        )?);
    }
    let trouble = drawn(&mut rng);
    let spread = rng.duration(Duration::ZERO..=Duration::from_millis(400));
    let mut told_at: Vec<Duration> = (0..MEMBERS)
        .map(|_| rng.duration(Duration::ZERO..=spread))
        .collect();
    told_at.sort_unstable();
    let trouble_at = rng.duration(Duration::ZERO..=Duration::from_millis(1_200));
    let begun = Instant::now();
    let mut trouble = Some(trouble);
    for (member, at) in members.iter_mut().zip(told_at) {
        if trouble_at < at {
            cause(&mut trouble, trouble_at, begun, lender, &mut [])?;
        }
        sleep_until(begun + at);
        member.tell();
    }
    cause(&mut trouble, trouble_at, begun, lender, &mut members)?;
    let ends = members.into_iter().map(Member::end);
    let ends = ends.collect::<Result<Vec<_>, _>>()?;
    Ok(Told::new(ends))
}

fn drawn(rng: &mut Rng) -> Trouble {
    let who = rng.within(0..=MEMBERS - 1) as usize;
    match rng.within(0..=3) {
        0 => Trouble::Killed(who),
        1 => Trouble::Stopped(
            who,
            rng.duration(Duration::from_millis(50)..=Duration::from_millis(900)),
        ),
        2 => Trouble::LenderKilled(rng.duration(Duration::ZERO..=Duration::from_millis(800))),
        _ => Trouble::LenderStopped(
            rng.duration(Duration::from_millis(50)..=Duration::from_millis(1_500)),
        ),
    }
}

/// Causes the trouble at its time, if it is still to come and concerns somebody who is there.
fn cause(
    trouble: &mut Option<Trouble>,
    at: Duration,
    begun: Instant,
    lender: &mut dyn Lender,
    members: &mut [Member],
) -> Result<(), Failure> {
    let Some(next) = *trouble else { return Ok(()) };
    match next {
        Trouble::Killed(who) | Trouble::Stopped(who, _) if members.len() <= who => return Ok(()),
        _ => *trouble = None,
    }
    sleep_until(begun + at);
    match next {
        Trouble::Killed(who) => members[who].kill(),
        Trouble::Stopped(who, long) => members[who].stop(long),
        Trouble::LenderKilled(long) => {
            lender.kill(long)?;
        }
        Trouble::LenderStopped(long) => lender.stop(long),
    }
    Ok(())
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}
