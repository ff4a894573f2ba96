//! Owns the answer: what a check found, the report of a whole run, and the exit code that follows.
//! Not: how findings are made (see `scenario`) or shown (see `render`).

mod compare;
mod instrument;
mod read;
mod series;
mod stats;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Class, ServerKind};
use crate::front::{FrontView, GraceReport};
use crate::observe::outcome::{Outcome, Tally};

pub use compare::{Change, Comparison, Trend};
pub use instrument::{Instrument, Spread, WriteLateness};
pub use read::ReadError;
pub(crate) use read::SCHEMA;
pub use series::{Bucket, MAX_SAMPLES, Sample, Series, StopLoss};
pub(crate) use series::{millis, relative_ms};
pub(crate) use stats::design_effect;
pub use stats::{Rate, interval_95, one_in, upper_bound_95};

/// What a check answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Verdict {
    /// What is owed was not given.
    #[serde(rename = "fail")]
    Fail,
    /// A matter of manners is done otherwise.
    #[serde(rename = "differs")]
    Differs,
    /// The machine was too slow to tell.
    #[serde(rename = "inconclusive")]
    Inconclusive,
    /// What is owed was given.
    #[serde(rename = "pass")]
    Pass,
    /// The target lacks what the check needs; never a pass.
    #[serde(rename = "n/a")]
    NotApplicable,
    /// The caller waived it, with a reason; it decides nothing.
    #[serde(rename = "waived")]
    Waived,
}

impl Verdict {
    /// The word of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Differs => "differs",
            Self::Inconclusive => "inconclusive",
            Self::Pass => "pass",
            Self::NotApplicable => "n/a",
            Self::Waived => "waived",
        }
    }
}

/// What makes the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailOn {
    /// A failed check. Manners are printed only: right for a service that promised nobody to have them.
    #[default]
    Loss,
    /// Manners count too.
    Any,
}

/// A figure of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Figure {
    /// A count.
    Count(u64),
    /// A measure; the unit is in the figure's name.
    Measure(f64),
    /// A word.
    Text(String),
}

impl From<u64> for Figure {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Figure {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<f64> for Figure {
    fn from(measure: f64) -> Self {
        Self::Measure((measure * 1000.0).round() / 1000.0)
    }
}

impl From<Duration> for Figure {
    /// In milliseconds.
    fn from(time: Duration) -> Self {
        Self::from(time.as_secs_f64() * 1000.0)
    }
}

impl From<&str> for Figure {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// What one check found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The id of the contract.
    pub id: Cow<'static, str>,
    /// Whether it decides verdicts.
    pub class: Class,
    /// Its answer.
    pub verdict: Verdict,
    /// The requests that it judged, by outcome.
    pub requests: Tally,
    /// What was measured; names end in their unit.
    pub figures: BTreeMap<Cow<'static, str>, Figure>,
    /// What was seen, in one sentence.
    pub detail: String,
    /// What a client is owed.
    pub owed: Cow<'static, str>,
    /// What failing costs users, and how such a thing is generally mended; for verdicts that call for action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consequence: Option<Cow<'static, str>>,
    /// How it is generally mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Cow<'static, str>>,
    /// Why it was waived, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<String>,
    /// What a waived check would have answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_waiver: Option<Verdict>,
    /// The command that runs this check again, alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The requests around T, for checks under load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
}

/// What was tested.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetReport {
    /// "embedded demo", or the command.
    pub label: String,
    /// The command line as it was given.
    pub command: Vec<String>,
    /// Where the first launch answered.
    pub addr: String,
    /// From spawn to readiness, first launch.
    pub ready_ms: f64,
    /// How many processes were started.
    pub launches: u32,
    /// What was tried out before, in plain words.
    pub facts: Vec<String>,
    /// Which server it is, where its command or its answers give it away.
    #[serde(default, deserialize_with = "ServerKind::if_known")]
    pub server: Option<ServerKind>,
    /// The end of what the main scenario's process wrote, raw.
    #[serde(default)]
    pub output: Output,
}

/// What a process wrote: at most the last 64 KiB of each stream, as it came, control characters included.
///
/// It was written by the target: whoever shows it strips or escapes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Standard output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// Standard error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

/// How the process of the main scenario ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExitReport {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that it died of, if it did.
    pub signal: Option<i32>,
    /// From T to the exit.
    pub after_ms: Option<f64>,
    /// It was still there when the grace period was over, and was killed.
    pub killed_at_grace: bool,
    /// It was still there when the grace period was over, and was left alone: it is not ours.
    #[serde(default)]
    pub left_running: bool,
}

/// A phase of the shutdown and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseSpan {
    /// Its name.
    pub phase: String,
    /// How long it took.
    pub took_ms: f64,
}

/// Where the phases come from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Phases {
    /// "reported" by the target, or "observed" from outside.
    pub source: Cow<'static, str>,
    /// In order.
    pub spans: Vec<PhaseSpan>,
}

/// Something that one client did or saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneEvent {
    /// Relative to T.
    pub at_ms: f64,
    /// Which client.
    pub lane: Cow<'static, str>,
    /// What: `connected`, `sent`, `sent-half`, `answered`, `closed`, `reset`, `refused`, `unanswered`.
    pub event: Cow<'static, str>,
    /// The status of an answer, and `close` when it announced one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// One connection of a drain, and what its client saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Of which kind it was, in plain words.
    pub kind: Cow<'static, str>,
    /// When it was written to, relative to T, where that was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<f64>,
    /// What became of its last request that the signal could have harmed; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// In order, at most 24.
    pub events: Vec<Mark>,
}

/// Something that a client did or saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Relative to T.
    pub at_ms: f64,
    /// What, in the words of [`LaneEvent::event`].
    pub event: Cow<'static, str>,
    /// The status of an answer, and `close` when it announced one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Everything that a run found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// `lameduck.verify/1`.
    pub schema: Cow<'static, str>,
    /// The version of the tester.
    pub version: Cow<'static, str>,
    /// The version of the contract.
    pub contract: u32,
    /// Replays the random decisions.
    pub seed: String,
    /// What was tested.
    pub target: TargetReport,
    /// How, in plain words.
    pub method: Vec<String>,
    /// `fail`, `inconclusive` or `pass`.
    pub verdict: Verdict,
    /// Requests lost, in all scenarios.
    pub lost: u64,
    /// Of these: the two crossed on the wire within one round trip.
    pub crossed: u64,
    /// The requests that the signal could have harmed, by outcome: the sum over all checks.
    pub requests: Tally,
    /// What users of each known front would have seen of the requests over HTTP.
    #[serde(default)]
    pub users: Vec<FrontView>,
    /// How long exits took, held against the declared grace period and those of platforms.
    #[serde(default)]
    pub grace: GraceReport,
    /// One for each id that was asked for.
    pub checks: Vec<Finding>,
    /// The same as a rate, with its uncertainty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What single clients saw in the main scenario.
    pub timeline: Vec<LaneEvent>,
    /// Connections of the drains, one by one.
    #[serde(default)]
    pub connections: Vec<Connection>,
    /// Connections that are not among them.
    #[serde(default)]
    pub connections_left_out: u64,
    /// How far our own measurements may be off.
    #[serde(default)]
    pub instrument: Instrument,
    /// The phases of the main scenario's shutdown.
    pub phases: Phases,
    /// Earlier runs that this one was held against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared: Vec<Comparison>,
    /// The signal that was sent, and by whom.
    pub signal: SignalReport,
    /// How the main scenario's process ended.
    pub exit: ExitReport,
}

/// The stop signal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignalReport {
    /// Its name; the command or the call where it was none.
    pub name: Cow<'static, str>,
    /// Our process id.
    pub from_pid: u32,
}

impl Report {
    /// How many checks gave `verdict`.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    }

    /// Panics unless every check that applied was kept; for tests.
    ///
    /// The message is the report for people. Manners do not count, and neither do waived checks.
    ///
    /// # Panics
    /// When a check failed, and also when one was inconclusive or nothing applied: what could not be told is no pass.
    /// Where that is too strict, compare [`exit_code`](Self::exit_code) with 1.
    ///
    /// # Examples
    /// ```should_panic
    /// use lameduck_verify::{TargetSpec, verify};
    ///
    /// // Python's own server ends at once, whatever is in flight.
    /// let target = TargetSpec::command(["python3", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]);
    /// let report = verify(target).only(["H1-05"]).run().expect("python3 is there");
    /// report.assert_lossless();
    /// ```
    #[track_caller]
    pub fn assert_lossless(&self) {
        let why = match self.verdict {
            Verdict::Fail => "the service loses requests, or does not end, when it is told to stop",
            Verdict::Pass => return,
            _ => "it could not be told whether the service loses requests when it is told to stop",
        };
        panic!(
            "{why}\n\n{}",
            self.render_text(crate::render::Style::plain())
        );
    }

    /// 0: all well. 1: something failed. 3: nothing failed, but something was inconclusive, or nothing applied.
    ///
    /// (2, usage or set-up, is a [`VerifyError`](crate::VerifyError), not a report.)
    #[must_use]
    pub fn exit_code(&self, fail_on: FailOn) -> u8 {
        let differs = fail_on == FailOn::Any && self.count(Verdict::Differs) > 0;
        match self.verdict {
            Verdict::Fail => 1,
            _ if differs => 1,
            Verdict::Pass => 0,
            _ => 3,
        }
    }
}

impl Report {
    /// The exit code of this run: that of the comparison which [decides](Comparison::decides), if there is one, else
    /// [`Report::exit_code`].
    #[must_use]
    pub fn final_exit_code(&self, fail_on: FailOn) -> u8 {
        let baseline = self.compared.iter().find(|comparison| comparison.decides);
        baseline.map_or_else(|| self.exit_code(fail_on), Comparison::exit_code)
    }
}

/// The verdict of a run from those of its checks; nothing but `n/a` is no pass.
pub(crate) fn overall(checks: &[Finding]) -> Verdict {
    let any = |verdict| checks.iter().any(|finding| finding.verdict == verdict);
    if any(Verdict::Fail) {
        Verdict::Fail
    } else if any(Verdict::Inconclusive) || !(any(Verdict::Pass) || any(Verdict::Differs)) {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    }
}
