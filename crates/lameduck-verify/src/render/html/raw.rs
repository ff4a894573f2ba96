//! Owns the end of the page: method and limits, what the target wrote, and the whole report as data.
//! Not: making any of it harmless (see `escape`).

use super::page::Page;
use crate::render::escape::{json_in_script, printable_lines};
use crate::render::words;
use crate::verdict::Report;

pub(super) fn method(report: &Report, page: &mut Page) {
    let target = &report.target;
    let mut list = |heading: &'static str, lines: &[String]| {
        if !lines.is_empty() {
            page.element("h3", "", heading).raw("<ul>");
            for line in lines {
                page.element("li", "", line);
            }
            page.raw("</ul>\n");
        }
    };
    list("How it was measured", &report.method);
    list("What was tried out before", &target.facts);
    list("What these numbers do not say", &words::limits(report));
}

pub(super) fn output(report: &Report, page: &mut Page) {
    let output = &report.target.output;
    page.raw("<p>The end of what the process of the main scenario wrote, at most 64 KiB of each stream, without control characters.</p>\n");
    for (name, text) in [
        ("Standard error", &output.stderr),
        ("Standard output", &output.stdout),
    ] {
        let text = printable_lines(text);
        if text.trim().is_empty() {
            page.element("p", "empty", format_args!("{name}: nothing."));
            continue;
        }
        let lines = text.lines().count();
        page.raw("<details><summary>")
            .text(format_args!(
                "{name}, {}",
                words::plural(lines, "line", "lines")
            ))
            .raw("</summary><div class=\"scroll tall\" tabindex=\"0\" role=\"group\" aria-label=\"Output\">")
            .element("pre", "", text)
            .raw("</div></details>\n");
    }
}

pub(super) fn data(report: &Report, page: &mut Page) {
    let json = report.to_json();
    page.raw("<p>The whole report as <code>")
        .text(&report.schema)
        .raw("</code>, as lameduck report reads it back. <button id=\"save\" type=\"button\" hidden>Save as a file</button></p>\n")
        .raw("<script type=\"application/json\" id=\"report-json\">")
        .block(&json_in_script(&json))
        .raw("</script>\n<details><summary>Checks and figures, without the series</summary><div class=\"scroll tall\" tabindex=\"0\" role=\"group\" aria-label=\"Raw data\">")
        .element("pre", "", short(report))
        .raw("</div></details>\n");
}

/// The report without what is drawn above.
fn short(report: &Report) -> String {
    let mut short = report.clone();
    short.connections.clear();
    short.timeline.clear();
    short.target.output = crate::verdict::Output::default();
    for check in &mut short.checks {
        check.series = None;
    }
    short.to_json()
}
