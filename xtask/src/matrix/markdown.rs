//! The matrix as Markdown: a table for each group of columns, then each server with what it did not keep.

use std::fmt::Write as _;

use super::record::Record;
use super::table;

/// `docs/conformance.md`.
pub(super) fn page(records: &[Record]) -> String {
    let mut page = String::from(
        "# Conformance: what servers do when they are told to stop\n\n\
         Written by `just matrix` from [the data of its runs](conformance/data); the same with the detail behind each cell, \
         in one file to read in a browser: [conformance.html](conformance.html). What the ids mean: \
         [the contract](contract.md). What packet captures showed of bad cells: \
         [evidence](conformance/evidence.md). To disagree with a cell: [disputing](disputing.md).\n\n\
         ✓ pass · ✗ fail · ≠ differs (a matter of manners) · ? inconclusive · – not applicable. A dash is no pass: the server lacks \
         what the check needs, or the recipe does not declare it.\n\n\
         A cross says that a promise of *our* contract is not kept by a default or a documented way to stop; most of \
         these servers never promised it. It is no measure of how good a server is, and lameduck, whose authors wrote the \
         contract, is judged by the same runs.\n",
    );
    overview(&mut page, records);
    for group in table::groups(records) {
        let _ = write!(page, "\n## {}\n\n", group.title);
        if group.title == "Manners" {
            page.push_str("Good manners are shown, and decide nothing.\n\n");
        }
        let _ = writeln!(page, "| | {} |", group.ids.join(" | "));
        let _ = writeln!(page, "|---|{}", "---|".repeat(group.ids.len()));
        for record in records {
            let cells: Vec<_> = group.ids.iter().map(|id| cell(record, id)).collect();
            let _ = writeln!(page, "| {} | {} |", name(record), cells.join(" | "));
        }
    }
    page.push_str("\n## Method\n\n");
    for sentence in table::method(records) {
        let _ = writeln!(page, "- {sentence}");
    }
    page.push_str("\n## Server by server\n");
    for record in records {
        server(&mut page, record);
    }
    page
}

fn overview(page: &mut String, records: &[Record]) {
    page.push_str(
        "\n## Overview\n\n| server | told by | lost under load, of n (95 %) | kept | not kept | differs | inconclusive | not applicable |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for record in records {
        let _ = writeln!(
            page,
            "| [{}](#{}) | {} | {} | {} | {} | {} | {} | {} |",
            escape(&record.about.name),
            anchor(&record.about.name),
            record.signal,
            table::row_rate(record),
            record.count("pass"),
            record.count("fail"),
            record.count("differs"),
            record.count("inconclusive"),
            record.count("n/a"),
        );
    }
}

/// The name of a row; old ones are called so.
fn name(record: &Record) -> String {
    escape(&record.about.name)
}

fn cell(record: &Record, id: &str) -> String {
    let (symbol, word) = table::answer(record.check(id).map_or("", |check| &check.verdict));
    let old = if record.about.old.is_some() && word == "fail" {
        " (old)"
    } else {
        ""
    };
    format!("{symbol} {word}{old}")
}

fn server(page: &mut String, record: &Record) {
    let about = &record.about;
    let _ = write!(page, "\n### {}\n\n", about.name);
    if let Some(old) = &about.old {
        let _ = writeln!(page, "- old: {}", escape(old));
    }
    let _ = writeln!(
        page,
        "- installed: {}; it says `{}`",
        escape(&about.packages.join(", ")),
        record.run.server_version
    );
    let _ = writeln!(
        page,
        "- recipe: [`matrix/recipes/{0}`](../matrix/recipes/{0}), told by {1}",
        record.recipe, record.signal
    );
    for option in &about.options {
        let _ = writeln!(page, "- set: {}", escape(option));
    }
    let _ = writeln!(
        page,
        "- run: {} UTC, seed `{}`, {} launches in {} s; lost under load {}",
        record.run.date,
        record.seed,
        record.launches,
        record.run.took_s,
        table::row_rate(record)
    );
    let shown = |check: &&super::record::Check| {
        ["fail", "differs", "inconclusive"].contains(&check.verdict.as_str())
    };
    if record.checks.iter().any(|check| shown(&check)) {
        page.push_str("\n| id | answer | seen |\n|---|---|---|\n");
    } else {
        page.push_str("\nNothing to remark.\n");
    }
    for check in record.checks.iter().filter(shown) {
        let (symbol, word) = table::answer(&check.verdict);
        let _ = writeln!(
            page,
            "| {} | {symbol} {word} | {} |",
            check.id,
            escape(&table::detail(record, check))
        );
    }
}

/// The fragment that renderers of Markdown give a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// Text for a cell: what Markdown would take for something else is escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            c if c.is_control() => {}
            '\\' | '|' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '#' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cannot_leave_their_table() {
        assert_eq!(escape("a|b\n<script>"), r"a\|b \<script\>");
        assert_eq!(anchor("nginx 1.31, QUIT (old)"), "nginx-131-quit-old");
    }
}
