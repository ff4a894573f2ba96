//! Bars, as SVG.
//!
//! Owns: a panel for each case, a bar for each contender from zero to its median, a line from the least to the greatest.
//! Scales are linear and begin at zero; each panel has its own. Not here: which measures are worth a plot.

use std::fmt::Write;

use super::page::Table;
use crate::stats::Spread;

const WIDTH: f64 = 760.0;
const NAMES: f64 = 210.0;
const VALUES: f64 = 150.0;
const BAR: f64 = 14.0;
const STEP: f64 = 20.0;
const PANEL_HEAD: f64 = 30.0;
const OURS: &str = "#1f6f78";
const THEIRS: &str = "#b8b8b0";
const INK: &str = "#222222";

/// Draws tables, panel below panel.
pub fn draw(title: &str, tables: &[&Table<'_>]) -> String {
    let mut body = String::new();
    let mut top = 34.0;
    for table in tables {
        for (place, case) in table.cases.iter().enumerate() {
            let bars: Vec<(&str, Spread)> = table
                .rows
                .iter()
                .filter_map(|(contender, spreads)| Some((*contender, spreads[place]?)))
                .collect();
            panel(
                &mut body,
                &mut top,
                &format!("{}: {case}", table.measure),
                &bars,
            );
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" viewBox=\"0 0 {WIDTH} {top}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\">\n<title>{0}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{top}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{0}</text>\n{body}</svg>\n",
        escaped(title)
    )
}

fn panel(body: &mut String, top: &mut f64, title: &str, bars: &[(&str, Spread)]) {
    let most = bars
        .iter()
        .map(|(_, spread)| spread.greatest)
        .fold(0.0, f64::max);
    let scale = (WIDTH - NAMES - VALUES - 24.0) / if most > 0.0 { most } else { 1.0 };
    let _ = writeln!(
        body,
        "<text x=\"12\" y=\"{}\" font-weight=\"bold\">{}</text>",
        *top + 20.0,
        escaped(title)
    );
    *top += PANEL_HEAD;
    for (name, spread) in bars {
        let (middle, left) = (*top + BAR / 2.0, NAMES + 12.0);
        let at = |value: f64| left + value.max(0.0) * scale;
        let colour = if name.starts_with("lameduck") {
            OURS
        } else {
            THEIRS
        };
        let _ = writeln!(
            body,
            "<text x=\"{NAMES}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{left}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
             <line x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\" stroke=\"{INK}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            middle + 4.0,
            escaped(name),
            at(spread.median) - left,
            at(spread.least),
            at(spread.greatest),
            at(spread.greatest) + 8.0,
            middle + 4.0,
            escaped(&spread.to_string()),
            top = *top,
        );
        *top += STEP;
    }
    *top += 8.0;
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_to_scale_and_text_is_escaped() {
        let spread = |value| Spread::of_figures([value]);
        let table = Table {
            measure: "time, ms",
            cases: vec!["a & b"],
            rows: vec![
                ("lameduck", vec![spread(1.0)]),
                ("Vec<Waker>", vec![spread(2.0)]),
                ("absent", vec![None]),
            ],
        };
        let svg = draw("t", &[&table]);
        let width = WIDTH - NAMES - VALUES - 24.0;
        assert!(svg.contains(&format!(
            "width=\"{:.1}\" height=\"{BAR}\" fill=\"{OURS}\"",
            width / 2.0
        )));
        assert!(svg.contains(&format!(
            "width=\"{width:.1}\" height=\"{BAR}\" fill=\"{THEIRS}\""
        )));
        assert!(
            svg.contains("a &amp; b")
                && svg.contains("Vec&lt;Waker&gt;")
                && !svg.contains("absent")
        );
    }
}
