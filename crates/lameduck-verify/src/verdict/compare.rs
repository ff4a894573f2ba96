//! Owns holding one run against an earlier one: what became better, worse, or stayed; what counts as a regression.
//! Not: showing it (see `render`), or reading the earlier one (see `read`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::stats::fisher_worse;
use super::{FailOn, Finding, Report, StopLoss, Verdict, design_effect};

/// More loss is a regression where chance alone would show as much in fewer than one of a hundred comparisons.
const SIGNIFICANCE: f64 = 0.01;

/// A run held against an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
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
#[non_exhaustive]
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

    /// 0: no regression. 1: at least one. 3: none, but a check that told before tells nothing now (inconclusive or
    /// `n/a`), or fails now where the earlier run could not tell, or nothing was compared at all.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let tells = |verdict| !matches!(verdict, Verdict::Inconclusive | Verdict::NotApplicable);
        let lost_sight = |change: &Change| match (change.before, change.now) {
            (Some(before), Some(now)) if tells(before) => !tells(now),
            (Some(Verdict::Inconclusive), Some(now)) => now == Verdict::Fail,
            _ => false,
        };
        let compared =
            |change: &Change| change.before.is_some_and(tells) && change.now.is_some_and(tells);
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
        let front = |report: &Self| {
            let mut views = report.users.iter();
            views
                .find(|view| view.declared)
                .map(|view| view.front.clone())
        };
        if let (Some(then), Some(now)) = (front(earlier), front(self)) {
            differ("another front", &then, &now);
        }
        // Reports of before it was reckoned say nothing of it.
        if earlier.grace.grace_ms > 0.0 {
            let grace = |report: &Self| format!("{} ms", report.grace.grace_ms);
            differ("another grace period", &grace(earlier), &grace(self));
        }
        caveats
    }
}

/// What counts as failing.
fn fails(verdict: Verdict, fail_on: FailOn) -> bool {
    verdict == Verdict::Fail || verdict == Verdict::Differs && fail_on == FailOn::Any
}

fn change(before: Option<&Finding>, now: &Finding, fail_on: FailOn) -> Change {
    let (trend, regression, why) = match before {
        None => {
            let why = if fails(now.verdict, fail_on) {
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
    let (failed, failing) = (fails(then, fail_on), fails(now.verdict, fail_on));
    match (then, now.verdict) {
        (_, Verdict::Inconclusive) => {
            let why = "this run could not tell: the machine was too slow".to_owned();
            (Trend::Unknown, false, why)
        }
        (Verdict::NotApplicable, Verdict::NotApplicable) => {
            (Trend::Same, false, "neither run tested it".to_owned())
        }
        (_, Verdict::NotApplicable) => {
            let why = format!("it was `{}`; this run did not test it", then.word());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::outcome::{Outcome, Tally};
    use crate::options::{Options, TargetSpec};
    use crate::verdict::Series;

    fn finding(id: &'static str, verdict: Verdict, lost: u64, of: u64) -> Finding {
        let options = Options::new(TargetSpec::default());
        let mut finding = crate::scenario::finding(&options, 7, id, verdict, "seen".to_owned());
        let mut tally = Tally::default();
        for nth in 0..of {
            tally.add_outcome(if nth < lost {
                Outcome::Reset
            } else {
                Outcome::Served
            });
        }
        tally.lost = lost;
        finding.requests = tally;
        finding
    }

    /// With every loss in one of ten stops.
    fn lumped(mut finding: Finding) -> Finding {
        let (lost, of) = (finding.requests.lost, finding.requests.sent());
        let stop = |lost| StopLoss {
            at_stake: of / 10,
            lost,
        };
        let stops = std::iter::once(stop(lost)).chain((0..9).map(|_| stop(0)));
        let mut series = Series::default();
        stops.for_each(|stop| series.add_stop(stop));
        finding.series = Some(series);
        finding
    }

    fn judged(before: &Finding, now: &Finding) -> (Trend, bool) {
        let change = change(Some(before), now, FailOn::Loss);
        (change.trend, change.regression)
    }

    #[test]
    fn what_passed_or_differed_or_lacked_and_fails_now_is_a_regression() {
        let fails = finding("H1-02", Verdict::Fail, 3, 32);
        for before in [Verdict::Pass, Verdict::Differs, Verdict::NotApplicable] {
            let before = finding("H1-02", before, 0, 32);
            assert_eq!(judged(&before, &fails), (Trend::Worse, true));
            let back = if before.verdict == Verdict::NotApplicable {
                Trend::Unknown
            } else {
                Trend::Better
            };
            assert_eq!(judged(&fails, &before), (back, false));
        }
        let slow = finding("H1-02", Verdict::Inconclusive, 0, 0);
        assert_eq!(judged(&slow, &fails), (Trend::Unknown, false));
        assert_eq!(judged(&fails, &slow), (Trend::Unknown, false));
        let new = change(None, &fails, FailOn::Loss);
        assert_eq!((new.trend, new.regression), (Trend::New, false));
    }

    #[test]
    fn a_failure_that_was_there_before_is_known_unless_it_loses_more() {
        let before = finding("L-H1", Verdict::Fail, 10, 4_000);
        let alike = finding("L-H1", Verdict::Fail, 14, 4_000);
        let worse = finding("L-H1", Verdict::Fail, 40, 4_000);
        assert_eq!(judged(&before, &alike), (Trend::Same, false));
        assert_eq!(judged(&before, &worse), (Trend::Worse, true));
        assert_eq!(judged(&worse, &before), (Trend::Better, false));
        // The same counts, all from one stop that went badly: chance.
        assert_eq!(judged(&before, &lumped(worse)), (Trend::Same, false));
    }

    #[test]
    fn manners_count_only_when_they_are_asked_to() {
        let before = finding("A1", Verdict::Pass, 0, 0);
        let now = finding("A1", Verdict::Differs, 0, 0);
        assert!(!change(Some(&before), &now, FailOn::Loss).regression);
        assert!(change(Some(&before), &now, FailOn::Any).regression);
        // Checks of the other class have a manner to differ in as well: the exit code of P1.
        let before = finding("P1", Verdict::Pass, 0, 0);
        let now = finding("P1", Verdict::Differs, 0, 0);
        assert!(change(Some(&before), &now, FailOn::Any).regression);
    }

    #[test]
    fn a_waiver_that_is_taken_away_brings_back_what_was_known() {
        let mut before = finding("H1-02", Verdict::Waived, 3, 32);
        before.without_waiver = Some(Verdict::Fail);
        let now = finding("H1-02", Verdict::Fail, 3, 32);
        assert_eq!(judged(&before, &now), (Trend::Same, false));
        assert_eq!(judged(&now, &before), (Trend::Same, false));
    }

    #[test]
    fn the_exit_code_follows_from_regressions_and_lost_sight() {
        let with = |changes: &[(Verdict, Verdict)]| Comparison {
            name: String::new(),
            decides: true,
            target: String::new(),
            seed: String::new(),
            verdict: Verdict::Pass,
            lost: 0,
            of: 0,
            caveats: Vec::new(),
            changes: changes
                .iter()
                .map(|(before, now)| {
                    let (before, now) = (finding("P1", *before, 0, 0), finding("P1", *now, 0, 0));
                    change(Some(&before), &now, FailOn::Loss)
                })
                .collect(),
        };
        use Verdict::{Fail, Inconclusive, NotApplicable, Pass};
        // What is no longer tested, or fails where nothing was known, is no success.
        for lost_sight in [
            (Pass, NotApplicable),
            (Fail, NotApplicable),
            (Inconclusive, Fail),
        ] {
            assert_eq!(with(&[lost_sight, (Pass, Pass)]).exit_code(), 3);
        }
        assert_eq!(with(&[(NotApplicable, NotApplicable)]).exit_code(), 3);
        assert_eq!(with(&[(Pass, Pass), (Fail, Fail)]).exit_code(), 0);
        assert_eq!(with(&[(Pass, Inconclusive), (Pass, Fail)]).exit_code(), 1);
        assert_eq!(with(&[(Pass, Inconclusive)]).exit_code(), 3);
        assert_eq!(
            with(&[(Inconclusive, Inconclusive), (Pass, Pass)]).exit_code(),
            0
        );
        assert_eq!(with(&[]).exit_code(), 3);
    }
}
