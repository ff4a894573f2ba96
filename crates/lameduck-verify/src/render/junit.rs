//! Owns the report as JUnit XML, as Jenkins, GitLab and others read it: one test case for each id.
//! Not: what counts as failing (see `verdict`).
//!
//! `fail` is a failure; so is `differs` where manners count. `inconclusive` is an *error*: in the words of the format,
//! something that kept the test from being carried out. `n/a` and `waived` are skipped, with the reason; `differs` else
//! passes, and says so in `system-out`.

use std::fmt::Write as _;

use super::escape::{markup, printable_lines};
use super::words::{self, Losses};
use crate::verdict::{FailOn, Finding, Report, Verdict};

/// The target's output that goes into the file, from its end.
const MAX_OUTPUT: usize = 16 * 1024;

pub(super) fn render(report: &Report, fail_on: FailOn) -> String {
    let is_failure = |finding: &&Finding| fails(finding, fail_on);
    let failures = report.checks.iter().filter(is_failure).count();
    let errors = report.count(Verdict::Inconclusive);
    let skipped = report.count(Verdict::NotApplicable) + report.count(Verdict::Waived);
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"",
        report.checks.len()
    );
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<testsuites name=\"lameduck verify\" {counts}>");
    let name = markup(&words_of_target(report));
    let _ = writeln!(out, "  <testsuite name=\"{name}\" {counts}>");
    out.push_str("    <properties>\n");
    for (name, value) in properties(report) {
        let value = markup(&value);
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{value}\"/>");
    }
    out.push_str("    </properties>\n");
    for finding in &report.checks {
        case(finding, fail_on, &mut out);
    }
    let output = tail(&report.target.output.stderr);
    if !output.is_empty() {
        let _ = writeln!(out, "    <system-err>{}</system-err>", markup(&output));
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn words_of_target(report: &Report) -> String {
    format!("lameduck verify: {}", report.target.label)
}

fn properties(report: &Report) -> Vec<(&'static str, String)> {
    let losses = Losses::of(report);
    let mut all = vec![
        ("lameduck", report.version.to_string()),
        ("contract", report.contract.to_string()),
        ("seed", report.seed.clone()),
        ("verdict", report.verdict.word().to_owned()),
        ("lost", report.lost.to_string()),
        ("requests", losses.all.sent().to_string()),
    ];
    if let Some(rate) = &report.rate {
        all.push(("rate", words::interval(rate)));
    }
    all
}

fn fails(finding: &Finding, fail_on: FailOn) -> bool {
    finding.verdict == Verdict::Fail
        || finding.verdict == Verdict::Differs && fail_on == FailOn::Any
}

fn case(finding: &Finding, fail_on: FailOn, out: &mut String) {
    let section = words::section(&finding.id);
    let name = markup(&format!("{} {}", finding.id, words::short(finding)));
    let _ = writeln!(
        out,
        "    <testcase classname=\"shutdown.{}\" name=\"{name}\">",
        markup(section)
    );
    let message = markup(&finding.detail);
    let advice = markup(&advice(finding));
    let _ = match finding.verdict {
        _ if fails(finding, fail_on) => writeln!(
            out,
            "      <failure type=\"{}\" message=\"{message}\">{advice}</failure>",
            finding.verdict.word()
        ),
        Verdict::Inconclusive => writeln!(
            out,
            "      <error type=\"inconclusive\" message=\"{message}\">{advice}</error>"
        ),
        Verdict::NotApplicable => writeln!(out, "      <skipped message=\"n/a: {message}\"/>"),
        Verdict::Waived => {
            let reason = markup(finding.waiver.as_deref().unwrap_or_default());
            writeln!(
                out,
                "      <skipped message=\"waived: {reason} ({message})\"/>"
            )
        }
        Verdict::Differs | Verdict::Fail => writeln!(
            out,
            "      <system-out>differs: {message}\n{advice}</system-out>"
        ),
        Verdict::Pass => writeln!(out, "      <system-out>{message}</system-out>"),
    };
    out.push_str("    </testcase>\n");
}

fn advice(finding: &Finding) -> String {
    let mut text = format!("owed: {}\nseen: {}\n", finding.owed, finding.detail);
    for (name, part) in [
        ("costs", finding.consequence.as_deref()),
        ("mend", finding.remedy.as_deref()),
        ("again", finding.next.as_deref()),
    ] {
        if let Some(part) = part {
            let _ = writeln!(text, "{name}: {part}");
        }
    }
    text
}

fn tail(output: &str) -> String {
    let output = printable_lines(output);
    let mut from = output.len().saturating_sub(MAX_OUTPUT);
    while !output.is_char_boundary(from) {
        from += 1;
    }
    output[from..].to_owned()
}
