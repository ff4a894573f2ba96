//! What an audit adds to a change of phase: the same lifecycle without one, with an observer that does nothing, and with an
//! audit in a file, in turn within every round.
//!
//! `cargo bench -p lameduck-benches --bench audit` prints one table; without `--bench` every contender leaves a few times, to
//! see that it works. A lifecycle without participants goes from the request through three changes of phase in one stretch;
//! the time from the request until `Stopped` can be seen is divided by three. Only differences of one run mean anything on a
//! shared machine.

use std::hint::spin_loop;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lameduck::{Audit, Lifecycle, Observed, Phase, Plan, Preset, Window};

/// How many times each contender leaves.
const ROUNDS: usize = 2_001;
/// Changes of phase from the request to `Stopped`.
const CHANGES: u32 = 3;
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
    for round in 0..rounds {
        // Each begins a round in its turn, so that drift of the machine meets all of them.
        for turn in 0..Contender::ALL.len() {
            let index = (round + turn) % Contender::ALL.len();
            times[index].push(leave(Contender::ALL[index], &file) / CHANGES);
        }
    }
    let bare = median(&mut times[0]);
    println!("| contender | a change of phase, median | added | goal |");
    println!("|---|---|---|---|");
    for (contender, times) in Contender::ALL.into_iter().zip(&mut times) {
        let median = median(times);
        let added = median.saturating_sub(bare);
        let goal = match contender {
            Contender::Audit if rounds < ROUNDS => "not measured",
            Contender::Audit if added <= GOAL => "<= 20 µs: held",
            Contender::Audit => "<= 20 µs: missed",
            _ => "",
        };
        println!("| {} | {median:?} | {added:?} | {goal} |", contender.name());
    }
    let written = std::fs::read_to_string(&file.0).expect("the audit was written");
    assert!(written.lines().count() > 3, "every life is on record");
}

/// From the request until `Stopped` can be seen.
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
    // What the start had to tell is told, so that the driver sleeps and nobody else works.
    std::thread::sleep(Duration::from_millis(1));
    let asked = Instant::now();
    life.shutdown("the bench");
    wait_for(&life, Phase::Stopped);
    let took = asked.elapsed();
    let _ = life.wait();
    took
}

fn wait_for(life: &Lifecycle, phase: Phase) {
    let begun = Instant::now();
    while life.phase() != phase {
        spin_loop();
        assert!(begun.elapsed() < BOUND, "{phase} does not come");
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
