//! Owns the rows of `mutants-verify`: id by target, as a line, as Markdown and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

/// One check of one target.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) target: String,
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) seen: String,
    pub(super) as_expected: bool,
    pub(super) detail: String,
    pub(super) seconds: f64,
}

impl Row {
    /// For people who wait.
    pub(super) fn line(&self) -> String {
        let (id, target, seen) = (&self.id, &self.target, &self.seen);
        let wrong = if self.as_expected {
            String::new()
        } else {
            format!("   UNEXPECTED, {} was: {}", self.expected, self.detail)
        };
        format!(
            "{id:<6} {target:<12} {seen:<12} {:>5.1} s{wrong}",
            self.seconds
        )
    }
}

/// To stdout, or into a file; JSON where its name ends so.
pub(super) fn write(rows: &[Row], output: Option<&Path>) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("the table can not be written: {error}");
    let Some(path) = output else {
        print!("{}", markdown(rows));
        return Ok(());
    };
    let text = if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        serde_json::to_string_pretty(rows).map_err(|error| failed(&error))?
    } else {
        markdown(rows)
    };
    std::fs::write(path, text).map_err(|error| failed(&error))
}

fn markdown(rows: &[Row]) -> String {
    let mut text =
        "| id | the server | owed | seen | as expected | s |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for row in rows {
        let name = if row.target == "whole" {
            String::new()
        } else {
            format!("`{}`: ", row.target)
        };
        let mark = if row.as_expected { "yes" } else { "**no**" };
        // Writing to a string can not fail.
        let _ = writeln!(
            text,
            "| {} | {name}{} | {} | {} | {mark} | {:.1} |",
            row.id, row.what, row.expected, row.seen, row.seconds
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unexpected_stands_out() {
        let row = Row {
            id: "P1".to_owned(),
            target: "P1".to_owned(),
            what: "ignores the stop signal".to_owned(),
            expected: "fail".to_owned(),
            seen: "pass".to_owned(),
            as_expected: false,
            detail: "exited with 0".to_owned(),
            seconds: 1.0,
        };
        assert!(row.line().ends_with("UNEXPECTED, fail was: exited with 0"));
        assert!(
            markdown(&[row])
                .contains("| P1 | `P1`: ignores the stop signal | fail | pass | **no** | 1.0 |")
        );
    }
}
