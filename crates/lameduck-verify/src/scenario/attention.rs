//! Owns what our own being held up does to findings: where this machine did not let us look or act in time, an accusation
//! that rests on time is left open, and so is a pass whose test may not have taken place.
//! Not: noting hold-ups (see `observe::holdups`), or evidence that shows of each write whether it was in time (sweeps).

use std::time::{Duration, Instant};

use super::bench::{Bench, Departure};
use super::vague;
use crate::observe::holdups::HeldUp;
use crate::verdict::{Finding, Verdict};

/// Held up for so long, we can not hold a target to a bound of half a second.
const STALL: Duration = Duration::from_millis(200);
/// Nor when so large a part of the time was taken from us in pieces: whoever reads or sends slowly falls behind.
const SHARE: u32 = 4;
/// Closes are told apart by tenths of a second.
const FINE: Duration = Duration::from_millis(50);
/// What is written right before the signal is written so long before it at most.
const EVE: Duration = Duration::from_millis(20);
/// Who should stand ready at the signal comes to stand there in the time before it.
const GATHERING: Duration = Duration::from_secs(2);

/// When we should have been attentive, in one launch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    /// The signal.
    pub(crate) t: Instant,
    /// From then on nothing was looked at.
    pub(crate) until: Instant,
}

impl Watch {
    /// From `t` to now.
    pub(crate) fn since(t: Instant) -> Self {
        let until = Instant::now();
        Self { t, until }
    }
}

impl From<&Departure> for Watch {
    fn from(departure: &Departure) -> Self {
        Self {
            t: departure.t,
            until: departure.over_at,
        }
    }
}

impl HeldUp {
    /// Too much to tell who was slow, the target or we.
    pub(crate) fn excuses(self) -> bool {
        self.longest > STALL || self.total > STALL && self.total * SHARE > self.of
    }

    /// Too much for what is measured in tenths of a second.
    pub(crate) fn blurs(self) -> bool {
        self.longest > FINE
    }
}

/// The judges of these weigh each thing by its own time: a look right before each write and how late it was, or when
/// each close came. Nothing is left to be weighed here.
fn weighs_itself(id: &str) -> bool {
    matches!(id, "H1-02" | "H1-04" | "H1-05" | "H1-06" | "WS-06")
}

/// These checks act in the time after the signal, and no judge looks at the clock of each act.
fn acts_after_signal(id: &str) -> bool {
    matches!(id, "P5" | "P7" | "P9" | "A5")
}

impl Bench<'_> {
    /// The worst that happened to us during any of `watches`.
    pub(crate) fn held_up(&self, watches: &[Watch]) -> HeldUp {
        self.held_up_from(EVE, watches)
    }

    /// The same with the time `before` each signal.
    fn held_up_from(&self, before: Duration, watches: &[Watch]) -> HeldUp {
        let each = watches.iter().map(|watch| {
            let from = watch.t.checked_sub(before).unwrap_or(watch.t);
            self.lateness.held_up(from, watch.until)
        });
        each.max_by_key(|held_up| (held_up.excuses(), held_up.longest))
            .unwrap_or_default()
    }

    /// Weighs one finding by how attentive we were.
    pub(crate) fn weigh(&self, finding: Finding, watches: &[Watch]) -> Finding {
        let span = vague::span(&finding.id, self.options.grace);
        let at_start: Vec<Watch> = watches
            .iter()
            .map(|watch| Watch {
                until: watch.until.min(watch.t + span),
                ..*watch
            })
            .collect();
        let before = if finding.counted_none() {
            GATHERING
        } else {
            EVE
        };
        finding
            .unless_held_up(self.held_up_from(before, watches))
            .unless_missed(self.held_up(&at_start), span)
    }

    /// Weighs those of one scenario.
    pub(crate) fn weigh_all(&self, findings: Vec<Finding>, watches: &[Watch]) -> Vec<Finding> {
        let weighed = findings
            .into_iter()
            .map(|finding| self.weigh(finding, watches));
        weighed.collect()
    }
}

impl Finding {
    /// Leaves an accusation open that rests on time, when this machine took that time from us: most likely from the
    /// target too.
    fn unless_held_up(self, held_up: HeldUp) -> Self {
        let accuses = matches!(self.verdict, Verdict::Fail | Verdict::Differs);
        // Who has none of what was counted may have had it while we were not there.
        let is_unsure =
            !weighs_itself(&self.id) && (accuses || self.counted_none()) && held_up.excuses();
        let finding = if is_unsure {
            self.left_open(held_up)
        } else {
            self
        };
        finding.with_figure("held_up_ms", held_up.longest)
    }

    /// It does not apply, and not because the target was known to lack something: there was nothing to be counted.
    fn counted_none(&self) -> bool {
        self.verdict == Verdict::NotApplicable && !self.figures.is_empty()
    }

    /// Leaves a pass open whose acts were due within `span` after the signal, when we were not there for half of it.
    fn unless_missed(self, held_up: HeldUp, span: Duration) -> Self {
        let is_missed = self.verdict == Verdict::Pass
            && acts_after_signal(&self.id)
            && held_up.longest > span.min(STALL * 2) / 2;
        if is_missed {
            return self.left_open(held_up);
        }
        self
    }

    /// Nothing is said for or against the target.
    pub(crate) fn left_open(mut self, held_up: HeldUp) -> Self {
        self.verdict = Verdict::Inconclusive;
        self.detail = format!(
            "this machine held us up for {} ms at a stretch ({} of {} ms in all), so this can not be told: {}",
            held_up.longest.as_millis(),
            held_up.total.as_millis(),
            held_up.of.as_millis(),
            self.detail
        );
        (self.consequence, self.remedy) = (None, None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Options, TargetSpec};
    use crate::scenario::finding;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn found(id: &'static str, verdict: Verdict) -> Finding {
        let options = Options::new(TargetSpec::command(["x"]));
        finding(&options, 7, id, verdict, "seen".to_owned())
    }

    fn held_up(longest: u64, total: u64) -> HeldUp {
        HeldUp {
            longest: MS(longest),
            total: MS(total),
            of: MS(1_000),
        }
    }

    #[test]
    fn a_slow_machine_accuses_nobody() {
        for verdict in [Verdict::Fail, Verdict::Differs] {
            let left_open = found("P3", verdict).unless_held_up(held_up(400, 400));
            assert_eq!(left_open.verdict, Verdict::Inconclusive);
            assert!(left_open.detail.contains("400 ms") && left_open.detail.ends_with("seen"));
            assert!(left_open.remedy.is_none() && left_open.next.is_some());
            let told = |held_up| found("P3", verdict).unless_held_up(held_up).verdict;
            assert_eq!(told(held_up(200, 240)), verdict);
            assert_eq!(told(held_up(30, 260)), Verdict::Inconclusive, "in pieces");
            let by_looks = found("H1-02", verdict).unless_held_up(held_up(400, 400));
            assert_eq!(by_looks.verdict, verdict);
        }
        let pass = found("P3", Verdict::Pass).unless_held_up(held_up(400, 400));
        assert_eq!(pass.verdict, Verdict::Pass);
    }

    #[test]
    fn a_test_that_we_missed_passes_nobody() {
        let told = |id, longest| {
            let held_up = held_up(longest, longest);
            let finding = found(id, Verdict::Pass).unless_missed(held_up, MS(1_500));
            finding.verdict
        };
        assert_eq!(
            (told("P9", 250), told("P9", 150)),
            (Verdict::Inconclusive, Verdict::Pass)
        );
        assert_eq!(told("P1", 900), Verdict::Pass);
    }
}
