//! Owns the beginning of the page: the verdict, what users saw, and the phases.
//! Not: fronts and platforms (see `places`), single connections, requests or checks (see `lanes`, `load`, `checks`).

use super::page::{Page, at};
use crate::render::words::{self, Losses};
use crate::verdict::{Rate, Report, Verdict};

pub(super) fn masthead(report: &Report, page: &mut Page) {
    let losses = Losses::of(report);
    let class = word_class(report.verdict);
    page.raw("<header class=\"masthead\">\n<p class=\"kicker\">lameduck verify</p>\n<h1>")
        .text(unbroken(&losses.heading()))
        .raw("</h1>\n<p class=\"verdict\">");
    badge(report.verdict, page);
    page.raw(" <span class=\"target\">")
        .text(&report.target.label)
        .raw("</span></p>\n");
    let command = report.target.command.join(" ");
    // A target that was attached to has no command, and most are named by it.
    if !command.is_empty() && command != report.target.label {
        page.raw("<p class=\"command\"><code>")
            .text(command)
            .raw("</code></p>\n");
    }
    if let Some(rate) = &report.rate {
        page.open("div", &[("class", &format!("rate {class}"))]);
        scale(rate, page);
        page.element("p", "", unbroken(&sentence(rate)))
            .raw("</div>\n");
    }
    if let Some(line) = words::counted(report) {
        page.element("p", "fine", unbroken(&capital(&line)));
    }
    facts(report, page);
    page.raw("</header>\n");
}

/// "Loss rate under load 0.06 %, 95 % interval …; 95 % sure: at most 1 in 630."
fn sentence(rate: &Rate) -> String {
    let bound = crate::verdict::upper_bound_95(rate.lost, rate.of).map(crate::verdict::one_in);
    let bound = match bound {
        Some(n) if n > 1 => {
            let words = if rate.lost == 0 {
                "fewer than"
            } else {
                "at most"
            };
            format!("; 95 % sure: {words} 1 in {}", words::grouped(n))
        }
        _ => String::new(),
    };
    format!("{}{bound}.", capital(&words::interval(rate)))
}

/// With no line break within a number, or before a sign of percent.
fn unbroken(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let keeps =
        |at: usize| at > 0 && digit(at - 1) && (digit(at + 1) || chars.get(at + 1) == Some(&'%'));
    chars
        .iter()
        .enumerate()
        .map(|(at, c)| if *c == ' ' && keeps(at) { '\u{a0}' } else { *c })
        .collect()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

/// Where the rate lies between one in a hundred thousand and all, on a logarithmic scale.
fn scale(rate: &Rate, page: &mut Page) {
    const WIDTH: f64 = 600.0;
    const DECADES: f64 = 5.0;
    let x = |rate: f64| {
        let log = rate.max(1e-9).log10().max(-DECADES);
        at(12.0 + (1.0 + log / DECADES) * (WIDTH - 24.0))
    };
    let point = words::share(rate.lost, rate.of);
    let label = words::interval(rate);
    page.open(
        "svg",
        &[
            ("viewBox", &"0 0 600 52"),
            ("role", &"img"),
            ("aria-label", &label),
            ("class", &"scale"),
        ],
    );
    page.line("axis", (12.0, 22.0), (588.0, 22.0));
    let ticks = [
        (1e-5, "rarer", "start"),
        (1e-4, "1 in 10 000", "middle"),
        (1e-3, "1 000", "middle"),
        (1e-2, "100", "middle"),
        (1e-1, "10", "middle"),
        (1.0, "all", "end"),
    ];
    for (rate, words, anchor) in ticks {
        let place = x(rate);
        // On a narrow screen there is no room for all of them.
        let class = if words == "rarer" { "few" } else { "" };
        page.line("tick", (place, 18.0), (place, 26.0))
            .label(class, (place, 46.0), anchor, words);
    }
    let (low, high) = (x(rate.low), x(rate.high));
    page.rect("interval", (low, 15.0), ((high - low).max(3.0), 14.0));
    if rate.lost > 0 {
        page.open(
            "circle",
            &[
                ("class", &"point"),
                ("cx", &x(point)),
                ("cy", &22),
                ("r", &6),
            ],
        )
        .close("circle");
    }
    page.raw("</svg>\n");
}

fn facts(report: &Report, page: &mut Page) {
    let target = &report.target;
    let rows = [
        (
            "Stopped with",
            format!("{}; it {}", report.signal.name, words::exit(report)),
        ),
        (
            "Ready after",
            format!("{}, at {}", words::time(target.ready_ms), target.addr),
        ),
        (
            "Launches",
            words::plural(target.launches as usize, "process", "processes"),
        ),
        ("Seed", report.seed.clone()),
        (
            "Version",
            format!("{}, contract {}", report.version, report.contract),
        ),
    ];
    page.raw("<dl class=\"facts\">");
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        page.raw("<div>")
            .element("dt", "", name)
            .element("dd", "", value)
            .raw("</div>");
    }
    page.raw("</dl>\n");
    page.raw("<ul class=\"counts\">");
    let all = [
        Verdict::Fail,
        Verdict::Differs,
        Verdict::Inconclusive,
        Verdict::Pass,
        Verdict::Waived,
        Verdict::NotApplicable,
    ];
    for verdict in all {
        let count = report.count(verdict);
        if count > 0 {
            page.raw("<li>");
            page.element("b", "", count).raw(" ");
            badge(verdict, page);
            page.raw("</li>");
        }
    }
    page.raw("</ul>\n");
}

pub(super) fn word_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fail => "v-fail",
        Verdict::Differs => "v-differs",
        Verdict::Inconclusive => "v-inconclusive",
        Verdict::Pass => "v-pass",
        _ => "v-na",
    }
}

pub(super) fn badge(verdict: Verdict, page: &mut Page) {
    page.open(
        "span",
        &[("class", &format!("badge {}", word_class(verdict)))],
    )
    .raw("<span aria-hidden=\"true\">")
    .text(words::sign(verdict))
    .raw("</span> ")
    .text(verdict.word())
    .raw("</span>");
}

pub(super) fn users(report: &Report, page: &mut Page) {
    let losses = Losses::of(report);
    let lines = words::what_users_saw(&losses.all);
    if lines.is_empty() {
        page.element("p", "empty", "No request was judged in this run.");
        return;
    }
    page.raw("<ul class=\"saw\">");
    for line in lines {
        page.element("li", "", capital(&line));
    }
    page.raw("</ul>\n");
    super::places::users(report, page);
    outcomes(&losses, page);
}

/// The outcomes of all requests as one bar.
fn outcomes(losses: &Losses, page: &mut Page) {
    use crate::observe::outcome::Outcome;
    let tally = &losses.all;
    page.raw("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Requests by outcome\"><table class=\"plain\"><caption>Requests that the signal could have harmed, by outcome: direct clients, no front between</caption><thead><tr><th>outcome</th><th class=\"n\">requests</th><th>what it means to a client</th></tr></thead><tbody>");
    for outcome in Outcome::ALL {
        let count = tally.count(outcome);
        if count == 0 {
            continue;
        }
        let meaning = match outcome {
            Outcome::Served => "a whole answer; the connection stays open",
            Outcome::ServedClose => "a whole answer that said: ask elsewhere from now on",
            Outcome::RefusedConnect => "nobody answers here; any client may go elsewhere",
            Outcome::RefusedH2 => "not processed, and said so; safe to send again",
            Outcome::Refused503 => "refused in words, with Retry-After",
            Outcome::UnprocessedSafe => "behind a close; safe to send again",
            Outcome::Error => "a whole answer, and it says 5xx",
            Outcome::Eof => "the connection ended without one byte of an answer",
            Outcome::Reset => "connection reset by peer, without one byte of an answer",
            Outcome::Truncated => "the answer began and never became whole",
            Outcome::Hung => "no answer and no end",
            Outcome::HandshakeFailed => "accepted, and dropped before TLS was set up",
        };
        page.raw("<tr><th scope=\"row\">")
            .text(outcome.word())
            .raw("</th><td class=\"n\">")
            .text(words::grouped(count))
            .raw("</td><td>")
            .text(meaning)
            .raw("</td></tr>");
    }
    page.raw("</tbody></table></div>\n");
}

pub(super) fn phases(report: &Report, page: &mut Page) {
    let spans = &report.phases.spans;
    let total: f64 = spans.iter().map(|span| span.took_ms).sum();
    if spans.is_empty() || total <= 0.0 {
        page.element(
            "p",
            "empty",
            "The main scenario was not run, or its process was not seen to exit: there are no phases to show.",
        );
        return;
    }
    let source = if report.phases.source == "reported" {
        "As the target reports them itself."
    } else {
        "As observed from outside: when the door shut, and when the process was gone."
    };
    page.element("p", "", source);
    page.open(
        "svg",
        &[
            ("viewBox", &"0 0 600 26"),
            ("class", &"phases"),
            ("preserveAspectRatio", &"none"),
            ("aria-hidden", &"true"),
        ],
    );
    let mut x = 0.0;
    for (index, span) in spans.iter().enumerate() {
        let width = span.took_ms / total * 600.0;
        page.open(
            "rect",
            &[
                ("class", &format!("phase-{}", index % 4)),
                ("x", &at(x)),
                ("width", &at(width.max(1.0))),
                ("y", &0),
                ("height", &26),
            ],
        )
        .raw("</rect>");
        x += width;
    }
    page.raw("</svg>\n<ol class=\"phase-list\">");
    for (index, span) in spans.iter().enumerate() {
        page.raw("<li>")
            .open("span", &[("class", &format!("swatch phase-{}", index % 4))])
            .raw("</span> ")
            .element("b", "", &span.phase)
            .raw(" ")
            .text(words::time(span.took_ms))
            .raw("</li>");
    }
    page.raw("</ol>\n");
    page.element(
        "p",
        "fine",
        format_args!(
            "T is the instant of {} from process {} (this tool); the process {}.",
            report.signal.name,
            report.signal.from_pid,
            words::exit(report)
        ),
    );
}
