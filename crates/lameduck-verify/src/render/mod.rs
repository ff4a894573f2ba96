//! Shows a report: as text, Markdown or a page for people, as JSON, JUnit XML or SARIF for programs.
//! Not: deciding anything.

mod compared;
mod escape;
mod html;
mod junit;
mod lanes;
mod markdown;
mod sarif;
mod text;
mod words;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

use crate::verdict::{FailOn, Report};

pub(crate) use escape::is_printable;
pub use escape::{harmless, printable};

/// Whether text carries colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// No escape sequences: `NO_COLOR`, or not a terminal.
    #[default]
    Plain,
    /// ANSI colours.
    Ansi,
}

/// How text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With colour or without.
    pub color: Colour,
    /// Columns; fewer than 72 are taken as 72, more than 160 as 160.
    pub width: usize,
    /// What the exit code on the last line is reckoned with.
    pub fail_on: FailOn,
}

impl Style {
    /// 100 columns without colour.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            color: Colour::Plain,
            width: 100,
            fail_on: FailOn::Loss,
        }
    }
}

impl Report {
    /// The report as JSON (`lameduck.verify/1`), on several lines, without a newline at the end. What could steer a
    /// terminal or turn the direction of writing is escaped.
    ///
    /// # Panics
    /// Never: every part of a report can be written as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self)
            .expect("a report has only string keys and finite numbers");
        escape::json_on_terminal(json)
    }

    /// The report for people: what was lost, what users would have seen, lanes, checks, what to do next.
    #[must_use]
    pub fn render_text(&self, style: Style) -> String {
        text::render(
            self,
            Style {
                width: style.width.clamp(72, 160),
                ..style
            },
        )
    }

    /// The report as one self-contained page of HTML, which loads nothing from anywhere.
    #[must_use]
    pub fn render_html(&self) -> String {
        html::render(self)
    }

    /// The report as Markdown for a pull request, short enough for a comment on GitHub.
    #[must_use]
    pub fn render_markdown(&self) -> String {
        markdown::render(self)
    }

    /// The report as JUnit XML: one test case for each id; `fail_on` says whether `differs` is a failure.
    #[must_use]
    pub fn render_junit(&self, fail_on: FailOn) -> String {
        junit::render(self, fail_on)
    }

    /// The report as SARIF 2.1.0, for code scanning.
    #[must_use]
    pub fn render_sarif(&self) -> String {
        sarif::render(self)
    }
}
