//! Owns the words and columns of the text report.
//! Not: the drawing of lanes (see `lanes`).

use super::lanes;
use super::{Colour, Style};
use crate::observe::outcome::{Outcome, Tally};
use crate::verdict::{Figure, Finding, Report, Verdict, one_in, upper_bound_95};

/// Columns of the ids.
const ID: usize = 7;
/// Columns of the verdicts.
const VERDICT: usize = 12;

pub(super) fn render(report: &Report, style: Style) -> String {
    let mut out = Vec::new();
    header(report, style, &mut out);
    out.push(String::new());
    loss(report, style, &mut out);
    out.push(String::new());
    phases(report, style, &mut out);
    out.extend(lanes::draw(report, style.width));
    out.push(String::new());
    table(report, style, &mut out);
    next(report, style, &mut out);
    out.push(String::new());
    out.push(totals(report, style));
    let mut text = out
        .iter()
        .map(|line| line.trim_end())
        .collect::<Vec<_>>()
        .join("\n");
    text.push('\n');
    text
}

fn header(report: &Report, style: Style, out: &mut Vec<String>) {
    out.push(format!(
        "lameduck {}   contract {}   seed {}",
        report.version, report.contract, report.seed
    ));
    let target = &report.target;
    let name = printable(&target.label);
    hanging(
        "target   ",
        &format!(
            "{name} ({}), ready in {:.0} ms",
            target.addr, target.ready_ms
        ),
        style.width,
        out,
    );
    for (index, line) in report.method.iter().enumerate() {
        hanging(
            if index == 0 { "method   " } else { "         " },
            line,
            style.width,
            out,
        );
    }
    for (index, fact) in target.facts.iter().enumerate() {
        hanging(
            if index == 0 { "note     " } else { "         " },
            &printable(fact),
            style.width,
            out,
        );
    }
}

fn loss(report: &Report, style: Style, out: &mut Vec<String>) {
    let is_load = |finding: &&Finding| finding.id.starts_with("L-");
    let (mut all, mut rest) = (Tally::default(), Tally::default());
    let mut under_load = Tally::default();
    for finding in &report.checks {
        all.merge(&finding.requests);
        let part = if is_load(&finding) {
            &mut under_load
        } else {
            &mut rest
        };
        part.merge(&finding.requests);
    }
    let load = (under_load.sent() > 0).then_some(&under_load);
    let bound = |tally: &Tally| {
        upper_bound_95(tally.lost, tally.sent()).map_or_else(String::new, |rate| {
            match (tally.lost, one_in(rate)) {
                (_, 0 | 1) => String::new(),
                (0, n) => format!(" (95 % sure: fewer than 1 in {})", grouped(n)),
                (_, n) => format!(" (95 % sure: at most 1 in {})", grouped(n)),
            }
        })
    };
    let sentence = match load {
        Some(tally) if rest.lost == 0 => {
            format!(
                "LOST {} of {} requests{}",
                grouped(tally.lost),
                grouped(tally.sent()),
                bound(tally)
            )
        }
        Some(load) => format!(
            "LOST {} of {} requests: {} of {} under load{}, {} of {} sent right around the signal",
            grouped(all.lost),
            grouped(all.sent()),
            grouped(load.lost),
            grouped(load.sent()),
            bound(load),
            grouped(rest.lost),
            grouped(rest.sent())
        ),
        None => format!(
            "LOST {} of {} requests",
            grouped(all.lost),
            grouped(all.sent())
        ),
    };
    let colour = if all.lost > 0 { "31;1" } else { "32;1" };
    let from = out.len();
    wrap("", &sentence, style.width, out);
    for line in &mut out[from..] {
        *line = paint(style, colour, line);
    }
    let loads: Vec<&Finding> = report.checks.iter().filter(is_load).collect();
    if let Some(line) = counted(&loads) {
        hanging("  ", &line, style.width, out);
    }
    for line in what_users_saw(&all) {
        hanging("  ", &line, style.width, out);
    }
    if let Some(view) = report.users.iter().find(|view| view.declared) {
        hanging("  ", &view.summary, style.width, out);
    }
}

/// What the numbers under load count.
fn counted(loads: &[&Finding]) -> Option<String> {
    let figure = |name| {
        let counts = loads
            .iter()
            .filter_map(|load| match load.figures.get(name) {
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
fn what_users_saw(all: &Tally) -> Vec<String> {
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

fn phases(report: &Report, style: Style, out: &mut Vec<String>) {
    let spans: Vec<String> = report
        .phases
        .spans
        .iter()
        .map(|span| format!("{} {:.2} s", span.phase, span.took_ms / 1e3))
        .collect();
    let signal = format!(
        "{} from pid {} (lameduck)",
        report.signal.name, report.signal.from_pid
    );
    let line = if spans.is_empty() {
        signal
    } else {
        format!("{}    {signal}", spans.join(" > "))
    };
    wrap("", &line, style.width, out);
    if report.exit.killed_at_grace {
        wrap(
            "",
            "the grace period ran out: the process was killed",
            style.width,
            out,
        );
    }
    if !report.grace.summary.is_empty() {
        hanging("grace    ", &report.grace.summary, style.width, out);
    }
}

fn table(report: &Report, style: Style, out: &mut Vec<String>) {
    let owed = if style.width >= 90 { 44 } else { 0 };
    let seen = style.width - ID - owed - VERDICT - 3;
    let heading = if owed > 0 {
        format!("{:<owed$}", "what a client is owed")
    } else {
        String::new()
    };
    out.push(paint(
        style,
        "1",
        &format!(" {:<ID$}{heading}{:<seen$} verdict", "id", "seen"),
    ));
    let mut rows: Vec<&Finding> = report.checks.iter().collect();
    rows.sort_by_key(|finding| finding.verdict);
    for finding in rows {
        let short = crate::catalogue::entry(&finding.id).map_or("", |entry| entry.short);
        let verdict = paint(style, colour_of(finding.verdict), finding.verdict.word());
        let lines = folded(&printable(&finding.detail), seen - 1);
        for (index, line) in lines.iter().enumerate() {
            let (id, short, verdict) = if index == 0 {
                (finding.id.as_ref(), short, verdict.as_str())
            } else {
                ("", "", "")
            };
            let short = if owed > 0 {
                format!("{:<owed$}", clipped(short, owed - 1))
            } else {
                String::new()
            };
            out.push(format!(" {id:<ID$}{short}{line:<seen$} {verdict}"));
        }
    }
}

fn next(report: &Report, style: Style, out: &mut Vec<String>) {
    let mut open: Vec<&Finding> = report
        .checks
        .iter()
        .filter(|finding| finding.next.is_some() && finding.verdict != Verdict::Waived)
        .collect();
    open.sort_by_key(|finding| finding.verdict);
    for finding in open {
        out.push(String::new());
        let id = paint(style, colour_of(finding.verdict), &finding.id);
        hanging(&format!("{id}  "), &finding.owed, style.width, out);
        for (name, text) in [
            ("costs   ", finding.consequence.as_deref()),
            ("mend    ", finding.remedy.as_deref()),
        ] {
            if let Some(text) = text {
                hanging(&format!("  {name}"), text, style.width, out);
            }
        }
        if let Some(command) = &finding.next {
            // Not folded: it is there to be copied.
            out.push(format!("  next    {}", printable(command)));
        }
    }
}

fn totals(report: &Report, style: Style) -> String {
    let mut verdicts = vec![
        Verdict::Pass,
        Verdict::Fail,
        Verdict::Differs,
        Verdict::NotApplicable,
        Verdict::Inconclusive,
    ];
    if report.count(Verdict::Waived) > 0 {
        verdicts.push(Verdict::Waived);
    }
    let counts = verdicts
        .iter()
        .map(|verdict| format!("{} {}", report.count(*verdict), verdict.word()))
        .collect::<Vec<_>>()
        .join("   ");
    let exit = format!("exit {}", report.exit_code(style.fail_on));
    let gap = style
        .width
        .saturating_sub(counts.len() + exit.len())
        .clamp(3, 24);
    format!("{counts}{:gap$}{exit}", "")
}

fn colour_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fail => "31;1",
        Verdict::Differs | Verdict::Inconclusive => "33",
        Verdict::Pass => "32",
        Verdict::NotApplicable | Verdict::Waived => "2",
    }
}

fn paint(style: Style, colour: &str, text: &str) -> String {
    match style.color {
        Colour::Plain => text.to_owned(),
        Colour::Ansi => format!("\x1b[{colour}m{text}\x1b[0m"),
    }
}

/// Without control characters: what a target wrote can not steer the reader's terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn clipped(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

/// `text` behind `lead`, folded, further lines indented as deep.
fn hanging(lead: &str, text: &str, width: usize, out: &mut Vec<String>) {
    let shown = visible(lead);
    for (index, line) in folded(text, width.saturating_sub(shown).max(20))
        .into_iter()
        .enumerate()
    {
        out.push(if index == 0 {
            format!("{lead}{line}")
        } else {
            format!("{:shown$}{line}", "")
        });
    }
}

fn wrap(lead: &str, text: &str, width: usize, out: &mut Vec<String>) {
    hanging(lead, text, width, out);
}

/// Columns of a text that may carry colour.
fn visible(text: &str) -> usize {
    let mut columns = 0;
    let mut in_escape = false;
    for c in text.chars() {
        match c {
            '\x1b' => in_escape = true,
            'm' if in_escape => in_escape = false,
            _ if !in_escape => columns += 1,
            _ => {}
        }
    }
    columns
}

fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        let columns = line.chars().count();
        if columns > 0 && columns + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if columns > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// 4812 as "4 812".
fn grouped(number: u64) -> String {
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
