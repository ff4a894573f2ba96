//! CPU profiles: which functions the processors' time goes to, sampled for a while by the crate `pprof`.
//!
//! Owns the bounds and the turn. The crate owns SIGPROF while a profile is taken (the one disposition that no part of lameduck sets,
//! INV-7): its handler walks the stack of whichever thread the timer of ITIMER_PROF hits.

use std::error::Error;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use pprof::ProfilerGuardBuilder;
use pprof::protos::Message as _;

use crate::sys::Turn;

/// The longest profile.
const LONGEST: Duration = Duration::from_secs(60);

/// The most samples in a second of processor time.
const OFTENEST: u32 = 1_000;

/// Objects inside which no stack is walked: the walk may need a lock that the interrupted function holds.
const NEVER_WITHIN: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// Whether somebody takes one.
static BUSY: AtomicBool = AtomicBool::new(false);

/// A CPU profile that was taken.
pub struct CpuProfile {
    report: pprof::Report,
    over: Duration,
}

/// Why there is no profile.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotProfiled {
    /// Somebody else is taking one; one at a time does.
    Busy,
    /// It was to take longer than a minute, or no time at all.
    Time(Duration),
    /// It was to take more than 1,000 samples a second, or none.
    Rate(u32),
    /// The profiler failed: no timer, no handler, no memory.
    Profiler(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for NotProfiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => {
                f.write_str("somebody else is taking a profile: try again when they are done")
            }
            Self::Time(asked) => write!(
                f,
                "{asked:?} cannot be profiled: ask for more than nothing and at most {LONGEST:?}"
            ),
            Self::Rate(asked) => write!(
                f,
                "{asked} samples a second cannot be taken: ask for 1 to {OFTENEST}"
            ),
            Self::Profiler(error) => write!(f, "the profiler failed: {error}"),
        }
    }
}

impl Error for NotProfiled {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Profiler(error) => Some(&**error),
            Self::Busy | Self::Time(_) | Self::Rate(_) => None,
        }
    }
}

/// Samples the process' processor time `hz` times a second for as long as `over`. 99 is a good rate: it does not beat with timers.
///
/// Blocks for that time and, after it, for as long as naming the functions takes: call it from a thread that may. Only time on a processor is
/// seen; for waits there is [`waits`](crate::dump::waits).
///
/// # Errors
/// [`NotProfiled`].
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// let profile = lameduck::profile::cpu(Duration::from_secs(10), 99)?;
/// std::fs::write("cpu.pb", profile.to_pprof()?)?; // go tool pprof cpu.pb
/// std::fs::write("cpu.svg", profile.to_svg()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cpu(over: Duration, hz: u32) -> Result<CpuProfile, NotProfiled> {
    if over.is_zero() || over > LONGEST {
        return Err(NotProfiled::Time(over));
    }
    if hz == 0 || hz > OFTENEST {
        return Err(NotProfiled::Rate(hz));
    }
    let _turn = Turn::take(&BUSY).ok_or(NotProfiled::Busy)?;
    let failed = |error: pprof::Error| NotProfiled::Profiler(Box::new(error));
    let guard = ProfilerGuardBuilder::default()
        .frequency(hz.cast_signed())
        .blocklist(&NEVER_WITHIN)
        .build()
        .map_err(failed)?;
    thread::sleep(over);
    let report = guard.report().build().map_err(failed)?;
    Ok(CpuProfile { report, over })
}

impl CpuProfile {
    /// How many samples there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        let counts = self.report.data.values();
        counts.map(|count| u64::try_from(*count).unwrap_or(0)).sum()
    }

    /// How long it was sampled.
    #[must_use]
    pub const fn over(&self) -> Duration {
        self.over
    }

    /// The profile as pprof's protobuf (`profile.proto`), not compressed, as `go tool pprof` and others read it.
    ///
    /// # Errors
    /// [`NotProfiled::Profiler`] when it cannot be encoded.
    pub fn to_pprof(&self) -> Result<Vec<u8>, NotProfiled> {
        let profile = self.report.pprof().map_err(failed)?;
        profile.write_to_bytes().map_err(failed)
    }

    /// The profile as a flame graph.
    ///
    /// # Errors
    /// [`NotProfiled::Profiler`] when nothing was sampled: the process was idle.
    pub fn to_svg(&self) -> Result<Vec<u8>, NotProfiled> {
        let mut svg = Vec::new();
        self.report.flamegraph(&mut svg).map_err(failed)?;
        Ok(svg)
    }
}

fn failed(error: impl Error + Send + Sync + 'static) -> NotProfiled {
    NotProfiled::Profiler(Box::new(error))
}

impl fmt::Debug for CpuProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuProfile")
            .field("samples", &self.samples())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Instant;

    use super::*;

    #[inline(never)]
    fn burn_for_the_profile(stop: &AtomicBool) -> u64 {
        let mut x = 1_u64;
        while !stop.load(Ordering::Relaxed) {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        x
    }

    #[test]
    fn a_loop_that_burns_is_named_in_both_forms() {
        let stop = AtomicBool::new(false);
        let named = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("burn_for_the_profile");
        thread::scope(|scope| {
            scope.spawn(|| burn_for_the_profile(&stop));
            let until = Instant::now() + Duration::from_secs(60);
            let profile = loop {
                // The burner must end, or the scope would wait for it for ever.
                if Instant::now() >= until {
                    stop.store(true, Ordering::Relaxed);
                    panic!("it was never seen to burn");
                }
                let profile = cpu(Duration::from_millis(200), 500).expect("nobody else profiles");
                // On a busy machine the loop may not have run.
                if profile.samples() > 0 && named(&profile.to_pprof().expect("encoded")) {
                    break profile;
                }
            };
            stop.store(true, Ordering::Relaxed);
            let svg = profile.to_svg().expect("there are samples");
            assert!(svg.starts_with(b"<?xml") && named(&svg));
        });
        assert!(matches!(cpu(LONGEST * 2, 99), Err(NotProfiled::Time(_))));
        assert!(matches!(cpu(LONGEST, 0), Err(NotProfiled::Rate(0))));
        let _turn = Turn::take(&BUSY).expect("free");
        let busy = cpu(Duration::from_millis(1), 99);
        assert!(matches!(busy, Err(NotProfiled::Busy)), "{busy:?}");
    }
}
