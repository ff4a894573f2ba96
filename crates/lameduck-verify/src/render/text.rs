//! Owns the words and columns of the text report.
//! Not: the drawing of lanes (see `lanes`).

use super::compared;
use super::escape::{harmless, printable_lines};
use super::lanes;
use super::words::{self, Losses};
use super::{Colour, Style};
use crate::front::FrontView;
use crate::verdict::{Finding, Report, TargetReport, Verdict};

/// Columns of the ids.
const ID: usize = 7;
/// Lines shown of what a failing target wrote.
const MAX_LINES: usize = 5;
/// Columns of the verdicts.
const VERDICT: usize = 12;

pub(super) fn render(report: &Report, style: Style) -> String {
    let report = &Report {
        // Its lines are told apart when they are shown.
        target: TargetReport {
            output: report.target.output.clone(),
            ..harmless(&report.target)
        },
        ..harmless(report)
    };
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
    compared::draw(report, style, &mut out);
    wrote(report, style, &mut out);
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
    let name = target.label.clone();
    hanging(
        "target   ",
        &if target.launches == 0 {
            // Nothing was started, so nothing was waited for.
            name
        } else {
            format!(
                "{name} ({}), ready in {:.0} ms",
                target.addr, target.ready_ms
            )
        },
        style.width,
        out,
    );
    let declared = report.users.iter().find(|view| view.declared);
    if let Some(times) = declared.and_then(FrontView::times) {
        hanging("front    ", &times, style.width, out);
    }
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
            fact,
            style.width,
            out,
        );
    }
}

fn loss(report: &Report, style: Style, out: &mut Vec<String>) {
    let losses = Losses::of(report);
    let all = &losses.all;
    let sentence = format!("LOST {}", losses.sentence());
    let colour = if all.lost > 0 { "31;1" } else { "32;1" };
    let from = out.len();
    wrap("", &sentence, style.width, out);
    for line in &mut out[from..] {
        *line = paint(style, colour, line);
    }
    if let Some(rate) = &report.rate {
        hanging("  ", &words::interval(rate), style.width, out);
    }
    if let Some(line) = words::counted(report) {
        hanging("  ", &line, style.width, out);
    }
    for line in words::what_users_saw(all) {
        hanging("  ", &line, style.width, out);
    }
    if let Some(view) = report.users.iter().find(|view| view.declared) {
        hanging("  ", &view.summary, style.width, out);
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
    if report.exit.left_running {
        wrap(
            "",
            "the grace period ran out: the process still runs, and is left alone, as we did not start it",
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
    let silent = |verdict| matches!(verdict, Verdict::NotApplicable | Verdict::Waived);
    for finding in words::by_urgency(report) {
        if !silent(finding.verdict) {
            let short = vec![clipped(words::short(finding), owed.saturating_sub(1))];
            let seen_lines = folded(&finding.detail, seen - 1);
            row(
                (&finding.id, finding.verdict),
                &short,
                &seen_lines,
                (owed, seen),
                style,
                out,
            );
        }
    }
    // What was not tested says so once for each reason.
    let groups = words::untested(report);
    for group in groups.iter().filter(|group| silent(group.verdict)) {
        let (first, others) = group.ids.split_first().expect("a group has an id");
        let mut reason = group.reason.clone();
        let mut left = vec![clipped(words::short_of(first), owed.saturating_sub(1))];
        if !others.is_empty() {
            let also = format!("and {}", others.join(", "));
            if owed > 0 {
                left.extend(folded(&also, owed - 2));
            } else {
                reason = format!("{reason} ({also})");
            }
        }
        row(
            (first, group.verdict),
            &left,
            &folded(&reason, seen - 1),
            (owed, seen),
            style,
            out,
        );
    }
}

/// One check in the table; what is owed and what was seen take as many lines as they need.
fn row(
    (id, verdict): (&str, Verdict),
    left: &[String],
    right: &[String],
    (owed, seen): (usize, usize),
    style: Style,
    out: &mut Vec<String>,
) {
    let lines = if owed > 0 {
        left.len().max(right.len())
    } else {
        right.len()
    };
    for index in 0..lines {
        let cell = |side: &[String]| side.get(index).cloned().unwrap_or_default();
        let left = if owed > 0 {
            format!("{:<owed$}", cell(left))
        } else {
            String::new()
        };
        let word = if index == 0 {
            paint(style, colour_of(verdict), verdict.word())
        } else {
            String::new()
        };
        let id = if index == 0 { id } else { "" };
        out.push(format!(" {id:<ID$}{left}{:<seen$} {word}", cell(right)));
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
            out.push(format!("  next    {command}"));
        }
    }
}

/// The last lines that a failing target wrote: they often say why.
fn wrote(report: &Report, style: Style, out: &mut Vec<String>) {
    let text = printable_lines(&report.target.output.stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    // Our own last words are a line of JSON that `explain` reads.
    let is_report = |line: &str| line.contains("\"lameduck.shutdown/1\"");
    if report.verdict != Verdict::Fail || lines.iter().all(|line| is_report(line)) {
        return;
    }
    out.push(String::new());
    out.push("the target's last lines on standard error".to_owned());
    for line in &lines[lines.len().saturating_sub(MAX_LINES)..] {
        let line = clipped(&line.replace('\t', " "), style.width.saturating_sub(3));
        out.push(format!("  {line}"));
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
    let exit = format!("exit {}", report.final_exit_code(style.fail_on));
    let gap = style
        .width
        .saturating_sub(counts.len() + exit.len())
        .clamp(3, 24);
    format!("{counts}{:gap$}{exit}", "")
}

pub(super) fn colour_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fail => "31;1",
        Verdict::Differs | Verdict::Inconclusive => "33",
        Verdict::Pass => "32",
        Verdict::NotApplicable | Verdict::Waived => "2",
    }
}

pub(super) fn paint(style: Style, colour: &str, text: &str) -> String {
    match style.color {
        Colour::Plain => text.to_owned(),
        Colour::Ansi => format!("\x1b[{colour}m{text}\x1b[0m"),
    }
}

fn clipped(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

/// `text` behind `lead`, folded, further lines indented as deep.
pub(super) fn hanging(lead: &str, text: &str, width: usize, out: &mut Vec<String>) {
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
