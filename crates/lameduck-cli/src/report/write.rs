//! Writes a report to stdout and into files, in every format.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use lameduck_verify::{Colour, FailOn, Report, Style, Verdict};

use crate::{
    args::{Format, OutputArguments},
    exit::Failure,
};

/// Writes the report to stdout, or to the file that was asked for, and to all further files.
pub(crate) fn write(
    report: &Report,
    wanted: &OutputArguments,
    fail_on: FailOn,
) -> Result<(), Failure> {
    for also in &wanted.also {
        to_file(
            &also.path,
            &rendered(report, also.format, file_style(fail_on)),
        )?;
    }
    match &wanted.output {
        Some(path) => {
            to_file(path, &rendered(report, wanted.format, file_style(fail_on)))?;
            say(&format!(
                "{} written to {}\n",
                verdict(report),
                path.display()
            ));
        }
        None => say(&rendered(report, wanted.format, stdout_style(fail_on))),
    }
    Ok(())
}

fn rendered(report: &Report, format: Format, style: Style) -> String {
    let mut text = match format {
        Format::Text => report.render_text(style),
        Format::Json => report.to_json(),
        Format::Html => report.render_html(),
        Format::Markdown => report.render_markdown(),
        Format::Junit => report.render_junit(style.fail_on),
        Format::Sarif => report.render_sarif(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn to_file(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text)
        .map_err(|error| Failure::new(format_args!("cannot write {}: {error}", path.display())))
}

/// A reader that went away, such as `head`, has seen enough.
pub(crate) fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

const fn verdict(report: &Report) -> &'static str {
    match report.verdict {
        Verdict::Pass => "verdict pass,",
        Verdict::Fail => "verdict fail,",
        _ => "verdict inconclusive,",
    }
}

fn file_style(fail_on: FailOn) -> Style {
    let mut style = Style::plain();
    style.fail_on = fail_on;
    style
}

fn stdout_style(fail_on: FailOn) -> Style {
    let mut style = file_style(fail_on);
    if io::stdout().is_terminal() {
        if std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
            style.color = Colour::Ansi;
        }
        if let Some((_, columns)) = console::Term::stdout().size_checked() {
            style.width = usize::from(columns).clamp(60, 160);
        }
    }
    style
}
