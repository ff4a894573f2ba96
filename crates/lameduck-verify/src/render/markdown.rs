//! Owns the report as GitHub's Markdown, for a comment on a pull request or a job's summary.
//! Not: the words that all formats share (see `words`).

use std::fmt::Write as _;

use super::compared::{is_worth_a_row, losses, summary, verdicts, word};
use super::escape::{fenced, markdown, printable_lines};
use super::words::{self, Losses};
use crate::verdict::{Comparison, Finding, Report, Verdict};

/// A comment on GitHub has at most 65 536 characters; some are left for what others put around it.
const MAX_CHARS: usize = 64_000;
/// The target's standard error that is shown, from its end.
const MAX_OUTPUT: usize = 4 * 1024;

pub(super) fn render(report: &Report) -> String {
    let mut out = head(report);
    let mut left_out = Vec::new();
    // In the order of worth: what does not fit is left out, and that is said.
    let mut parts: Vec<(&str, String)> = Vec::new();
    for comparison in &report.compared {
        parts.push(("a comparison", compared(comparison)));
    }
    parts.push(("the table of what is not as owed", table(report)));
    for finding in words::open(report) {
        parts.push(("details of a finding", details(finding)));
    }
    parts.push(("what users saw", users(report)));
    parts.push(("the table of all checks", all(report)));
    parts.push(("what was not tested", untested(report)));
    parts.push(("method and limits", method(report)));
    parts.push(("the target's standard error", output(report)));
    let mut chars = out.chars().count();
    for (name, part) in parts {
        let more = part.chars().count();
        if chars + more > MAX_CHARS {
            if !left_out.contains(&name) {
                left_out.push(name);
            }
        } else {
            chars += more;
            out.push_str(&part);
        }
    }
    if !left_out.is_empty() {
        let _ = writeln!(
            out,
            "\n_Left out because a comment may not be longer: {}._",
            left_out.join(", ")
        );
    }
    out
}

fn head(report: &Report) -> String {
    let losses = Losses::of(report);
    let mut out = format!(
        "### {} lameduck verify: {}\n\n",
        words::sign(report.verdict),
        losses.heading()
    );
    let _ = writeln!(
        out,
        "**{}** · {} · stopped with {}, {} · contract {}, seed `{}`\n",
        report.verdict.word(),
        markdown(&clip(&report.target.label, 200)),
        markdown(&report.signal.name),
        words::exit(report),
        report.contract,
        markdown(&report.seed)
    );
    if let Some(rate) = &report.rate {
        let _ = writeln!(out, "{}\n", capital(&words::interval(rate)));
    }
    out
}

fn clip(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars).chain(['…']).collect()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

fn row(finding: &Finding) -> String {
    format!(
        "| {} {} | {} | {} | {} |\n",
        words::sign(finding.verdict),
        finding.verdict.word(),
        markdown(&finding.id),
        markdown(words::short(finding)),
        markdown(&clip(&finding.detail, 400))
    )
}

const HEADING: &str = "| verdict | id | what a client is owed | seen |\n|---|---|---|---|\n";

fn table(report: &Report) -> String {
    let open = words::open(report);
    if open.is_empty() {
        return format!(
            "{} passed, nothing failed.\n\n",
            words::plural(report.count(Verdict::Pass), "check", "checks")
        );
    }
    let rows: String = open.into_iter().map(row).collect();
    format!("{HEADING}{rows}\n")
}

fn folded(summary: &str, body: &str) -> String {
    format!("<details><summary>{summary}</summary>\n\n{body}\n</details>\n\n")
}

fn details(finding: &Finding) -> String {
    let mut body = format!("**Owed:** {}\n\n", markdown(&finding.owed));
    let _ = writeln!(
        body,
        "**Seen:** {}\n",
        markdown(&clip(&finding.detail, 2_000))
    );
    for (name, part) in [
        ("What it costs", finding.consequence.as_deref()),
        ("How to mend it", finding.remedy.as_deref()),
    ] {
        if let Some(part) = part {
            let _ = writeln!(body, "**{name}:** {}\n", markdown(part));
        }
    }
    if let Some(next) = &finding.next {
        body.push_str("**Again, alone:**\n\n");
        body.push_str(&fenced(next, "sh"));
    }
    let summary = format!(
        "{} {}: {}",
        words::sign(finding.verdict),
        markdown(&finding.id),
        markdown(words::short(finding))
    );
    folded(&summary, &body)
}

fn users(report: &Report) -> String {
    let losses = Losses::of(report);
    let lines = words::what_users_saw(&losses.all);
    if lines.is_empty() {
        return String::new();
    }
    let views = report.users.iter().map(|view| &view.summary);
    let body: String = lines
        .iter()
        .chain(views)
        .map(|line| format!("- {}\n", markdown(line)))
        .collect();
    let grace = match report.grace.summary.as_str() {
        "" => String::new(),
        summary => format!("\nGrace period: {}\n", markdown(summary)),
    };
    folded("What users saw, by front", &(body + &grace))
}

fn all(report: &Report) -> String {
    let rows: String = words::by_urgency(report).into_iter().map(row).collect();
    let summary = format!(
        "All {}",
        words::plural(report.checks.len(), "check", "checks")
    );
    folded(&summary, &format!("{HEADING}{rows}"))
}

fn untested(report: &Report) -> String {
    let rows: String = words::untested(report)
        .into_iter()
        .map(|group| {
            format!(
                "- **{}** ({}): {}\n",
                markdown(&group.ids.join(", ")),
                group.verdict.word(),
                markdown(&clip(&group.reason, 400))
            )
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    folded("Not tested, and why", &rows)
}

fn method(report: &Report) -> String {
    let lines = report.method.iter().chain(&report.target.facts);
    let mut body: String = lines
        .map(|line| format!("- {}\n", markdown(line)))
        .collect();
    for limit in words::limits(report) {
        let _ = writeln!(body, "- {}", markdown(&limit));
    }
    folded("Method and limits", &body)
}

fn output(report: &Report) -> String {
    let output = printable_lines(&report.target.output.stderr);
    if output.trim().is_empty() {
        return String::new();
    }
    let mut from = output.len().saturating_sub(MAX_OUTPUT);
    while !output.is_char_boundary(from) {
        from += 1;
    }
    folded(
        "The end of the target's standard error",
        &fenced(&output[from..], "text"),
    )
}

fn compared(comparison: &Comparison) -> String {
    let mut out = format!(
        "**Against {}:** {}\n\n",
        markdown(&clip(&comparison.name, 200)),
        summary(comparison)
    );
    for caveat in &comparison.caveats {
        let _ = writeln!(out, "- {}", markdown(&clip(caveat, 300)));
    }
    let changed: Vec<_> = comparison
        .changes
        .iter()
        .filter(|change| is_worth_a_row(change))
        .collect();
    if !changed.is_empty() {
        out.push_str("\n| id | verdict | requests | | why |\n|---|---|---|---|---|\n");
    }
    for change in changed {
        let (mark, _) = word(change);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {mark} | {} |",
            markdown(&change.id),
            verdicts(change),
            losses(change),
            markdown(&change.why)
        );
    }
    out.push('\n');
    out
}
