//! Writes reports and lists where they are wanted.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use lameduck_verify::{Colour, FailOn, Report, Style, Verdict};

use crate::{
    args::{Format, OutputArguments},
    exit::Failure,
};

/// Writes the report to stdout, or to the file that was asked for.
pub(super) fn show(
    report: &Report,
    wanted: &OutputArguments,
    fail_on: FailOn,
) -> Result<(), Failure> {
    let text = match wanted.format {
        Format::Json => format!("{}\n", report.to_json()),
        Format::Text => report.render_text(style(fail_on, wanted.output.is_some())),
    };
    match &wanted.output {
        Some(path) => {
            fs::write(path, text).map_err(|error| {
                Failure::new(format_args!("cannot write {}: {error}", path.display()))
            })?;
            say(&format!(
                "{} written to {}\n",
                verdict(report),
                path.display()
            ));
        }
        None => say(&text),
    }
    Ok(())
}

/// A reader that went away, such as `head`, has seen enough.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

const fn verdict(report: &Report) -> &'static str {
    match report.verdict {
        Verdict::Pass => "verdict pass,",
        Verdict::Fail => "verdict fail,",
        _ => "verdict inconclusive,",
    }
}

fn style(fail_on: FailOn, to_file: bool) -> Style {
    let mut style = Style::plain();
    style.fail_on = fail_on;
    if !to_file && io::stdout().is_terminal() {
        if std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
            style.color = Colour::Ansi;
        }
        if let Some((_, columns)) = console_size() {
            style.width = usize::from(columns).clamp(60, 160);
        }
    }
    style
}

/// Rows and columns of the terminal on stdout.
fn console_size() -> Option<(u16, u16)> {
    console::Term::stdout().size_checked()
}

pub(super) fn list() -> Result<ExitCode, Failure> {
    let mut text = format!(
        "{:<7} {:<8} {:<44} {}\n",
        "id", "class", "what a client is owed", "cost"
    );
    for check in lameduck_verify::list() {
        let class = format!("{:?}", check.class).to_lowercase();
        text.push_str(&format!(
            "{:<7} {class:<8} {:<44} {}\n",
            check.id, check.short, check.cost
        ));
    }
    say(&text);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn fronts() -> Result<ExitCode, Failure> {
    let mut text = format!(
        "{:<14} {:>11}  {}\n",
        "front", "propagation", "what it hides from users by asking another instance"
    );
    for front in lameduck_verify::fronts() {
        let retries: Vec<_> = front.retries.iter().map(|retry| retry.word()).collect();
        let retries = if retries.is_empty() {
            "nothing".to_owned()
        } else {
            retries.join(", ")
        };
        let seconds = format!("{} s", front.propagation.as_secs_f64());
        text.push_str(&format!(
            "{:<14} {seconds:>11}  {retries}\n{:29}is       {}\n{:29}source   {}\n{:29}unknown  {}\n",
            front.name, "", front.what, "", front.source, "", front.unknown
        ));
    }
    say(&text);
    Ok(ExitCode::SUCCESS)
}
