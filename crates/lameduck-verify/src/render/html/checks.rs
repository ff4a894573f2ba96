//! Owns the findings, the table of all checks, what was not tested, and what changed since earlier runs.
//! Not: the sentences in them (see `words` and the catalogue).

use super::page::Page;
use super::story::{badge, word_class};
use crate::catalogue::{self, Fix, ServerKind};
use crate::render::compared::{is_worth_a_row, losses, summary, verdicts, word};
use crate::render::words;
use crate::verdict::{Comparison, Figure, Finding, Report};

pub(super) fn findings(report: &Report, page: &mut Page) {
    let open = words::open(report);
    if open.is_empty() {
        page.element(
            "p",
            "empty",
            "Nothing is other than it is owed, among all that could be tested.",
        );
        return;
    }
    let server = ServerKind::detect(&report.target.command, None);
    for finding in open {
        one(finding, server, page);
    }
}

fn one(finding: &Finding, server: Option<ServerKind>, page: &mut Page) {
    page.open(
        "article",
        &[
            ("class", &format!("finding {}", word_class(finding.verdict))),
            ("id", &format!("finding-{}", finding.id)),
        ],
    );
    page.raw("<h3>")
        .element("span", "id", &finding.id)
        .raw(" ")
        .text(words::short(finding))
        .raw(" ");
    badge(finding.verdict, page);
    page.raw("</h3>\n<dl>");
    let rows = [
        ("Owed", Some(finding.owed.as_ref())),
        ("Seen", Some(finding.detail.as_str())),
        (
            "Why it is owed",
            catalogue::entry(&finding.id).map(|entry| entry.source),
        ),
        ("What it costs", finding.consequence.as_deref()),
        ("How to mend it", finding.remedy.as_deref()),
    ];
    for (name, text) in rows {
        if let Some(text) = text {
            page.element("dt", "", name).element("dd", "", text);
        }
    }
    page.raw("</dl>\n");
    fixes(finding, server, page);
    if let Some(next) = &finding.next {
        page.raw("<p class=\"again\">Again, alone:</p><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Command\">")
            .element("pre", "", next)
            .raw("</div>\n");
    }
    figures(finding, page);
    page.raw("</article>\n");
}

/// The mend for the server that the target runs, or the choice of all where it does not give itself away.
fn fixes(finding: &Finding, server: Option<ServerKind>, page: &mut Page) {
    let own = server.and_then(|server| catalogue::fix(&finding.id, server));
    if let Some(fix) = &own {
        page.raw("<div class=\"fix\"><h4>")
            .text(format_args!("In {}", fix.server.name()))
            .raw("</h4>");
        fix_body(fix, page);
        page.raw("</div>\n");
    }
    let others: Vec<Fix> = catalogue::fixes(&finding.id)
        .filter(|fix| own.is_none_or(|own| own.server != fix.server))
        .collect();
    if others.is_empty() {
        return;
    }
    let summary = if own.is_some() {
        "In other servers and platforms"
    } else {
        "In your server or platform"
    };
    page.raw("<details><summary>")
        .text(summary)
        .raw("</summary>");
    for fix in &others {
        page.raw("<div class=\"fix\">")
            .element("h4", "", fix.server.name());
        fix_body(fix, page);
        page.raw("</div>");
    }
    page.raw("</details>\n");
}

fn fix_body(fix: &Fix, page: &mut Page) {
    page.element("p", "", fix.how);
    if !fix.code.is_empty() {
        page.raw("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Code\">")
            .element("pre", "", fix.code)
            .raw("</div>");
    }
    if !fix.leaves.is_empty() {
        page.raw("<p><b>It leaves:</b> ")
            .text(fix.leaves)
            .raw("</p>");
    }
    page.element(
        "p",
        "fine",
        format_args!(
            "For {}. Source: {} ({}).",
            fix.version,
            fix.source,
            fix.checked.in_words()
        ),
    );
}

fn figures(finding: &Finding, page: &mut Page) {
    if finding.figures.is_empty() {
        return;
    }
    page.raw("<details><summary>Figures</summary><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Figures\"><table class=\"plain\"><tbody>");
    for (name, figure) in &finding.figures {
        page.raw("<tr><th scope=\"row\">")
            .text(name.replace('_', " "))
            .raw("</th><td class=\"n\">");
        match figure {
            Figure::Count(count) => page.text(words::grouped(*count)),
            Figure::Measure(measure) => page.text(measure),
            Figure::Text(text) => page.text(text),
        };
        page.raw("</td></tr>");
    }
    page.raw("</tbody></table></div></details>\n");
}

pub(super) fn all(report: &Report, page: &mut Page) {
    page.raw("<table class=\"checks\"><thead><tr><th>id</th><th>what a client is owed</th><th>seen</th><th class=\"n\">lost of sent</th><th>verdict</th></tr></thead><tbody>\n");
    for finding in words::by_urgency(report) {
        let tally = &finding.requests;
        page.raw("<tr><th scope=\"row\" class=\"id\">")
            .text(&finding.id)
            .raw("</th><td>")
            .text(words::short(finding))
            .raw("</td><td class=\"seen\">")
            .text(&finding.detail)
            .raw("</td><td class=\"n\" data-label=\"lost of sent\">");
        if tally.sent() > 0 {
            page.text(format_args!(
                "{} of {}",
                words::grouped(tally.lost),
                words::grouped(tally.sent())
            ));
        }
        page.raw("</td><td>");
        badge(finding.verdict, page);
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table>\n");
}

pub(super) fn untested(report: &Report, page: &mut Page) {
    let rows = words::untested(report);
    let told: Vec<&str> = report
        .checks
        .iter()
        .map(|check| check.id.as_ref())
        .collect();
    let unasked: Vec<&str> = catalogue::list()
        .into_iter()
        .map(|entry| entry.id)
        .filter(|id| !told.contains(id))
        .collect();
    if rows.is_empty() && unasked.is_empty() {
        page.element(
            "p",
            "empty",
            "Every check of the contract was made, and none was waived.",
        );
        return;
    }
    page.raw("<dl class=\"rows\">");
    for group in rows {
        page.raw("<div><dt>")
            .element("span", "ids", group.ids.join(", "))
            .raw(" ");
        badge(group.verdict, page);
        page.raw("</dt>")
            .element("dd", "", group.reason)
            .raw("</div>");
    }
    page.raw("</dl>\n");
    if !unasked.is_empty() {
        page.element(
            "p",
            "fine",
            format_args!(
                "Left out by choice (--only, --skip, --protocol): {}.",
                unasked.join(", ")
            ),
        );
    }
}

pub(super) fn compared(report: &Report, page: &mut Page) {
    if report.compared.is_empty() {
        page.element(
            "p",
            "empty",
            "This run stands alone. Give --baseline or --compare an earlier report in JSON to see what changed.",
        );
        return;
    }
    for comparison in &report.compared {
        one_comparison(comparison, page);
    }
}

fn one_comparison(comparison: &Comparison, page: &mut Page) {
    let role = if comparison.decides {
        "Baseline "
    } else {
        "Against "
    };
    page.raw("<h3>")
        .text(role)
        .text(&comparison.name)
        .raw("</h3><p>")
        .text(format_args!(
            "{}. That run: {}, {} of {} requests lost, seed {}.",
            summary(comparison),
            comparison.verdict.word(),
            words::grouped(comparison.lost),
            words::grouped(comparison.of),
            comparison.seed
        ))
        .raw("</p>");
    if !comparison.caveats.is_empty() {
        page.raw("<ul class=\"fine\">");
        for caveat in &comparison.caveats {
            page.element("li", "", caveat);
        }
        page.raw("</ul>");
    }
    let mut changed = comparison
        .changes
        .iter()
        .filter(|change| is_worth_a_row(change))
        .peekable();
    if changed.peek().is_none() {
        return;
    }
    page.raw("<table class=\"checks\"><thead><tr><th>id</th><th>verdict</th><th>requests</th><th></th><th>why</th></tr></thead><tbody>");
    for change in changed {
        let (word, _) = word(change);
        page.raw("<tr><th scope=\"row\" class=\"id\">")
            .text(&change.id)
            .raw("</th><td>")
            .text(verdicts(change))
            .raw("</td><td>")
            .text(losses(change))
            .raw("</td><td>")
            .open(
                "span",
                &[(
                    "class",
                    &if change.regression {
                        "badge v-fail"
                    } else {
                        "badge v-na"
                    },
                )],
            )
            .text(word)
            .raw("</span></td><td class=\"seen\">")
            .text(&change.why)
            .raw("</td></tr>");
    }
    page.raw("</tbody></table>\n");
}
