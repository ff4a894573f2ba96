//! A history as a page: for each participant a drawing of what it needed in each shutdown, and of the budget that it had.

use std::fmt::Write as _;

use lameduck::wire::{History, HistoryParticipant, HistoryShutdown};

use super::{
    audit::minute,
    history::{in_order, is_open, longest, next, title},
    page::{escaped, foot, head},
    story::seconds,
};

/// Pixels: one shutdown, the drawing's height, what stands beside it and above it.
const STEP: f64 = 22.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 12.0;

/// The page, with the story as its text.
pub(super) fn draw(history: &History, story: &str) -> String {
    let mut out = head(&title(history));
    out.push_str("<p>What was needed (red: more than that, and what it needs is not known), the base (dashed) and the budget (line).</p>\n");
    for participant in in_order(history) {
        draw_one(&mut out, history, participant);
    }
    foot(&mut out, story);
    out
}

fn draw_one(out: &mut String, history: &History, participant: &HistoryParticipant) {
    let next = next(history, participant).map(|learned| learned.budget.as_secs_f64() * 1e3);
    let scale = Scale {
        longest: longest(participant).max(next.unwrap_or_default()),
    };
    let columns = participant.shutdowns.len() + 1;
    let width = LEFT + STEP * columns as f64;
    let height = TOP + HEIGHT + TOP;
    let name = escaped(&participant.name);
    let _ = writeln!(
        out,
        "<h2>{name}</h2>\n<div class=\"drawing\">\n<svg role=\"img\" aria-label=\"Needs and budgets; their figures stand below\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    );
    for part in [0.0, 0.5, 1.0] {
        let ms = scale.longest * part;
        let _ = writeln!(
            out,
            "<text class=\"time\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            scale.y(ms) + 4.0,
            escaped(&seconds(ms))
        );
    }
    for (column, shutdown) in participant.shutdowns.iter().enumerate() {
        need(out, &scale, column, shutdown);
    }
    let bases = participant.shutdowns.iter().map(|one| one.base_ms);
    steps(out, &scale, "base", bases);
    let budgets = participant.shutdowns.iter().map(|one| one.budget_ms);
    steps(out, &scale, "used", budgets.chain([next]));
    out.push_str("</svg>\n</div>\n");
}

struct Scale {
    /// What the drawing's height stands for, in milliseconds.
    longest: f64,
}

impl Scale {
    fn y(&self, ms: f64) -> f64 {
        let part = ms / self.longest;
        let part = if part.is_finite() { part } else { 1.0 };
        TOP + HEIGHT * (1.0 - part.clamp(0.0, 1.0))
    }
}

fn need(out: &mut String, scale: &Scale, column: usize, shutdown: &HistoryShutdown) {
    let class = if is_open(shutdown) { "short" } else { "met" };
    let top = scale.y(shutdown.took_ms);
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}: {} after {}</title></rect>",
        LEFT + STEP * column as f64 + 3.0,
        STEP - 6.0,
        TOP + HEIGHT - top,
        escaped(&minute(&shutdown.at)),
        escaped(&shutdown.ended),
        escaped(&seconds(shutdown.took_ms))
    );
}

/// A line in steps, of what there was in each shutdown; it breaks off where there was none.
fn steps(out: &mut String, scale: &Scale, class: &str, times: impl Iterator<Item = Option<f64>>) {
    let mut path = String::new();
    let mut draws = false;
    for (column, ms) in times.enumerate() {
        if let Some(ms) = ms {
            let x = LEFT + STEP * column as f64;
            let command = if draws { 'L' } else { 'M' };
            let y = scale.y(ms);
            let _ = write!(path, "{command}{x:.1} {y:.1}H{:.1}", x + STEP);
        }
        draws = ms.is_some();
    }
    if !path.is_empty() {
        let _ = writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>");
    }
}

#[cfg(test)]
mod tests {
    use lameduck_verify::harmless;

    use super::*;
    use crate::explain::{history::HISTORY, hostile};

    fn history() -> History {
        History::read(HISTORY).expect("a history")
    }

    #[test]
    fn every_shutdown_is_drawn_and_the_next_budget_with_them() {
        let page = draw(&history(), "the story");
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("class=\"short\"").count(), 1);
        assert_eq!(page.matches("class=\"met\"").count(), 2);
        assert!(page.contains("overdue after 5.00 s"));
        // Of two shutdowns three steps: the third is the next one, and the highest.
        let used = page.lines().find(|line| line.contains("class=\"used\""));
        let used = used.expect("db has a budget");
        assert_eq!(used.matches('H').count(), 3, "{used}");
        assert!(used.contains("L134.0 12.0H156.0"), "{used}");
        assert!(page.contains("<pre>the story</pre>"));
    }

    #[test]
    fn the_page_loads_nothing_and_escapes_everything() {
        for (name, text) in hostile::HOSTILE {
            let mut history = history();
            history.participants[1].name = format!("{text}<script>alert(1)</script>");
            history.participants[1].shutdowns[0].ended = "<img src=x>".to_owned();
            let history: History = harmless(&history);
            let page = draw(&history, "");
            assert!(
                !page.contains("<script") && !page.contains("<img"),
                "{name}"
            );
            let steering = page.chars().find(|c| *c != '\n' && hostile::steers(*c));
            assert_eq!(steering, None, "{name}");
            assert!(page.contains("default-src 'none'"));
        }
    }
}
