//! What an audit adds to a change of phase: the same lifecycle without one, with an observer that does nothing, and with an
//! audit in a file, in turn within every round.
//!
//! `cargo bench -p lameduck-benches --bench audit` prints one table; without `--bench` every contender leaves a few times, to
//! see that it works. A lifecycle without participants goes from the request through two changes of phase in one stretch; the
//! driver's time on a CPU for them is divided by two: what waits for that thread, waits that much longer. (By the clock,
//! on a machine with too few CPUs for all, the audit's own threads come on top: they compete with everybody else's.)

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lameduck::{Audit, Lifecycle, Observed, Phase, Plan, Preset, Window};

/// How many times each contender leaves at most, and for how long they do.
const ROUNDS: usize = 2_001;
const PATIENCE: Duration = Duration::from_secs(30);
/// With fewer, no verdict.
const ROUNDS_AT_LEAST: usize = 101;
/// Changes of phase from the request to `Draining`.
const CHANGES: u32 = 2;
/// What the audit may add to one of them.
const GOAL: Duration = Duration::from_micros(20);
/// A lifecycle that has not stopped by then never will.
const BOUND: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Bare,
    Observer,
    Audit,
}

impl Contender {
    const ALL: [Self; 3] = [Self::Bare, Self::Observer, Self::Audit];

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "no observer",
            Self::Observer => "an observer that does nothing",
            Self::Audit => "an audit in a file",
        }
    }
}

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--bench") {
        ROUNDS
    } else {
        3
    };
    let file = File::new();
    let mut times: [Vec<Duration>; 3] = Default::default();
    let begun = Instant::now();
    for round in 0..rounds {
        if begun.elapsed() > PATIENCE {
            break;
        }
        // Each begins a round in its turn, so that drift of the machine meets all of them.
        for turn in 0..Contender::ALL.len() {
            let index = (round + turn) % Contender::ALL.len();
            times[index].push(leave(Contender::ALL[index], &file) / CHANGES);
        }
    }
    let rounds = times[0].len();
    let bare = median(&mut times[0]);
    println!("{rounds} rounds");
    println!("| contender | a change of phase, median | added | goal |");
    println!("|---|---|---|---|");
    for (contender, times) in Contender::ALL.into_iter().zip(&mut times) {
        let median = median(times);
        let added = median.saturating_sub(bare);
        let goal = match contender {
            Contender::Audit if rounds < ROUNDS_AT_LEAST => "too few rounds",
            Contender::Audit if added <= GOAL => "<= 20 µs: held",
            Contender::Audit => "<= 20 µs: missed",
            _ => "",
        };
        println!("| {} | {median:?} | {added:?} | {goal} |", contender.name());
    }
    let written = std::fs::read_to_string(&file.0).expect("the audit was written");
    assert!(written.lines().count() > 3, "every life is on record");
}

/// The driver's time on a CPU from the request until it waits in `Draining`, which a guard keeps.
fn leave(contender: Contender, file: &File) -> Duration {
    let plan = Plan::preset(Preset::Systemd)
        .with_window(Window::NONE)
        .expect("a plan that can be kept");
    let life = Lifecycle::embedded(plan).expect("a driver");
    match contender {
        Contender::Bare => {}
        Contender::Observer => life
            .observe("nothing", |_: &Observed| {})
            .expect("a thread"),
        Contender::Audit => life.audit(Audit::file(&file.0)).expect("a thread"),
    }
    life.ready();
    wait_for(&life, Phase::Running);
    let guard = life.enter().expect("running");
    let driver = driver();
    let before = settled(&driver);
    life.shutdown("the bench");
    wait_for(&life, Phase::Draining);
    let took = settled(&driver).saturating_sub(before);
    drop(guard);
    let _ = life.wait();
    took
}

fn wait_for(life: &Lifecycle, phase: Phase) {
    let begun = Instant::now();
    while life.phase() != phase {
        std::thread::sleep(Duration::from_micros(100));
        assert!(begun.elapsed() < BOUND, "{phase} does not come");
    }
}

/// The scheduler's figures of the thread that drives: the youngest of that name.
fn driver() -> PathBuf {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let mut drivers: Vec<(u32, PathBuf)> = tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let comm = std::fs::read_to_string(path.join("comm")).ok()?;
            let number = path.file_name()?.to_str()?.parse().ok()?;
            (comm == "lameduck\n").then(|| (number, path.join("schedstat")))
        })
        .collect();
    drivers.sort();
    drivers.pop().expect("a lifecycle has a driver").1
}

/// Its time on a CPU (the first figure of schedstat, in nanoseconds), once it does not grow any more.
fn settled(driver: &Path) -> Duration {
    let read = || {
        let text = std::fs::read_to_string(driver).expect("it waits, and has not ended");
        let first = text.split_whitespace().next().expect("three figures");
        Duration::from_nanos(first.parse().expect("a number"))
    };
    let mut last = read();
    loop {
        std::thread::sleep(Duration::from_millis(2));
        let now = read();
        if now == last {
            return now;
        }
        last = now;
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The audit's file, removed at the end with what was set aside.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        let name = format!("lameduck-bench-audit-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        for number in 1..=4 {
            let _ = std::fs::remove_file(format!("{}.{number}", self.0.display()));
        }
    }
}
