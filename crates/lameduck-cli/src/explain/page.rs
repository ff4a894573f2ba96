//! A sequence as a page of its own: one drawing, and the story below it as text. It loads nothing and runs nothing.

use std::fmt::Write as _;

use super::sequence::{Sequence, Step, What};

/// Pixels: a lane, a step, the head, and the times at the left.
const LANE: usize = 190;
const STEP: usize = 34;
const HEAD: usize = 64;
const TIMES: usize = 90;
/// Characters of a lane's name and of a step's text that are drawn; the rest is in its title.
const NAME: usize = 24;
const TEXT: usize = 52;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2430; --faint: #8a94a3; --page: #ffffff; --note: #e8eef7; --cut: #b3261e; --answer: #23694a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --faint: #7b8594; --page: #14181f; --note: #263243; --cut: #ff8a80; --answer: #7fd1a8; } }
body { margin: 1.5rem; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
.drawing { overflow-x: auto; }
svg { display: block; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); paint-order: stroke; stroke: var(--page); stroke-width: 3px; }
.box + text { stroke: none; }
svg .time { fill: var(--faint); font-variant-numeric: tabular-nums; }
.lane { stroke: var(--faint); stroke-dasharray: 3 4; }
.box { fill: var(--note); stroke: var(--faint); }
.says { stroke: var(--ink); fill: var(--ink); }
.answers { stroke: var(--answer); fill: var(--answer); stroke-dasharray: 6 3; }
.cuts { stroke: var(--cut); fill: var(--cut); }
.met { fill: var(--answer); }
.short { fill: var(--cut); }
.base { fill: none; stroke: var(--faint); stroke-dasharray: 3 4; }
.used { fill: none; stroke: var(--ink); stroke-width: 1.5; }
pre { overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; }
";

/// The page, with the story as its text.
pub(super) fn draw(sequence: &Sequence, story: &str) -> String {
    let mut out = head(&sequence.title);
    out.push_str("<div class=\"drawing\">\n");
    drawing(&mut out, sequence);
    out.push_str("</div>\n");
    foot(&mut out, story);
    out
}

/// A page up to its title.
pub(super) fn head(title: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<h1>{title}</h1>\n"
    )
}

/// What a page ends with: all that was drawn, as text.
pub(super) fn foot(out: &mut String, story: &str) {
    let _ = writeln!(
        out,
        "<h2>The same in words</h2>\n<pre>{}</pre>\n</body>\n</html>",
        escaped(story)
    );
}

fn drawing(out: &mut String, sequence: &Sequence) {
    let width = TIMES + LANE * sequence.lanes.len();
    let height = HEAD + STEP * (sequence.steps.len() + 1);
    let _ = writeln!(
        out,
        "<svg role=\"img\" aria-label=\"Sequence of the shutdown; its text stands below\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    );
    for (number, lane) in sequence.lanes.iter().enumerate() {
        let x = middle(number);
        let _ = writeln!(
            out,
            "<line class=\"lane\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{height}\"/>",
            HEAD - 16
        );
        rectangle(out, x, 12, LANE - 16);
        label(out, x, 32, lane, NAME, "middle");
    }
    for (number, step) in sequence.steps.iter().enumerate() {
        draw_step(out, HEAD + STEP * number + STEP / 2, step);
    }
    out.push_str("</svg>\n");
}

fn draw_step(out: &mut String, y: usize, step: &Step) {
    let _ = writeln!(
        out,
        "<text class=\"time\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{:+.3} s</text>",
        TIMES - 8,
        y + 4,
        step.at_ms / 1e3
    );
    match step.what {
        What::Note(lane) => {
            rectangle(out, middle(lane), y - 14, LANE - 24);
            label(out, middle(lane), y + 4, &step.text, NAME, "middle");
        }
        What::Says(from, to) => arrow(out, y, from, to, "says", &step.text),
        What::Answers(from, to) => arrow(out, y, from, to, "answers", &step.text),
        What::Cuts(from, to) => arrow(out, y, from, to, "cuts", &step.text),
    }
}

fn arrow(out: &mut String, y: usize, from: usize, to: usize, class: &str, text: &str) {
    let (start, end) = (middle(from), middle(to));
    let back = if end > start { end - 7 } else { end + 7 };
    let _ = writeln!(
        out,
        "<line class=\"{class}\" x1=\"{start}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\"/>"
    );
    if class == "cuts" {
        let (left, right) = (end - 5, end + 5);
        let (top, bottom) = (y - 5, y + 5);
        let _ = writeln!(
            out,
            "<path class=\"cuts\" d=\"M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}\"/>"
        );
    } else {
        let (top, bottom) = (y - 4, y + 4);
        let _ = writeln!(
            out,
            "<path class=\"{class}\" d=\"M{end} {y}L{back} {top}L{back} {bottom}Z\"/>"
        );
    }
    label(out, start.midpoint(end), y - 5, text, TEXT, "middle");
}

fn rectangle(out: &mut String, x: usize, y: usize, width: usize) {
    let left = x - width / 2;
    let _ = writeln!(
        out,
        "<rect class=\"box\" x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"28\" rx=\"5\"/>"
    );
}

/// A text as far as there is room, whole in its title.
fn label(out: &mut String, x: usize, y: usize, text: &str, room: usize, anchor: &str) {
    let short: String = if text.chars().count() > room {
        text.chars().take(room - 1).chain(['…']).collect()
    } else {
        text.to_owned()
    };
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}<title>{}</title></text>",
        escaped(&short),
        escaped(text)
    );
}

const fn middle(lane: usize) -> usize {
    TIMES + LANE * lane + LANE / 2
}

/// HTML Standard, "Escaping a string", and the apostrophe.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use lameduck::wire::Shutdown;
    use lameduck_verify::harmless;

    use super::*;
    use crate::explain::{hostile, story};

    #[test]
    fn the_page_loads_nothing_and_escapes_everything() {
        for (name, text) in hostile::HOSTILE {
            let mut report = Shutdown::find(story::REPORT).expect("a report");
            report.participants[0].name = format!("{text}<script>alert(1)</script>");
            let report: Shutdown = harmless(&report);
            let page = draw(&Sequence::of(&report), &story::tell(&report));
            assert!(!page.contains("<script"), "{name}");
            assert!(
                page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
                "{name}"
            );
            let steering = page.chars().find(|c| *c != '\n' && hostile::steers(*c));
            assert_eq!(steering, None, "{name}");
        }
    }

    #[test]
    fn every_step_is_drawn_and_told() {
        let report = Shutdown::find(story::REPORT).expect("a report");
        let sequence = Sequence::of(&report);
        let page = draw(&sequence, &story::tell(&report));
        for step in &sequence.steps {
            assert!(
                page.contains(&format!("<title>{}</title>", step.text)),
                "{}",
                step.text
            );
        }
        assert_eq!(page.matches("class=\"lane\"").count(), sequence.lanes.len());
        assert!(page.contains("GET /slow from 127.0.0.1:9, 4000 ms old"));
        assert!(page.contains("default-src 'none'"));
    }
}
