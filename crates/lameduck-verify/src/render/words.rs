//! Owns the sentences that all formats share: what was lost, how sure that is, what users saw, how numbers are written.
//! Not: columns, colours or markup (see each format).

use crate::observe::outcome::{Outcome, Tally};
use crate::verdict::{Figure, Finding, Rate, Report, Verdict, one_in, upper_bound_95};

/// The sum over all checks, and over those under load and the others.
pub(super) struct Losses {
    pub(super) all: Tally,
    pub(super) load: Tally,
    pub(super) rest: Tally,
}

impl Losses {
    pub(super) fn of(report: &Report) -> Self {
        let mut losses = Self {
            all: Tally::default(),
            load: Tally::default(),
            rest: Tally::default(),
        };
        for finding in &report.checks {
            losses.all.merge(&finding.requests);
            let part = if finding.id.starts_with("L-") {
                &mut losses.load
            } else {
                &mut losses.rest
            };
            part.merge(&finding.requests);
        }
        losses
    }

    /// "LOST 3 of 4 800 requests (…)", without the word.
    pub(super) fn sentence(&self) -> String {
        let counts =
            |tally: &Tally| format!("{} of {}", grouped(tally.lost), grouped(tally.sent()));
        if self.load.sent() == 0 {
            format!("{} requests", counts(&self.all))
        } else if self.rest.lost == 0 {
            format!("{} requests{}", counts(&self.load), bound(&self.load))
        } else {
            format!(
                "{} requests: {} under load{}, {} sent right around the signal",
                counts(&self.all),
                counts(&self.load),
                bound(&self.load),
                counts(&self.rest)
            )
        }
    }

    /// In how many words the verdict is told in a heading.
    pub(super) fn heading(&self) -> String {
        let sent = self.all.sent();
        match self.all.lost {
            0 if sent == 0 => "No request was judged".to_owned(),
            0 => format!("No request lost of {}", grouped(sent)),
            lost => format!("{} of {} requests lost", grouped(lost), grouped(sent)),
        }
    }
}

fn bound(tally: &Tally) -> String {
    upper_bound_95(tally.lost, tally.sent()).map_or_else(String::new, |rate| {
        match (tally.lost, one_in(rate)) {
            (_, 0 | 1) => String::new(),
            (0, n) => format!(" (95 % sure: fewer than 1 in {})", grouped(n)),
            (_, n) => format!(" (95 % sure: at most 1 in {})", grouped(n)),
        }
    })
}

/// "loss rate under load 0.06 %, 95 % interval 0.013 % to 0.18 %".
pub(super) fn interval(rate: &Rate) -> String {
    let alike = if rate.design_effect > 1.05 {
        format!(
            " (requests of one stop share its fate, so {} count as {})",
            grouped(rate.of),
            grouped(independent(rate))
        )
    } else {
        String::new()
    };
    format!(
        "loss rate under load {}, 95 % interval {} to {}{alike}",
        percent(share(rate.lost, rate.of)),
        percent(rate.low),
        percent(rate.high),
    )
}

/// As many independent requests would say as much.
fn independent(rate: &Rate) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a count, divided by at least 1"
    )]
    let count = (rate.of as f64 / rate.design_effect.max(1.0)) as u64;
    count.max(1)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(super) fn share(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        part as f64 / of as f64
    }
}

/// Two digits that matter.
pub(super) fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    let digits = match percent {
        p if p <= 0.0 || p >= 99.95 => 0,
        p if p >= 10.0 => 1,
        p if p >= 1.0 => 1,
        p if p >= 0.1 => 2,
        p if p >= 0.01 => 3,
        _ => 4,
    };
    format!("{percent:.digits$} %")
}

/// What the numbers under load count.
pub(super) fn counted(report: &Report) -> Option<String> {
    let figure = |name| {
        let loads = report
            .checks
            .iter()
            .filter(|check| check.id.starts_with("L-"));
        let counts = loads.filter_map(|load| match load.figures.get(name) {
            Some(Figure::Count(count)) => Some(*count),
            _ => None,
        });
        counts.sum::<u64>()
    };
    let (rounds, with_loss, before) = (
        figure("rounds"),
        figure("rounds_with_loss"),
        figure("answered_before_signal"),
    );
    if rounds == 0 {
        return None;
    }
    let stops = if with_loss == 0 {
        String::new()
    } else {
        format!("{with_loss} of {rounds} stops under load lost something; ")
    };
    Some(format!(
        "{stops}counted are requests that were unanswered at the signal or sent after it ({} more were answered before)",
        grouped(before)
    ))
}

/// What a person at the other end would have met.
pub(super) fn what_users_saw(all: &Tally) -> Vec<String> {
    let mut lines = Vec::new();
    let kinds = [
        (
            Outcome::Eof,
            "saw the connection close instead of an answer ('empty reply', 'socket hang up'; behind a proxy: 502)",
        ),
        (
            Outcome::Reset,
            "saw 'connection reset by peer' (behind a proxy: 502)",
        ),
        (
            Outcome::Truncated,
            "got a part of an answer and then nothing (a broken page or download)",
        ),
        (Outcome::Hung, "waited until their own time-out"),
        (Outcome::Error, "got a server error (5xx)"),
    ];
    for (outcome, words) in kinds {
        let count = all.count(outcome);
        if count > 0 {
            lines.push(format!("{} {words}", requests(count)));
        }
    }
    if lines.is_empty() && all.sent() > 0 {
        lines.push("no client was left without an answer to a request that it had sent".to_owned());
    } else if all.lost_posts > 0 {
        let posts = match all.lost_posts {
            1 => "1 of these was a POST".to_owned(),
            posts => format!("{} of these were POSTs", grouped(posts)),
        };
        lines.push(format!(
            "{posts}: the client can not know whether it took effect, and should not send it again"
        ));
    }
    let refused = all.count(Outcome::RefusedConnect);
    if refused > 0 {
        lines.push(format!(
            "{} new connections were refused after the signal: nothing is lost by that, clients may go elsewhere",
            grouped(refused)
        ));
    }
    lines
}

fn requests(count: u64) -> String {
    if count == 1 {
        "1 request".to_owned()
    } else {
        format!("{} requests", grouped(count))
    }
}

/// A sign beside the word: verdicts are told apart without colour.
pub(super) fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fail => "✕",
        Verdict::Differs => "△",
        Verdict::Inconclusive => "?",
        Verdict::Pass => "✓",
        _ => "–",
    }
}

/// How the process of the main scenario ended, in words.
pub(super) fn exit(report: &Report) -> String {
    let exit = &report.exit;
    let how = match (exit.code, exit.signal) {
        _ if exit.killed_at_grace => "was killed when the grace period was over".to_owned(),
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("died of signal {signal}"),
        _ if exit.left_running => {
            "still ran when the grace period was over, and was left alone".to_owned()
        }
        // Not our child: that it is gone is all that can be seen.
        (None, None) if exit.after_ms.is_some() => "was gone".to_owned(),
        (None, None) => "was not seen to exit".to_owned(),
    };
    exit.after_ms.map_or_else(
        || how.clone(),
        |ms| format!("{how}, {} after the signal", time(ms)),
    )
}

/// "1.52 s", "3 ms".
pub(super) fn time(ms: f64) -> String {
    match ms.abs() {
        small if small < 0.95 && small > 0.0 => format!("{ms:.1} ms"),
        short if short < 999.5 => format!("{ms:.0} ms"),
        long if long < 60_000.0 => format!("{:.2} s", ms / 1e3),
        _ => format!("{:.1} min", ms / 60e3),
    }
}

/// Findings in the order of urgency.
pub(super) fn by_urgency(report: &Report) -> Vec<&Finding> {
    let mut rows: Vec<&Finding> = report.checks.iter().collect();
    rows.sort_by_key(|finding| finding.verdict);
    rows
}

/// Those that call for action, the worst first.
pub(super) fn open(report: &Report) -> Vec<&Finding> {
    let mut open = by_urgency(report);
    open.retain(|finding| {
        matches!(
            finding.verdict,
            Verdict::Fail | Verdict::Differs | Verdict::Inconclusive
        )
    });
    open
}

/// Checks that say nothing about the target for one and the same reason.
pub(super) struct Untested<'r> {
    pub(super) ids: Vec<&'r str>,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
}

/// What was lacking, waived, or not to be told, by reason.
pub(super) fn untested(report: &Report) -> Vec<Untested<'_>> {
    let mut groups: Vec<Untested<'_>> = Vec::new();
    for finding in by_urgency(report) {
        if matches!(
            finding.verdict,
            Verdict::Fail | Verdict::Differs | Verdict::Pass
        ) {
            continue;
        }
        let reason = reason(finding);
        let same = groups
            .iter_mut()
            .find(|group| group.verdict == finding.verdict && group.reason == reason);
        match same {
            Some(group) => group.ids.push(&finding.id),
            None => groups.push(Untested {
                ids: vec![&finding.id],
                verdict: finding.verdict,
                reason,
            }),
        }
    }
    groups
}

fn reason(finding: &Finding) -> String {
    let Some(waiver) = &finding.waiver else {
        return finding.detail.clone();
    };
    let without = finding.without_waiver.map_or_else(String::new, |verdict| {
        format!(" (without the waiver: {})", verdict.word())
    });
    format!("waived: {waiver}. Seen: {}{without}", finding.detail)
}

/// The section of the contract that an id stands in: `H1-02` in `H1`, `P4` in `P`.
pub(super) fn section(id: &str) -> &str {
    match id.split_once('-') {
        Some((section, _)) => section,
        None => id.trim_end_matches(|c: char| c.is_ascii_digit()),
    }
}

/// What is owed in a few words.
pub(super) fn short(finding: &Finding) -> &str {
    crate::catalogue::entry(&finding.id).map_or(&finding.owed, |entry| entry.short)
}

/// The same for an id alone; nothing for one that this version does not know.
pub(super) fn short_of(id: &str) -> &'static str {
    crate::catalogue::entry(id).map_or("", |entry| entry.short)
}

/// 4812 as "4 812".
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// "4 failures", "1 failure".
pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What these numbers do not say.
pub(super) fn limits(report: &Report) -> Vec<String> {
    let through_a_front = report.users.iter().any(|view| view.basis == "measured");
    let mut limits = vec![
        if through_a_front {
            "what users saw was measured through the front that was asked, from this machine: what happens behind it is seen only by its answers".to_owned()
        } else {
            "client and service ran on one machine, over loopback: there were no losses on the way, no balancer and no propagation unless one is named".to_owned()
        },
        "the times are those of this tool's own clock, read right before a write and right after a read".to_owned(),
        "a request is lost when its client looked right before the write and saw no end, wrote all of it, and got no answer".to_owned(),
        "requests of one stop share its fate: the interval divides counts by their design effect (Rao and Scott), then is Wilson's; the bound beside it takes requests as independent".to_owned(),
        "checks whose writes are timed to hurt are not in the loss rate: only stops at random instants are".to_owned(),
    ];
    if report.connections_left_out > 0 {
        limits.push(format!(
            "{} of the drains' connections are not drawn: they are like those that are",
            grouped(report.connections_left_out)
        ));
    }
    limits
}
