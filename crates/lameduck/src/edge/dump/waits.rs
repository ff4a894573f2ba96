//! Where threads wait: the kernel is asked again and again, and what it says is counted.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use super::threads::waiting;
use crate::sys::{self, Turn};

/// The longest that is sampled at a stretch.
const LONGEST: Duration = Duration::from_secs(60);

/// The most often that is sampled in a second.
const OFTENEST: u32 = 1_000;

/// How many threads are looked at in each round.
const MOST_THREADS: usize = 1_024;

/// How many different waits are told apart.
const MOST_GROUPS: usize = 1_024;

/// Whether somebody samples.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Where the threads of this process were over a time: on a processor, or in which wait. Its `Display` is a table for people.
///
/// Many threads of a pool in `futex` while requests wait are a lock that is contended, or a pool without work: the stacks of a dump tell which.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// How long it was looked.
    pub over: Duration,
    /// How often it was looked at all threads.
    pub rounds: u64,
    /// The waits, most frequent first.
    pub groups: Vec<WaitGroup>,
    /// How often a thread was seen in all.
    pub samples: u64,
    /// Samples that are in no group, because there were 1,024 already, or of threads past the first 1,024.
    pub left_out: u64,
}

/// Threads of one name in one wait.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitGroup {
    /// Their name (`comm`).
    pub threads: String,
    /// State, system call and the kernel's function, such as `sleeping in futex (futex_do_wait)`.
    pub waiting: String,
    /// How often one of them was seen so.
    pub samples: u64,
    /// How many of them there were.
    pub different: usize,
}

/// Why nothing was sampled.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotSampled {
    /// Somebody else is sampling; one at a time does.
    Busy,
    /// It was to take longer than a minute, or no time at all.
    Time(Duration),
    /// It was to look more than 1,000 times a second, or never.
    Rate(u32),
    /// The threads cannot be listed.
    Threads(io::Error),
}

impl fmt::Display for NotSampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("somebody else is sampling: try again when they are done"),
            Self::Time(asked) => write!(
                f,
                "{asked:?} cannot be sampled: ask for more than nothing and at most {LONGEST:?}"
            ),
            Self::Rate(asked) => write!(
                f,
                "{asked} looks a second cannot be made: ask for 1 to {OFTENEST}"
            ),
            Self::Threads(error) => write!(f, "the threads cannot be listed: {error}"),
        }
    }
}

impl Error for NotSampled {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Threads(error) => Some(error),
            Self::Busy | Self::Time(_) | Self::Rate(_) => None,
        }
    }
}

/// Looks at all threads `hz` times a second for as long as `over`, and says where they were. Linux only.
///
/// Blocks for that time: call it from a thread that may, such as one of `spawn_blocking`. One look reads four small files of `/proc` for each
/// thread; where a round takes longer than its share of a second, the next one begins as much later, so that half of one processor is used at
/// most.
///
/// # Errors
/// [`NotSampled`].
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// let seen = lameduck::dump::waits(Duration::from_secs(1), 100)?;
/// println!("{seen}");
/// # Ok::<(), lameduck::dump::NotSampled>(())
/// ```
pub fn waits(over: Duration, hz: u32) -> Result<Waits, NotSampled> {
    if over.is_zero() || over > LONGEST {
        return Err(NotSampled::Time(over));
    }
    if hz == 0 || hz > OFTENEST {
        return Err(NotSampled::Rate(hz));
    }
    let _turn = Turn::take(&BUSY).ok_or(NotSampled::Busy)?;
    let mut tally = Tally::default();
    let begun = Instant::now();
    let end = begun + over;
    let mut rounds = 0;
    loop {
        let round = Instant::now();
        tally.look().map_err(NotSampled::Threads)?;
        rounds += 1;
        let pause = (Duration::from_secs(1) / hz)
            .saturating_sub(round.elapsed())
            .max(round.elapsed());
        let left = end.saturating_duration_since(Instant::now());
        if left <= pause {
            thread::sleep(left);
            break;
        }
        thread::sleep(pause);
    }
    Ok(tally.done(begun.elapsed(), rounds))
}

#[derive(Default)]
struct Tally {
    groups: HashMap<(String, String), (u64, HashSet<i32>)>,
    samples: u64,
    left_out: u64,
}

impl Tally {
    fn look(&mut self) -> io::Result<()> {
        let own = sys::tid();
        let (tids, total) = sys::thread_ids(MOST_THREADS)?;
        self.left_out += (total - tids.len()) as u64;
        self.samples += (total - tids.len()) as u64;
        for tid in tids.into_iter().filter(|tid| *tid != own) {
            let facts = sys::thread_state(tid);
            // It has ended since the list was read.
            if facts.comm.is_empty() {
                continue;
            }
            self.samples += 1;
            let key = (facts.comm.clone(), waiting(&facts));
            if self.groups.len() == MOST_GROUPS && !self.groups.contains_key(&key) {
                self.left_out += 1;
                continue;
            }
            let (samples, different) = self.groups.entry(key).or_default();
            *samples += 1;
            different.insert(tid);
        }
        Ok(())
    }

    fn done(self, over: Duration, rounds: u64) -> Waits {
        let mut groups: Vec<WaitGroup> = (self.groups.into_iter())
            .map(|((threads, waiting), (samples, different))| WaitGroup {
                threads,
                waiting,
                samples,
                different: different.len(),
            })
            .collect();
        groups.sort_by(|a, b| {
            let by_name = || (&a.threads, &a.waiting).cmp(&(&b.threads, &b.waiting));
            b.samples.cmp(&a.samples).then_with(by_name)
        });
        Waits {
            over,
            rounds,
            groups,
            samples: self.samples,
            left_out: self.left_out,
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "where threads were, {} looks within {} ms:",
            self.rounds,
            self.over.as_millis()
        )?;
        for group in &self.groups {
            let per_mille = group.samples * 1000 / self.samples.max(1);
            writeln!(
                f,
                "{:>3}.{} %  {} x{}: {}",
                per_mille / 10,
                per_mille % 10,
                super::text::printable(&group.threads),
                group.different,
                group.waiting
            )?;
        }
        if self.left_out > 0 {
            writeln!(f, "{} sample(s) were left out", self.left_out)?;
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux", not(lameduck_portable)))]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_waits_for_a_lock_is_found_in_futex() {
        let (hold, held) = mpsc::channel::<()>();
        let waiter = thread::Builder::new()
            .name("waits-for-it".to_owned())
            .spawn(move || held.recv())
            .expect("a thread");
        let until = Instant::now() + Duration::from_secs(60);
        let seen = loop {
            assert!(Instant::now() < until, "it never waited");
            let seen = waits(Duration::from_millis(50), 200).expect("nobody else samples");
            assert!(seen.rounds > 0, "{seen}");
            // It may not have come so far yet.
            if seen.to_string().contains("waits-for-it x1: sleeping") {
                break seen;
            }
        };
        let busy = Turn::take(&BUSY).expect("free");
        assert!(matches!(
            waits(Duration::from_millis(1), 1),
            Err(NotSampled::Busy)
        ));
        drop(busy);
        drop(hold);
        let _ = waiter.join();
        assert!(seen.groups.is_sorted_by(|a, b| a.samples >= b.samples));
        assert!(matches!(waits(LONGEST * 2, 1), Err(NotSampled::Time(_))));
        assert!(matches!(
            waits(LONGEST, 1_001),
            Err(NotSampled::Rate(1_001))
        ));
    }
}
