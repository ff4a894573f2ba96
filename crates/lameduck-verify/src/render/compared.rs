//! Owns showing a comparison with an earlier run in the terminal.
//! Not: comparing (see `verdict::compare`).

use super::Style;
use super::escape::printable;
use super::text::{hanging, paint};
use super::words::{grouped, plural};
use crate::verdict::{Change, Comparison, Report, Trend, Verdict};

pub(super) fn draw(report: &Report, style: Style, out: &mut Vec<String>) {
    for comparison in &report.compared {
        out.push(String::new());
        one(comparison, style, out);
    }
}

/// "2 regressions, 1 better, 1 known, 40 the same".
pub(super) fn summary(comparison: &Comparison) -> String {
    let count = |pick: &dyn Fn(&&Change) -> bool| comparison.changes.iter().filter(pick).count();
    let regressions = count(&|change| change.regression);
    let mut parts = vec![plural(regressions, "regression", "regressions")];
    let known = |change: &&Change| is_known(change);
    let kinds: [(usize, &str); 5] = [
        (count(&|change| change.trend == Trend::Better), "better"),
        (count(&known), "known"),
        (
            count(&|change| change.trend == Trend::Same && !is_known(change)),
            "the same",
        ),
        (count(&|change| change.trend == Trend::Unknown), "unknown"),
        (
            count(&|change| matches!(change.trend, Trend::New | Trend::Gone)),
            "asked in one run only",
        ),
    ];
    for (count, words) in kinds {
        if count > 0 {
            parts.push(format!("{count} {words}"));
        }
    }
    parts.join(", ")
}

/// It fails as it did before.
pub(super) fn is_known(change: &Change) -> bool {
    change.trend == Trend::Same && change.now == Some(Verdict::Fail)
}

/// Whether a table of changes should have it.
pub(super) fn is_worth_a_row(change: &Change) -> bool {
    change.trend != Trend::Same || is_known(change)
}

/// "fail → pass", "3 of 4 800 → 0 of 5 000".
pub(super) fn verdicts(change: &Change) -> String {
    let word = |verdict: Option<Verdict>| verdict.map_or("not asked", Verdict::word);
    format!("{} → {}", word(change.before), word(change.now))
}

pub(super) fn losses(change: &Change) -> String {
    let ((lost_before, of_before), (lost_now, of_now)) = (change.lost_before, change.lost_now);
    if of_before + of_now == 0 {
        return String::new();
    }
    format!(
        "lost {} of {} → {} of {}",
        grouped(lost_before),
        grouped(of_before),
        grouped(lost_now),
        grouped(of_now)
    )
}

/// The word for a change, and its colour in the terminal.
pub(super) fn word(change: &Change) -> (&'static str, &'static str) {
    match change.trend {
        _ if change.regression => ("regression", "31;1"),
        Trend::Better => ("better", "32"),
        Trend::Same if is_known(change) => ("known", "33"),
        other => (other.word(), "2"),
    }
}

fn one(comparison: &Comparison, style: Style, out: &mut Vec<String>) {
    let name = printable(&comparison.name);
    let lead = if comparison.decides {
        "baseline "
    } else {
        "compared "
    };
    hanging(
        &paint(style, "1", lead),
        &format!("{name}: {}", summary(comparison)),
        style.width,
        out,
    );
    for caveat in &comparison.caveats {
        hanging("         ", &printable(caveat), style.width, out);
    }
    for change in comparison
        .changes
        .iter()
        .filter(|change| is_worth_a_row(change))
    {
        let (word, colour) = word(change);
        let mut text = verdicts(change);
        for more in [losses(change), change.why.clone()] {
            if !more.is_empty() {
                text.push_str("; ");
                text.push_str(&printable(&more));
            }
        }
        let lead = format!(
            " {:<7}{} ",
            printable(&change.id),
            paint(style, colour, &format!("{word:<11}"))
        );
        hanging(&lead, &text, style.width, out);
    }
}
