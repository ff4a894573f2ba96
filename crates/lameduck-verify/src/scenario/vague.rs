//! Owns what a stop without an instant does to findings: what was written before the target can have known proves
//! nothing, and no loss among it is held against anybody.
//! Not: the sweeps of the main drain, which look at each write (see `judge`).

use std::time::Duration;

use super::bench::{Bench, Departure};
use super::drain::in_flight_time;
use crate::verdict::{Finding, Verdict};

/// When the last write of a check is due, after T.
pub(super) fn span(id: &str, grace: Duration) -> Duration {
    match id {
        "TLS-1" | "H2-03" => Duration::from_millis(100),
        "H1-12" => Duration::from_millis(80),
        "H1-13" => Duration::from_millis(50),
        // What lasts ends with the requests in flight.
        _ => in_flight_time(grace),
    }
}

/// Findings whose writes mostly fell before the first effect of the stop say nothing.
pub(super) fn unplaced(
    bench: &Bench<'_>,
    findings: Vec<Finding>,
    departures: &[Departure],
) -> Vec<Finding> {
    let vague = departures.iter().filter(|departure| departure.is_vague);
    let Some(width) = vague.map(Departure::width).max() else {
        return findings;
    };
    let judged = |mut finding: Finding| {
        let verdict = judge(
            finding.verdict,
            width,
            span(&finding.id, bench.options.grace),
        );
        if let Some(verdict) = verdict {
            let millis = width.as_secs_f64() * 1e3;
            finding.detail = format!(
                "{}; but the stop took effect within {millis:.0} ms, and most was written before: --signal has an instant",
                finding.detail
            );
            finding.verdict = verdict;
            (finding.consequence, finding.remedy) = (None, None);
        }
        finding
    };
    findings.into_iter().map(judged).collect()
}

/// The verdict instead, if another is due.
fn judge(verdict: Verdict, width: Duration, span: Duration) -> Option<Verdict> {
    match verdict {
        Verdict::Pass if width > span / 2 => Some(Verdict::Inconclusive),
        Verdict::Fail | Verdict::Differs if width >= span => Some(Verdict::Inconclusive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_the_first_effect_proves_nothing() {
        let ms = Duration::from_millis;
        let span = span("TLS-1", ms(4_000));
        assert_eq!(judge(Verdict::Pass, ms(5), span), None);
        assert_eq!(
            judge(Verdict::Pass, ms(60), span),
            Some(Verdict::Inconclusive)
        );
        assert_eq!(judge(Verdict::Fail, ms(60), span), None);
        assert_eq!(
            judge(Verdict::Fail, ms(100), span),
            Some(Verdict::Inconclusive)
        );
        assert_eq!(judge(Verdict::NotApplicable, ms(900), span), None);
    }
}
