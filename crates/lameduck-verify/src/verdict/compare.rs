//! Owns holding one run against an earlier one: what became better, worse, or stayed; what counts as a regression.
//! Not: showing it (see `render`), or reading the earlier one (see `read`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::stats::fisher_worse;
use super::{FailOn, Finding, Report, StopLoss, Verdict, design_effect};
use crate::catalogue::Class;

/// More loss is a regression where chance alone would show as much in fewer than one of a hundred comparisons.
const SIGNIFICANCE: f64 = 0.01;

/// A run held against an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How the earlier run is named: its file.
    pub name: String,
    /// It is the baseline: the exit code follows from it alone.
    #[serde(default)]
    pub decides: bool,
    /// The target of the earlier run.
    pub target: String,
    /// The seed of the earlier run.
    pub seed: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Requests that it lost.
    pub lost: u64,
    /// Of so many that were sent.
    pub of: u64,
    /// In what the two runs differ that should be the same for a comparison.
    pub caveats: Vec<String>,
    /// Every id of either run, in the order of the contract.
    pub changes: Vec<Change>,
}

/// What became of one id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The id.
    pub id: Cow<'static, str>,
    /// What the earlier run answered, if it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Verdict>,
    /// What this run answered, if it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Verdict>,
    /// Requests lost of those sent, in the earlier run.
    pub lost_before: (u64, u64),
    /// Requests lost of those sent, in this run.
    pub lost_now: (u64, u64),
    /// Which way it went.
    pub trend: Trend,
    /// It counts as a regression.
    pub regression: bool,
    /// Why, in one sentence; empty where nothing changed and nothing fails.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Which way an id went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trend {
    /// It fails and did not, or loses more than chance explains.
    Worse,
    /// It failed and does not, or loses less than chance explains.
    Better,
    /// Nothing that chance would not do.
    Same,
    /// One of the runs could not tell.
    Unknown,
    /// Only this run asked.
    New,
    /// Only the earlier run asked.
    Gone,
}

impl Trend {
    /// The word for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Same => "same",
            Self::Unknown => "unknown",
            Self::New => "new",
            Self::Gone => "gone",
        }
    }
}

impl Comparison {
    /// The changes that count as regressions.
    pub fn regressions(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.regression)
    }

    /// 0: no regression. 1: at least one. 3: none, but a check that told before is inconclusive now, or nothing
    /// was compared at all.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let told = |verdict: Option<Verdict>| {
            verdict.is_some_and(|verdict| verdict != Verdict::Inconclusive)
        };
        let lost_sight =
            |change: &Change| change.now == Some(Verdict::Inconclusive) && told(change.before);
        let compared = |change: &Change| change.before.is_some() && change.now.is_some();
        if self.regressions().next().is_some() {
            1
        } else if self.changes.iter().any(lost_sight) || !self.changes.iter().any(compared) {
            3
        } else {
            0
        }
    }
}

impl Report {
    /// Holds this run against `earlier`, which reports call `name`; with [`FailOn::Any`] manners count too.
    ///
    /// A regression is an id that the earlier run answered with `pass`, `differs` or `n/a` and that fails now; or
    /// one that lost requests before and loses a larger share now, where Fisher's exact test (one-sided, on counts
    /// divided by their design effect, see [`Rate`](super::Rate)) gives p < 0.01. An id that failed before and fails
    /// as much now is known, not a regression; one that the earlier run did not ask is new, and none either.
    #[must_use]
    pub fn compared_with(&self, name: &str, earlier: &Self, fail_on: FailOn) -> Comparison {
        let mut changes: Vec<Change> = self
            .checks
            .iter()
            .map(|now| {
                let before = earlier.checks.iter().find(|before| before.id == now.id);
                change(before, now, fail_on)
            })
            .collect();
        for before in &earlier.checks {
            if self.checks.iter().all(|now| now.id != before.id) {
                changes.push(Change {
                    id: before.id.clone(),
                    before: Some(before.verdict),
                    now: None,
                    lost_before: lost(before),
                    lost_now: (0, 0),
                    trend: Trend::Gone,
                    regression: false,
                    why: "this run did not ask".to_owned(),
                });
            }
        }
        Comparison {
            name: name.to_owned(),
            decides: false,
            target: earlier.target.label.clone(),
            seed: earlier.seed.clone(),
            verdict: earlier.verdict,
            lost: earlier.lost,
            of: earlier.requests.sent(),
            caveats: self.caveats(earlier),
            changes,
        }
    }

    fn caveats(&self, earlier: &Self) -> Vec<String> {
        let mut caveats = Vec::new();
        let mut differ = |what: &str, before: &str, now: &str| {
            if before != now {
                caveats.push(format!("{what}: `{before}` then, `{now}` now"));
            }
        };
        differ("another target", &earlier.target.label, &self.target.label);
        differ(
            "another command",
            &earlier.target.command.join(" "),
            &self.target.command.join(" "),
        );
        differ(
            "another version of the contract",
            &earlier.contract.to_string(),
            &self.contract.to_string(),
        );
        differ(
            "another version of lameduck",
            &earlier.version,
            &self.version,
        );
        differ("another stop", &earlier.signal.name, &self.signal.name);
        differ("another seed", &earlier.seed, &self.seed);
        caveats
    }
}

/// What counts as failing.
fn fails(verdict: Verdict, class: Class, fail_on: FailOn) -> bool {
    verdict == Verdict::Fail
        || verdict == Verdict::Differs && fail_on == FailOn::Any && class == Class::Manners
}

fn change(before: Option<&Finding>, now: &Finding, fail_on: FailOn) -> Change {
    let (trend, regression, why) = match before {
        None => {
            let why = if fails(now.verdict, now.class, fail_on) {
                "the earlier run did not ask; it fails"
            } else {
                "the earlier run did not ask"
            };
            (Trend::New, false, why.to_owned())
        }
        Some(before) => judge(before, now, fail_on),
    };
    Change {
        id: now.id.clone(),
        before: before.map(|before| before.verdict),
        now: Some(now.verdict),
        lost_before: before.map_or((0, 0), lost),
        lost_now: lost(now),
        trend,
        regression,
        why,
    }
}

fn judge(before: &Finding, now: &Finding, fail_on: FailOn) -> (Trend, bool, String) {
    if now.verdict == Verdict::Waived {
        return (Trend::Same, false, "it is waived".to_owned());
    }
    // A waiver that is gone brings back what it hid: that was known.
    let then = before.without_waiver.unwrap_or(before.verdict);
    let (failed, failing) = (
        fails(then, before.class, fail_on),
        fails(now.verdict, now.class, fail_on),
    );
    match (then, now.verdict) {
        (_, Verdict::Inconclusive) => {
            let why = "this run could not tell: the machine was too slow".to_owned();
            (Trend::Unknown, false, why)
        }
        (Verdict::Inconclusive, _) => {
            let why = if failing { "; it fails" } else { "" };
            (
                Trend::Unknown,
                false,
                format!("the earlier run could not tell{why}"),
            )
        }
        _ if failing && !failed => {
            let why = format!("it was `{}` and fails now", then.word());
            (Trend::Worse, true, why)
        }
        _ if failed && !failing => {
            let why = format!("it failed and is `{}` now", now.verdict.word());
            (Trend::Better, false, why)
        }
        _ => losses(before, now, failing),
    }
}

/// Both fail or neither does: the shares of lost requests decide.
fn losses(before: &Finding, now: &Finding, failing: bool) -> (Trend, bool, String) {
    let effect = design_effect(stops(before)).max(design_effect(stops(now)));
    let (then, here) = (thinned(lost(before), effect), thinned(lost(now), effect));
    let (more, less) = (fisher_worse(then, here), fisher_worse(here, then));
    if more < SIGNIFICANCE {
        let why = format!(
            "it loses a larger share than before (p = {})",
            p_value(more)
        );
        (Trend::Worse, true, why)
    } else if less < SIGNIFICANCE {
        let why = format!(
            "it loses a smaller share than before (p = {})",
            p_value(less)
        );
        (Trend::Better, false, why)
    } else if failing {
        (
            Trend::Same,
            false,
            "known: it failed before as well".to_owned(),
        )
    } else {
        (Trend::Same, false, String::new())
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 {
        "less than 0.0001".to_owned()
    } else {
        format!("{p:.4}")
    }
}

fn lost(finding: &Finding) -> (u64, u64) {
    (finding.requests.lost, finding.requests.sent())
}

fn stops(finding: &Finding) -> &[StopLoss] {
    finding.series.as_ref().map_or(&[], |series| &series.stops)
}

/// Counts of as many independent requests as say the same.
fn thinned((lost, of): (u64, u64), effect: f64) -> (u64, u64) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "counts divided by at least 1"
    )]
    let thin = |count: u64| (count as f64 / effect.max(1.0)).round() as u64;
    let of = thin(of);
    (thin(lost).min(of), of)
}
