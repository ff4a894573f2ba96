//! Signal channels beside raw mechanisms and `tokio::signal`: from kill(2) to user code, and what becomes of signals that wait.
//! Each way has a child of its own, which waits asleep; the ways take turns, in a new order each round. Owns the measurement and its
//! tables; what is measured is the library as users have it.
//!
//! `cargo run --release -p lameduck-benches --bin channels -- [ROUNDS]`

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use lameduck::signals::{Channel, Signo, block};
use lameduck_benches::{rng::Rng, stats::Spread};
use tokio::io::unix::AsyncFd;

#[path = "channels/facts.rs"]
mod facts;
#[path = "channels/raw.rs"]
mod raw;

type Failure = Box<dyn Error + Send + Sync>;

/// How often each way is measured unless told otherwise.
const ROUNDS: usize = 500;
/// Rounds are read in so many blocks; a ratio is told with its least and its greatest.
const BLOCKS: usize = 10;
/// Everything has gone to sleep by then, as in a service that waits for its signal.
const ASLEEP: Duration = Duration::from_millis(3);

struct Way {
    name: &'static str,
    wait: fn() -> Result<(), Failure>,
    /// The raw signalfd with the same way of waiting: a plain epoll(7) loop, or tokio's on the same flavour of runtime.
    raw: usize,
    /// `tokio::signal` on the same flavour.
    peer: Option<usize>,
}

const fn way(
    name: &'static str,
    wait: fn() -> Result<(), Failure>,
    raw: usize,
    peer: Option<usize>,
) -> Way {
    Way {
        name,
        wait,
        raw,
        peer,
    }
}

const WAYS: [Way; 12] = [
    way("one thread: raw signalfd + epoll", raw::signalfd, 0, None),
    way("one thread: raw sigwaitinfo", raw::sigwaitinfo, 0, None),
    way("one thread: channel, signalfd", blocking_signalfd, 0, None),
    way("one thread: channel, handlers", blocking_handlers, 0, None),
    way(
        "current_thread: raw signalfd + epoll (`AsyncFd`)",
        || by_hand(current),
        4,
        Some(7),
    ),
    way(
        "current_thread: channel, signalfd",
        || signalfd(current),
        4,
        Some(7),
    ),
    way(
        "current_thread: channel, handlers",
        || handlers(&current()),
        4,
        Some(7),
    ),
    way(
        "current_thread: `tokio::signal`",
        || peer(&current()),
        4,
        None,
    ),
    way(
        "multi_thread: raw signalfd + epoll (`AsyncFd`)",
        || by_hand(multi),
        8,
        Some(11),
    ),
    way(
        "multi_thread: channel, signalfd",
        || signalfd(multi),
        8,
        Some(11),
    ),
    way(
        "multi_thread: channel, handlers",
        || handlers(&multi()),
        8,
        Some(11),
    ),
    way("multi_thread: `tokio::signal`", || peer(&multi()), 8, None),
];

fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--child") => {
            let way: usize = arguments.next().unwrap_or_default().parse()?;
            (WAYS.get(way).ok_or("no such way")?.wait)()
        }
        Some("--facts") => facts::child(&arguments.next().unwrap_or_default()),
        Some(rounds) => both_tables(rounds.parse()?),
        None => both_tables(ROUNDS),
    }
}

fn both_tables(rounds: usize) -> Result<(), Failure> {
    print_table(&compare(rounds.max(BLOCKS))?)?;
    println!();
    facts::print_table()
}

// ---- the children ---------------------------------------------------------------------------------------------------

fn current() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn multi() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

fn blocking_handlers() -> Result<(), Failure> {
    let mut channel = Channel::of([Signo::USR1]).open()?;
    raw::ready()?;
    while channel.recv().is_some() {
        raw::heard()?;
    }
    Ok(())
}

fn blocking_signalfd() -> Result<(), Failure> {
    let _held = block([Signo::USR1]);
    let mut channel = Channel::of([Signo::USR1]).open_signalfd()?;
    raw::ready()?;
    while channel.recv().is_some() {
        raw::heard()?;
    }
    Ok(())
}

fn handlers(runtime: &io::Result<tokio::runtime::Runtime>) -> Result<(), Failure> {
    let runtime = runtime.as_ref().map_err(ToString::to_string)?;
    runtime.block_on(async {
        tokio::spawn(async {
            let mut channel = Channel::of([Signo::USR1]).open_async()?;
            raw::ready()?;
            while channel.recv().await.is_some() {
                raw::heard()?;
            }
            Ok(())
        })
        .await?
    })
}

fn signalfd(runtime: fn() -> io::Result<tokio::runtime::Runtime>) -> Result<(), Failure> {
    let _held = block([Signo::USR1]);
    runtime()?.block_on(async {
        tokio::spawn(async {
            let mut channel = Channel::of([Signo::USR1]).open_signalfd_async()?;
            raw::ready()?;
            while channel.recv().await.is_some() {
                raw::heard()?;
            }
            Ok(())
        })
        .await?
    })
}

/// What a program without a library would write.
fn by_hand(runtime: fn() -> io::Result<tokio::runtime::Runtime>) -> Result<(), Failure> {
    let signals = raw::open_signalfd()?;
    runtime()?.block_on(async {
        tokio::spawn(async {
            // SAFETY: the descriptor is owned by what is registered, and never exchanged.
            let signals = unsafe { AsyncFd::register(signals) }.map_err(io::Error::from)?;
            raw::ready()?;
            loop {
                let mut ready = signals.readable().await?;
                if raw::take(signals.get_ref()) {
                    raw::heard()?;
                } else {
                    ready.clear_ready();
                }
            }
        })
        .await?
    })
}

fn peer(runtime: &io::Result<tokio::runtime::Runtime>) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = runtime.as_ref().map_err(ToString::to_string)?;
    runtime.block_on(async {
        tokio::spawn(async {
            let mut stream = signal(SignalKind::user_defined1())?;
            raw::ready()?;
            while stream.recv().await.is_some() {
                raw::heard()?;
            }
            Ok(())
        })
        .await?
    })
}

// ---- the measurement ------------------------------------------------------------------------------------------------

/// A child that waits for signals, and says when it heard of each.
struct Waiting {
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

impl Waiting {
    fn start(way: usize) -> Result<Self, Failure> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--child", &way.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let mut waiting = Self {
            child,
            lines: BufReader::new(stdout).lines(),
        };
        waiting.line()?;
        Ok(waiting)
    }

    fn line(&mut self) -> Result<String, Failure> {
        Ok(self.lines.next().ok_or("the child said nothing")??)
    }

    /// Microseconds from a signal to its user code.
    fn sample(&mut self) -> Result<f64, Failure> {
        std::thread::sleep(ASLEEP);
        let id = libc::pid_t::try_from(self.child.id())?;
        let sent = raw::now();
        // SAFETY: kill(2) with the id of a child that was not waited for and a valid signal number touches no memory.
        unsafe { libc::kill(id, libc::SIGUSR1) };
        let heard: i64 = self.line()?.parse()?;
        #[expect(clippy::cast_precision_loss, reason = "microseconds to one digit")]
        let nanos = (heard - sent) as f64;
        Ok(nanos / 1e3)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It has ended by itself if this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Microseconds of each way, in the order of the rounds.
fn compare(rounds: usize) -> Result<Vec<Vec<f64>>, Failure> {
    let mut children = (0..WAYS.len())
        .map(Waiting::start)
        .collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::with_capacity(rounds); WAYS.len()];
    // The first signal of a child pays for pages that nobody touched before.
    for child in &mut children {
        child.sample()?;
    }
    let mut rng = Rng::new(1);
    let mut order: Vec<usize> = (0..WAYS.len()).collect();
    for _ in 0..rounds {
        // A way that follows one like it finds its caches warm: nobody always follows the same one.
        order.sort_by_cached_key(|_| rng.next());
        for &way in &order {
            times[way].push(children[way].sample()?);
        }
    }
    Ok(times)
}

fn median(times: &[f64]) -> f64 {
    Spread::of_figures(times.iter().copied()).map_or(f64::NAN, |spread| spread.median)
}

/// The medians' ratio over all rounds, between the least and the greatest of the blocks'.
fn ratio(times: &[f64], base: &[f64]) -> String {
    let size = times.len() / BLOCKS;
    let blocks = times.chunks_exact(size).zip(base.chunks_exact(size));
    let mut ratios: Vec<f64> = blocks
        .map(|(one, other)| median(one) / median(other))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let whole = median(times) / median(base);
    let (least, greatest) = (ratios[0], ratios[ratios.len() - 1]);
    format!("{whole:.2} [{least:.2}..{greatest:.2}]")
}

fn print_table(times: &[Vec<f64>]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let rounds = times[0].len();
    writeln!(
        out,
        "{rounds} rounds, microseconds from kill(2) to user code\n"
    )?;
    let columns = "median | 10 % | 90 % | to raw, waiting the same way | to raw, one thread | to `tokio::signal`";
    writeln!(out, "| way | {columns} |\n|---|---|---|---|---|---|---|")?;
    for (way, of_this) in WAYS.iter().zip(times) {
        let mut sorted = of_this.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |tenth: usize| sorted[sorted.len() * tenth / 10];
        let to = |base: usize| ratio(of_this, &times[base]);
        writeln!(
            out,
            "| {} | {:.1} | {:.1} | {:.1} | {} | {} | {} |",
            way.name,
            median(of_this),
            at(1),
            at(9),
            to(way.raw),
            to(0),
            way.peer.map(to).unwrap_or_default()
        )?;
    }
    Ok(())
}
