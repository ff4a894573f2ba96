//! The page's part that is measured: goals, then a table for each measure.
//!
//! Owns: the Markdown, and putting it between its marks. Not here: what stands around it, which people write.

use std::fmt::Write;

use super::figures::Figure;
use super::goals::{Goal, Judged, Relation};
use super::record::{Key, Record, Runs};
use crate::stats::{Spread, cell, row};

/// Where the measured part begins and ends in a page.
const BEGIN: &str = "<!-- bench-peers: begin -->";
const END: &str = "<!-- bench-peers: end -->";

/// One table: a measure in all its cases.
#[derive(Debug)]
pub struct Table<'a> {
    /// The measure.
    pub measure: &'a str,
    /// The cases, in order.
    pub cases: Vec<&'a str>,
    /// Who has how much in which case.
    pub rows: Vec<(&'a str, Vec<Option<Spread>>)>,
}

/// The tables of a figure.
pub fn tables<'a>(figure: &str, record: &'a Record) -> Vec<Table<'a>> {
    let of: Vec<&(Key, Runs)> = record
        .samples()
        .iter()
        .filter(|(key, _)| key.figure == figure)
        .collect();
    let measures = in_order(of.iter().map(|(key, _)| key.measure.as_str()));
    measures
        .into_iter()
        .map(|measure| {
            let of: Vec<_> = of
                .iter()
                .filter(|(key, _)| key.measure == measure)
                .collect();
            let cases = in_order(of.iter().map(|(key, _)| key.case.as_str()));
            let spread = |contender: &str, case: &str| {
                let found = of
                    .iter()
                    .find(|(key, _)| key.contender == contender && key.case == case)?;
                Spread::of_figures(found.1.values().copied())
            };
            let contenders = in_order(of.iter().map(|(key, _)| key.contender.as_str()));
            let rows = contenders
                .into_iter()
                .map(|contender| {
                    (
                        contender,
                        cases.iter().map(|case| spread(contender, case)).collect(),
                    )
                })
                .collect();
            Table {
                measure,
                cases,
                rows,
            }
        })
        .collect()
}

fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut order = Vec::new();
    for name in names {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    order
}

/// The whole measured part.
pub fn write(figures: &[Figure], goals: &[Goal], record: &Record) -> String {
    let mut page = String::new();
    for figure in figures {
        let tables = tables(figure.name, record);
        if tables.is_empty() {
            continue;
        }
        page += &format!("\n### {}\n\n{}\n", figure.title, wrapped(figure.about));
        let judged: Vec<Judged> = goals
            .iter()
            .filter(|goal| goal.figure == figure.name)
            .filter_map(|goal| goal.judge(record))
            .collect();
        if !judged.is_empty() {
            page.push('\n');
            page += &goals_table(&judged);
        }
        if tables
            .iter()
            .any(|table| figure.plotted.contains(&table.measure))
        {
            page += &format!("\n![{}](benchmarks/{}.svg)\n", figure.title, figure.name);
        }
        for table in &tables {
            page += &measure_table(table);
        }
        let notes: Vec<&str> = record.notes(figure.name).collect();
        page += &format!(
            "\n{}\n",
            wrapped(&format!("Measured on {}.", notes.join(". ")))
        );
    }
    page
}

fn goals_table(judged: &[Judged]) -> String {
    let mut text = row(&[
        "lameduck",
        "case",
        "beside",
        "median [least..greatest]",
        "goal",
        "",
        "lameduck beside itself",
    ]
    .map(str::to_owned));
    text += "\n| --- | --- | --- | --- | --- | --- | --- |\n";
    for one in judged {
        let goal = one.goal;
        let relation = match goal.relation {
            Relation::Ratio => "",
            Relation::Added => "added: ",
        };
        let verdict = if one.held() { "held" } else { "**missed**" };
        let cells = [
            goal.measure.to_owned(),
            goal.case.to_owned(),
            goal.beside().replace('<', "\\<"),
            format!("{relation}{}", one.spread),
            format!("≤ {}", goal.at_most),
            verdict.to_owned(),
            cell(one.null),
        ];
        let _ = writeln!(text, "{}", row(&cells));
    }
    text
}

fn measure_table(table: &Table<'_>) -> String {
    let mut text = format!("\n**{}**\n\n", table.measure);
    // A name may look like a tag.
    let plain = |name: &str| name.replace('<', "\\<");
    let mut head = vec![String::new()];
    head.extend(table.cases.iter().map(|&case| case.to_owned()));
    let _ = writeln!(text, "{}", row(&head));
    let _ = writeln!(text, "{}", row(&vec!["---".to_owned(); head.len()]));
    for (contender, spreads) in &table.rows {
        let mut cells = vec![plain(contender)];
        cells.extend(spreads.iter().map(|&spread| cell(spread)));
        let _ = writeln!(text, "{}", row(&cells));
    }
    text
}

/// Prose in lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= 120 {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

/// Puts the measured part into a page.
///
/// # Errors
///
/// When the page has no marks, in words.
pub fn splice(page: &str, measured: &str) -> Result<String, String> {
    let missing = || format!("the page has no lines {BEGIN} and {END}");
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!(
        "{before}{BEGIN}\n{}\n\n{END}{after}",
        measured.trim()
    ))
}

/// A page with nothing else on it.
pub fn alone(measured: &str) -> String {
    format!("# Benchmarks\n\n{BEGIN}\n{}\n\n{END}\n", measured.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let once = splice(&page, "new").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\nnew\n\n{END}\nb\n"));
        assert_eq!(splice(&once, "new").unwrap(), once);
        assert!(splice("a", "new").is_err());
    }

    #[test]
    fn prose_is_wrapped() {
        let text = "word ".repeat(60);
        assert!(
            wrapped(&text)
                .lines()
                .all(|line| line.chars().count() <= 120)
        );
    }
}
