//! Owns the two tables that depend on where the service runs: users behind fronts, and grace periods of platforms.
//! Not: measuring either (see `crate::front`).

use super::page::{Page, at};
use crate::front::{FrontView, GraceReport, PlatformFit};
use crate::render::words;
use crate::verdict::Report;

/// What users behind each front would have seen of this run.
pub(super) fn users(report: &Report, page: &mut Page) {
    if report.users.is_empty() {
        return;
    }
    if let Some(view) = report.users.iter().find(|view| view.declared) {
        page.element("p", "lead", capital(&view.summary));
    }
    page.raw("<table class=\"checks\"><caption>Failures that users behind each front would have seen</caption><thead><tr><th>front</th><th class=\"n\">sent here</th><th class=\"n\">lost</th><th class=\"n\">refused</th><th class=\"n\">other errors</th><th class=\"n\">hidden by retries</th><th class=\"n\">first and last error</th></tr></thead><tbody>\n");
    for view in &report.users {
        row(view, page);
    }
    page.raw("</tbody></table>\n");
}

fn row(view: &FrontView, page: &mut Page) {
    let class = if view.declared { "declared" } else { "" };
    page.open("tr", &[("class", &class)])
        .raw("<th scope=\"row\">")
        .text(if view.front == "none" {
            "none: direct clients"
        } else {
            &view.front
        });
    if view.declared && view.front != "none" {
        page.raw(" <span class=\"badge v-pass\">declared</span>");
    }
    if view.basis == "measured" {
        page.raw(" <span class=\"badge v-na\">measured</span>");
    }
    page.raw("</th>");
    let cells = [
        ("sent here", view.requests),
        ("lost", view.lost),
        ("refused", view.refused),
        ("other errors", view.errors),
        ("hidden by retries", view.retried),
    ];
    for (label, count) in cells {
        page.open("td", &[("class", &"n"), ("data-label", &label)])
            .text(words::grouped(count))
            .raw("</td>");
    }
    page.raw("<td class=\"n\" data-label=\"errors\">");
    match (view.first_error_ms, view.last_error_ms) {
        (Some(first), Some(last)) => page.text(format_args!(
            "+{} to +{}",
            words::time(first),
            words::time(last)
        )),
        _ => page.text("none"),
    };
    page.raw("</td></tr>\n");
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

pub(super) fn draw(report: &Report, page: &mut Page) {
    let grace = &report.grace;
    if grace.summary.is_empty() {
        page.element(
            "p",
            "empty",
            format_args!("No exit was timed; the process {}.", words::exit(report)),
        );
        return;
    }
    page.element("p", "lead", format_args!("{}.", capital(&grace.summary)));
    budget(grace, page);
    exits(grace, page);
    platforms(&grace.platforms, page);
}

/// The grace period as one bar: the preStop sleep, the exit, what is left.
fn budget(grace: &GraceReport, page: &mut Page) {
    let Some(exit) = grace.exit_after_ms.filter(|_| grace.grace_ms > 0.0) else {
        return;
    };
    let left = grace.grace_ms - grace.pre_stop_ms - exit;
    let parts = [
        ("preStop sleep", grace.pre_stop_ms, "phase-3"),
        ("exit, nothing forced", exit, "phase-0"),
        ("left before SIGKILL", left.max(0.0), "phase-none"),
    ];
    let whole = parts
        .iter()
        .map(|(_, ms, _)| ms)
        .sum::<f64>()
        .max(grace.grace_ms);
    page.raw("<svg class=\"phases\" viewBox=\"0 0 600 26\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    let mut x = 0.0;
    for (_, ms, class) in parts {
        let width = ms / whole * 600.0;
        page.open(
            "rect",
            &[
                ("class", &class),
                ("x", &at(x)),
                ("width", &at(width)),
                ("y", &0),
                ("height", &26),
            ],
        )
        .raw("</rect>");
        x += width;
    }
    page.raw("</svg>\n<ol class=\"phase-list\">");
    for (name, ms, class) in parts.into_iter().filter(|(_, ms, _)| *ms > 0.0) {
        page.raw("<li>")
            .open("span", &[("class", &format!("swatch {class}"))])
            .raw("</span> ")
            .element("b", "", name)
            .raw(" ")
            .text(words::time(ms))
            .raw("</li>");
    }
    page.raw("</ol>\n");
}

fn exits(grace: &GraceReport, page: &mut Page) {
    if grace.exits.is_empty() {
        return;
    }
    page.raw("<table class=\"plain\"><caption>From the signal to the exit, by what was in flight</caption><tbody>");
    for exit in &grace.exits {
        page.raw("<tr><th scope=\"row\">")
            .text(&exit.with)
            .raw("</th><td class=\"n\">");
        match exit.after_ms {
            Some(ms) => page.text(words::time(ms)),
            None => page.text("killed at the end of grace"),
        };
        page.raw("</td><td>")
            .text(if exit.forced {
                "made never to end: forced"
            } else {
                ""
            })
            .raw("</td></tr>");
    }
    if let Some(ms) = grace.longest_request_ms {
        page.raw("<tr><th scope=\"row\">longest request that was answered after the signal</th><td class=\"n\">")
            .text(words::time(ms))
            .raw("</td><td></td></tr>");
    }
    page.raw("</tbody></table>\n");
}

fn platforms(platforms: &[PlatformFit], page: &mut Page) {
    if platforms.is_empty() {
        return;
    }
    page.raw("<table class=\"checks\"><caption>The same exit elsewhere</caption><thead><tr><th>platform</th><th class=\"n\">gives</th><th class=\"n\">left</th><th>in time</th><th>how it counts</th></tr></thead><tbody>");
    for fit in platforms {
        page.raw("<tr><th scope=\"row\">")
            .text(&fit.platform)
            .raw("</th><td class=\"n\" data-label=\"gives\">")
            .text(words::time(fit.grace_ms))
            .raw("</td><td class=\"n\" data-label=\"left\">");
        if let Some(left) = fit.left_ms {
            page.text(words::time(left));
        }
        page.raw("</td><td>");
        match fit.killed {
            Some(true) => page.raw(
                "<span class=\"badge v-fail\"><span aria-hidden=\"true\">✕</span> killed</span>",
            ),
            Some(false) => page.raw(
                "<span class=\"badge v-pass\"><span aria-hidden=\"true\">✓</span> in time</span>",
            ),
            None => page.raw(
                "<span class=\"badge v-na\"><span aria-hidden=\"true\">?</span> not known</span>",
            ),
        };
        page.raw("</td><td class=\"seen\">")
            .text(&fit.note)
            .raw("</td></tr>\n");
    }
    page.raw("</tbody></table>\n");
}
