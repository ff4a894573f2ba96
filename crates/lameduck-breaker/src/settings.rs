//! What a breaker is told: when to open, for how long, how to probe.
//!
//! Owns defaults, limits and what does not fit together. Arithmetic with them is in `rules`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::circuit::MOST_PROBES;
use crate::clock::{Clock, millis};
use crate::panel::Panel;
use crate::rules::{Rate, Rules};
use crate::transition::Transition;
use crate::verdict::Fault;

/// How breakers behave: one value for one breaker or for many.
///
/// The defaults: a window of 10 s in ten buckets; open when at least 20 calls came and half of them failed; open for 5 s, twice as long after each
/// round of probes that failed, up to 60 s, and up to a tenth longer by chance; one probe, which must succeed within 30 s. Slow calls and
/// failures in a row are not looked at unless asked for. How to choose: [the manual](crate::manual::choosing).
///
/// # Examples
/// ```
/// use lameduck_breaker::{Breaker, Settings};
/// use std::time::Duration;
///
/// let settings = Settings::new()
///     .window(Duration::from_secs(20))
///     .failure_rate(0.3)
///     .slow_calls(Duration::from_secs(2), 0.8)
///     .probes(5, 3);
/// let breaker = Breaker::new("payments", settings)?;
/// assert!(breaker.acquire().is_ok());
/// # Ok::<(), lameduck_breaker::SettingsError>(())
/// ```
#[derive(Clone)]
#[must_use = "settings do nothing until a breaker is made with them"]
pub struct Settings {
    window: Duration,
    buckets: usize,
    minimum_calls: u32,
    failure_rate: f64,
    slow: Option<(Duration, f64)>,
    in_a_row: Option<u32>,
    open_for: Duration,
    growth: u32,
    open_most: Duration,
    jitter: f64,
    probes: u8,
    probes_to_close: u8,
    probe_within: Duration,
    pub(crate) clock: Option<Clock>,
    pub(crate) excuses: Vec<Arc<Excuse>>,
    pub(crate) observers: Vec<Arc<Observer>>,
    pub(crate) panels: Vec<Arc<Panel>>,
}

/// With one that is full a rate is no longer exact.
const LONGEST_BUCKET: Duration = Duration::from_secs(10);

pub(crate) type Excuse = dyn Fn(Fault) -> bool + Send + Sync;
pub(crate) type Observer = dyn Fn(&Transition) + Send + Sync;

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl Settings {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            window: Duration::from_secs(10),
            buckets: 10,
            minimum_calls: 20,
            failure_rate: 0.5,
            slow: None,
            in_a_row: None,
            open_for: Duration::from_secs(5),
            growth: 2,
            open_most: Duration::from_secs(60),
            jitter: 0.1,
            probes: 1,
            probes_to_close: 1,
            probe_within: Duration::from_secs(30),
            clock: None,
            excuses: Vec::new(),
            observers: Vec::new(),
            panels: Vec::new(),
        }
    }

    /// How far back calls count: 10 s; from 10 ms to an hour.
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// In how many steps the window moves on: 10; from 1 to 60, and so many more that none is longer than 10 s. A call counts for the window's length,
    /// less up to one step.
    ///
    /// A step holds 16,777,215 successes, and as many failures; what is beyond is in the figures and not in the window.
    pub const fn buckets(mut self, buckets: usize) -> Self {
        self.buckets = buckets;
        self
    }

    /// With fewer calls than this in the window no rate opens the circuit: 20; at least 1.
    pub const fn minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// The share of failures, from above 0 to 1, from which on the circuit opens: 0.5.
    pub const fn failure_rate(mut self, rate: f64) -> Self {
        self.failure_rate = rate;
        self
    }

    /// Also opens when this share of calls took at least so long. A slow probe has failed. A call that went well is not slow where
    /// [`ignore_when`](Self::ignore_when) would excuse its failure.
    ///
    /// Times are those of the kernel's tick (1 to 10 ms, clock_getres(2)), and exact to a millisecond where `at_least` is less than 100 ms.
    pub const fn slow_calls(mut self, at_least: Duration, rate: f64) -> Self {
        self.slow = Some((at_least, rate));
        self
    }

    /// Also opens after so many failures without a success between them, however few calls there were: for what is called seldom.
    pub const fn failures_in_a_row(mut self, failures: u32) -> Self {
        self.in_a_row = Some(failures);
        self
    }

    /// How long the circuit stays open before it probes: 5 s; from 1 ms to an hour.
    pub const fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// By what that is multiplied with each round of probes that fails in a row, and where it ends: by 2, to 60 s. A factor of 1 keeps it as it is. A
    /// limit below [`open_for`](Self::open_for) counts as that.
    pub const fn growing(mut self, factor: u32, at_most: Duration) -> Self {
        self.growth = factor;
        self.open_most = at_most;
        self
    }

    /// How much longer, as a share, chance may keep it open, so that many processes do not probe at once: 0.1; from 0 to 1.
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// How many probes a half-open circuit admits, and how many of them must succeed for it to close: 1 and 1; at most 31. It opens again as soon as
    /// too many have failed.
    pub const fn probes(mut self, probes: u8, to_close: u8) -> Self {
        self.probes = probes;
        self.probes_to_close = to_close;
        self
    }

    /// How long after its round began a probe that has not come back counts as failed, if nobody else may probe meanwhile: 30 s. A round begins
    /// with its first probe, and anew with the next one where all that were under way have come back.
    pub const fn probe_within(mut self, time: Duration) -> Self {
        self.probe_within = time;
        self
    }

    /// A failure counts as nothing where this says so: that of a call which this process itself has broken off, say. A probe that is excused is given
    /// back, and the next may be made a little later: after [`open_for`](Self::open_for), at most a second.
    pub fn ignore_when(self, excuse: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.excuse(Arc::new(move |_| excuse()))
    }

    pub(crate) fn excuse(mut self, excuse: Arc<Excuse>) -> Self {
        self.excuses.push(excuse);
        self
    }

    /// Is told every transition, by the thread whose call brought it about: it must not block. One that panics disturbs no call.
    ///
    /// What the circuit does while an operator forces it is told by the release only. Two threads may tell two transitions in the wrong order: each says from
    /// where it led, which puts them right.
    pub fn on_transition(mut self, observer: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Lists breakers that are made with these settings there, for pages and metrics.
    pub fn panel(mut self, panel: &Arc<Panel>) -> Self {
        self.panels.push(Arc::clone(panel));
        self
    }

    /// Takes the time from this clock, which must never go back: for tests, and for programs that have a cheap one. What it says first, whatever that
    /// is, is the breaker's beginning; it lasts for 34 years from there.
    ///
    /// ```
    /// # use lameduck_breaker::Settings;
    /// # use std::{sync::atomic::{AtomicU64, Ordering::Relaxed}, time::Duration};
    /// static NOW: AtomicU64 = AtomicU64::new(0);
    /// let settings = Settings::new().clock(|| Duration::from_millis(NOW.load(Relaxed)));
    /// # let _ = settings;
    /// ```
    pub fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Some(Clock::Given(Arc::new(clock)));
        self
    }

    /// So many that none is long enough to become full.
    fn buckets_of_bounded_length(&self) -> usize {
        // An hour's at most.
        let least = self.window.as_secs().div_ceil(LONGEST_BUCKET.as_secs());
        self.buckets
            .max(usize::try_from(least).unwrap_or(usize::MAX))
    }

    /// The clock that is fit for them.
    pub(crate) fn the_clock(&self) -> Clock {
        let slow = self.slow.map(|(slow, _)| slow);
        let bucket = self.window.div_f64(self.buckets.max(1) as f64);
        let shortest = [self.open_for, bucket].into_iter().chain(slow);
        let chosen = || Clock::telling(shortest.min());
        self.clock.clone().unwrap_or_else(chosen)
    }

    pub(crate) fn rules(&self) -> Result<Rules, SettingsError> {
        const HOUR: Duration = Duration::from_secs(3_600);
        const LEAST: Duration = Duration::from_millis(1);
        within("window", self.window, Duration::from_millis(10), HOUR)?;
        within("open_for", self.open_for, LEAST, HOUR)?;
        within("probe_within", self.probe_within, LEAST, HOUR)?;
        let number = |what, number: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&number);
            let wrong = Wrong::Number {
                what,
                number,
                least,
                most,
            };
            if fits {
                Ok(())
            } else {
                Err(SettingsError(wrong))
            }
        };
        number(
            "buckets",
            self.buckets as u64,
            1,
            60.min(millis(self.window)),
        )?;
        number("minimum_calls", self.minimum_calls.into(), 1, 1_000_000)?;
        number("growing", self.growth.into(), 1, 1_000)?;
        number("probes", self.probes.into(), 1, MOST_PROBES.into())?;
        let to_close = self.probes_to_close.into();
        number("probes to close", to_close, 1, self.probes.into())?;
        if let Some(failures) = self.in_a_row {
            number("failures_in_a_row", failures.into(), 1, 1_000_000)?;
        }
        let slow = match self.slow {
            Some((from, share)) => {
                within("slow_calls", from, LEAST, HOUR)?;
                Some((millis(from), rate("rate of slow_calls", share)?))
            }
            None => None,
        };
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(SettingsError(Wrong::Rate {
                what: "jitter",
                rate: self.jitter,
            }));
        }
        let buckets = self.buckets_of_bounded_length();
        Ok(Rules {
            bucket: (millis(self.window) / buckets as u64).max(1),
            buckets,
            minimum: self.minimum_calls.into(),
            failure_rate: rate("failure_rate", self.failure_rate)?,
            slow,
            in_a_row: self.in_a_row.map(u64::from),
            open_for: millis(self.open_for),
            growth: self.growth,
            open_most: millis(self.open_most.min(HOUR).max(self.open_for)),
            jitter: millionths(self.jitter),
            probes: self.probes,
            probes_to_close: self.probes_to_close,
            probe_within: millis(self.probe_within),
        })
    }
}

fn within(
    what: &'static str,
    time: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), SettingsError> {
    if (least..=most).contains(&time) {
        return Ok(());
    }
    Err(SettingsError(Wrong::Time {
        what,
        time,
        least,
        most,
    }))
}

fn rate(what: &'static str, rate: f64) -> Result<Rate, SettingsError> {
    let millionths = millionths(rate);
    if rate <= 1.0 && millionths.0 > 0 {
        Ok(millionths)
    } else {
        Err(SettingsError(Wrong::Rate { what, rate }))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number between 0 and a million; what is none becomes 0"
)]
fn millionths(rate: f64) -> Rate {
    Rate((rate.clamp(0.0, 1.0) * f64::from(Rate::WHOLE)).round() as u32)
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("window", &self.window)
            .field("minimum_calls", &self.minimum_calls)
            .field("failure_rate", &self.failure_rate)
            .field("slow", &self.slow)
            .field("in_a_row", &self.in_a_row)
            .field("open_for", &self.open_for)
            .field("probes", &(self.probes, self.probes_to_close))
            .finish_non_exhaustive()
    }
}

/// Why settings make no breaker.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsError(Wrong);

#[derive(Clone, Debug, PartialEq)]
enum Wrong {
    Time {
        what: &'static str,
        time: Duration,
        least: Duration,
        most: Duration,
    },
    Number {
        what: &'static str,
        number: u64,
        least: u64,
        most: u64,
    },
    Rate {
        what: &'static str,
        rate: f64,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Wrong::Time {
                what,
                time,
                least,
                most,
            } => write!(
                f,
                "{what} of {time:?}: take something between {least:?} and {most:?}"
            ),
            Wrong::Number {
                what,
                number,
                least,
                most,
            } => write!(
                f,
                "{number} for {what}: take something between {least} and {most}"
            ),
            Wrong::Rate { what, rate } => {
                write!(f, "{rate} for {what}: take a share between 0 and 1")
            }
        }
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_with_its_numbers() {
        let said = |settings: Settings| settings.rules().expect_err("it fits").to_string();
        let short = Duration::ZERO;
        for (settings, words) in [
            (Settings::new().window(short), "window of 0ns"),
            (Settings::new().open_for(short), "open_for of 0ns"),
            (Settings::new().probe_within(short), "probe_within"),
            (Settings::new().buckets(0), "0 for buckets"),
            (Settings::new().buckets(61), "between 1 and 60"),
            (Settings::new().minimum_calls(0), "minimum_calls"),
            (Settings::new().failure_rate(0.0), "0 for failure_rate"),
            (Settings::new().failure_rate(1.1), "1.1 for failure_rate"),
            (Settings::new().failure_rate(f64::NAN), "NaN"),
            (Settings::new().jitter(-0.1), "jitter"),
            (Settings::new().probes(0, 0), "0 for probes"),
            (Settings::new().probes(32, 1), "between 1 and 31"),
            (Settings::new().probes(2, 3), "3 for probes to close"),
            (Settings::new().failures_in_a_row(0), "failures_in_a_row"),
            (Settings::new().slow_calls(short, 0.5), "slow_calls"),
            (Settings::new().growing(0, short), "growing"),
        ] {
            let said = said(settings);
            assert!(said.contains(words), "{said} lacks {words}");
        }
        assert!(Settings::new().rules().is_ok());
    }

    #[test]
    fn a_long_window_has_more_buckets_and_no_longer_ones() {
        for (window, asked, buckets, bucket) in [
            (10, 1, 1, 10_000),
            (10, 10, 10, 1_000),
            (60, 1, 6, 10_000),
            (3_600, 60, 360, 10_000),
        ] {
            let settings = Settings::new().window(Duration::from_secs(window));
            let rules = settings.buckets(asked).rules().expect("they fit");
            assert_eq!((rules.buckets, rules.bucket), (buckets, bucket));
        }
    }
}
