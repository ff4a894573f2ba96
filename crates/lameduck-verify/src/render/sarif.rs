//! Owns the report as SARIF 2.1.0, as code scanning reads it: the catalogue as rules, results for what is not as owed.
//! Not: what counts as failing (see `verdict`).
//!
//! A running service has no file, but readers of SARIF want one: every result points at the first line of
//! [`PLACE`], and names the target as a logical location. What was inconclusive is no result but a notification
//! of the tool; what was waived is a result with an accepted suppression.

use serde_json::{Value, json};

use super::escape::{json_on_terminal, printable};
use super::words;
use crate::catalogue::{self, CheckInfo, Class};
use crate::verdict::{Finding, Report, Verdict};

/// The file that results are shown at.
const PLACE: &str = "lameduck-verify";

pub(super) fn render(report: &Report) -> String {
    let rules: Vec<CheckInfo> = catalogue::list();
    let results: Vec<Value> = report
        .checks
        .iter()
        .filter_map(|finding| result(report, finding, &rules))
        .collect();
    let notifications: Vec<Value> = report
        .checks
        .iter()
        .filter(|finding| finding.verdict == Verdict::Inconclusive)
        .map(|finding| {
            json!({
                "level": "warning",
                "associatedRule": { "id": finding.id },
                "message": message(&format!("{} is inconclusive: {}", finding.id, finding.detail)),
            })
        })
        .collect();
    let sarif = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "lameduck verify",
                "semanticVersion": report.version,
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
            "columnKind": "unicodeCodePoints",
            "properties": {
                "target": printable(&report.target.label),
                "verdict": report.verdict,
                "lost": report.lost,
                "requests": report.requests.sent(),
                "seed": report.seed,
                "contract": report.contract,
                "rate": report.rate,
            },
        }],
    });
    let json = serde_json::to_string_pretty(&sarif);
    json_on_terminal(json.expect("it has only string keys and finite numbers"))
}

/// The text of a message, in which `[words](address)` would be a link (SARIF 2.1.0 §3.11.6).
fn message(text: &str) -> Value {
    json!({ "text": printable(text).replace("](", "] (") })
}

fn rule(entry: &CheckInfo) -> Value {
    let level = match entry.class {
        Class::Loss => "error",
        Class::Manners => "warning",
    };
    let markdown = format!(
        "**Owed:** {}\n\n**Source:** {}\n\n**What failing costs:** {}\n\n**How to mend it:** {}\n",
        entry.owed, entry.source, entry.consequence, entry.remedy
    );
    json!({
        "id": entry.id,
        "name": entry.id,
        "shortDescription": { "text": entry.short },
        "fullDescription": { "text": entry.owed },
        "help": {
            "text": format!(
                "Owed: {}\nSource: {}\nWhat failing costs: {}\nHow to mend it: {}",
                entry.owed, entry.source, entry.consequence, entry.remedy
            ),
            "markdown": markdown,
        },
        "defaultConfiguration": { "level": level },
        "properties": { "tags": ["graceful-shutdown", words::section(entry.id)] },
    })
}

fn result(report: &Report, finding: &Finding, rules: &[CheckInfo]) -> Option<Value> {
    let shown = finding.without_waiver.unwrap_or(finding.verdict);
    let level = match shown {
        Verdict::Fail => "error",
        Verdict::Differs => "warning",
        _ => return None,
    };
    let mut text = format!("{}: {}", finding.owed, finding.detail);
    if let Some(next) = &finding.next {
        text.push_str(&format!(". Again: {next}"));
    }
    let mut result = json!({
        "ruleId": finding.id,
        "level": level,
        "kind": "fail",
        "message": message(&text),
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": PLACE },
                "region": { "startLine": 1, "startColumn": 1 },
            },
            "logicalLocations": [{
                "name": printable(&report.target.label),
                "kind": "module",
            }],
        }],
        "partialFingerprints": { "id/v1": format!("{}:{}", finding.id, printable(&report.target.label)) },
        "properties": { "requests": finding.requests, "figures": finding.figures },
    });
    if let Some(index) = rules.iter().position(|rule| rule.id == finding.id) {
        result["ruleIndex"] = json!(index);
    }
    if finding.verdict == Verdict::Waived {
        let reason = printable(finding.waiver.as_deref().unwrap_or_default());
        result["suppressions"] =
            json!([{ "kind": "external", "status": "accepted", "justification": reason }]);
    }
    Some(result)
}
