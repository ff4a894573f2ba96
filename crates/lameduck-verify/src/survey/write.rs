//! Owns the text of a first profile: tables, keys, and a comment above each line.
//! Not: what is in it (see `probe`).

use crate::render::{is_printable, printable};

use super::{Entry, Origin, Survey, Table};

/// Columns of a comment.
const WIDTH: usize = 96;

pub(super) fn profile(survey: &Survey) -> String {
    let mut text = format!(
        "# What `lameduck verify --profile FILE` tests, and what it may expect.\n\
         # Written by `lameduck verify --init` (lameduck {}) after trying the service out. It is yours now: edit it.\n\
         # It names a command that is run, so it is read only where somebody names the file.\n",
        env!("CARGO_PKG_VERSION")
    );
    for table in Table::ALL {
        let entries: Vec<&Entry> = survey
            .entries
            .iter()
            .filter(|entry| entry.table == table)
            .collect();
        if entries.is_empty() {
            continue;
        }
        let is_open = entries.iter().all(|entry| entry.origin.is_example());
        let mark = if is_open { "# " } else { "" };
        text.push_str(&format!("\n{mark}[{}]\n", table.name()));
        for entry in entries {
            write_entry(entry, &mut text);
        }
    }
    if !survey.options.waivers.is_empty() {
        waivers(survey, &mut text);
        return text;
    }
    text.push_str(
        "\n# A check that need not decide: it runs all the same, and every report shows why.\n\
         # [[waive]]\n\
         # id = \"H1-08\"\n\
         # reason = \"no client of ours pipelines\"\n",
    );
    text
}

fn waivers(survey: &Survey, text: &mut String) {
    text.push_str("\n# Given: checks that need not decide: they run all the same, and every report shows why.\n");
    for waiver in &survey.options.waivers {
        let (id, reason) = (quoted(&waiver.id), quoted(&waiver.reason));
        text.push_str(&format!("[[waive]]\nid = {id}\nreason = {reason}\n"));
    }
}

fn write_entry(entry: &Entry, text: &mut String) {
    let lead = match entry.origin {
        Origin::Given => "Given",
        Origin::Found => "Found",
        Origin::Missing => "Not found",
        Origin::Open => "If you like",
    };
    let note: String = printable(&entry.note);
    let mut line = format!("# {lead}:");
    for word in note.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = "#  ".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    let mark = if entry.origin.is_example() { "# " } else { "" };
    text.push_str(&format!("\n{mark}{} = {}\n", entry.key, entry.value));
}

/// As an array of basic strings.
pub(super) fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// As a basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if !is_printable(c) => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
