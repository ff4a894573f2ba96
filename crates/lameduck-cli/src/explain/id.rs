//! An id of the contract, for a terminal, a program or a page. What is said stands in `lameduck_verify`'s catalogue.

use std::io::{self, IsTerminal as _};

use lameduck_verify::{CheckInfo, Class, Fix, contract_page, fix, fixes, list as checks};
use serde_json::{Value, json};

use crate::{
    args::{ExplainArguments, ExplainFormat},
    lines::folded,
};

/// Where the text of a part begins.
const INDENT: usize = 13;
/// Lines are filled to this width at most: longer ones are hard to read.
const WIDEST: usize = 96;
const NARROWEST: usize = 60;

/// Everything about one id, in the form that was asked for.
pub(super) fn explain(check: &CheckInfo, arguments: &ExplainArguments) -> String {
    match arguments.format {
        ExplainFormat::Markdown => contract_page(check, arguments.server),
        ExplainFormat::Json => pretty(&as_json(check, arguments)),
        _ => Page::for_terminal().text(check, arguments),
    }
}

/// Every id in a line.
pub(super) fn list(format: ExplainFormat) -> String {
    match format {
        ExplainFormat::Json => pretty(&json!(checks())),
        ExplainFormat::Markdown => lameduck_verify::contract_table(),
        _ => checks()
            .iter()
            .map(|check| {
                let manners = if check.class == Class::Manners {
                    "m"
                } else {
                    ""
                };
                format!("{:<6} {manners:<1} {}\n", check.id, check.short)
            })
            .collect(),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn as_json(check: &CheckInfo, arguments: &ExplainArguments) -> Value {
    let wanted = |fix: &Fix| arguments.server.is_none_or(|server| fix.server == server);
    let mut value = json!(check);
    value["family"] = json!(check.family());
    value["command"] = json!(check.command());
    value["fixes"] = fixes(check.id)
        .filter(wanted)
        .map(|fix| json!(fix))
        .collect();
    value
}

/// How a text is laid out.
#[derive(Debug, Clone, Copy)]
struct Page {
    width: usize,
    is_coloured: bool,
}

impl Page {
    /// 80 columns, or those of the terminal within reason; colour on a terminal only.
    fn for_terminal() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let columns = console::Term::stdout().size_checked();
        let silenced = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            width: columns.map_or(80, |(_, columns)| {
                usize::from(columns).clamp(NARROWEST, WIDEST)
            }),
            is_coloured: is_terminal && !silenced,
        }
    }

    fn strong(self, text: &str) -> String {
        if self.is_coloured {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn text(self, check: &CheckInfo, arguments: &ExplainArguments) -> String {
        let mut out = String::new();
        let class = match check.class {
            Class::Loss => "loss: decides the verdict",
            Class::Manners => "manners: printed as `differs`, counts with --fail-on any only",
        };
        out.push_str(&format!("{}  {}\n", self.strong(check.id), check.short));
        let parts = [
            ("owed", check.owed),
            ("class", class),
            ("why", check.source),
            ("measured", check.measured),
            ("costs", check.consequence),
            ("mend", check.remedy),
        ];
        for (label, text) in parts {
            self.part(label, text, &mut out);
        }
        match arguments.server {
            Some(server) => match fix(check.id, server) {
                Some(fix) => self.whole_fix(&fix, &mut out),
                None => {
                    let text = format!(
                        "nothing is written down for {}; what stands under `mend` holds for every server",
                        server.name()
                    );
                    self.part("", &text, &mut out);
                }
            },
            None => self.short_fixes(check, &mut out),
        }
        out.push_str(&format!("\n{}\n", self.strong("check it")));
        out.push_str(&format!("  {}\n", check.command()));
        self.part("cost", check.cost, &mut out);
        out
    }

    fn whole_fix(self, fix: &Fix, out: &mut String) {
        let title = format!("in {}", fix.server.name());
        out.push_str(&format!("\n{}\n", self.strong(&title)));
        for line in folded(fix.how, self.width - 2) {
            out.push_str(&format!("  {line}\n"));
        }
        if !fix.code.is_empty() {
            out.push('\n');
            for line in fix.code.replace('\t', "    ").lines() {
                out.push_str(format!("    {line}").trim_end());
                out.push('\n');
            }
            out.push('\n');
        }
        self.part("holds for", fix.version, out);
        self.part("leaves", fix.leaves, out);
        let source = format!("{} ({})", fix.source, fix.checked.in_words());
        self.part("source", &source, out);
    }

    fn short_fixes(self, check: &CheckInfo, out: &mut String) {
        let known: Vec<Fix> = fixes(check.id).collect();
        out.push_str(&format!("\n{}\n", self.strong("in your server")));
        for fix in &known {
            let first = fix.how.split_inclusive(". ").next().unwrap_or(fix.how);
            self.part(fix.server.word(), first.trim_end(), out);
        }
        if let Some(first) = known.get(1).or(known.first()) {
            let word = first.server.word();
            let next = format!(
                "the code, and what it leaves: lameduck explain {} --for {word}",
                check.id
            );
            self.part("", &next, out);
        }
    }

    /// A label and its text, which hangs behind it.
    fn part(self, label: &str, text: &str, out: &mut String) {
        for (index, line) in folded(text, self.width - INDENT).into_iter().enumerate() {
            let lead = if index == 0 { label } else { "" };
            let pad = INDENT - 2;
            out.push_str(&format!("  {lead:<pad$}{line}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lameduck_verify::{ServerKind, check};

    const PAGE: Page = Page {
        width: 80,
        is_coloured: false,
    };

    fn arguments(server: Option<ServerKind>) -> ExplainArguments {
        ExplainArguments {
            what: None,
            server,
            list: false,
            audit: None,
            history: None,
            format: ExplainFormat::Text,
        }
    }

    #[test]
    fn an_id_is_explained_at_80_columns() {
        let entry = check("A1").expect("an id");
        let text = PAGE.text(&entry, &arguments(Some(ServerKind::Haproxy)));
        let snapshot = include_str!("snapshots/a1-haproxy.txt");
        assert_eq!(text, snapshot, "explained otherwise:\n{text}");
    }

    #[test]
    fn no_text_is_wider_than_80_columns_but_what_must_not_be_broken() {
        for entry in checks() {
            let servers = ServerKind::all().map(Some).chain([None]);
            for server in servers {
                let text = PAGE.text(&entry, &arguments(server));
                let command = entry.command();
                let wide = text
                    .lines()
                    .find(|line| line.chars().count() > 80 && !line.contains(&command));
                assert_eq!(wide, None, "{} for {server:?}", entry.id);
            }
        }
    }

    #[test]
    fn colour_changes_nothing_else() {
        let entry = check("P1").expect("an id");
        let coloured = Page {
            is_coloured: true,
            ..PAGE
        };
        let text = coloured.text(&entry, &arguments(None));
        let plain = text.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_ne!(text, plain);
        assert_eq!(plain, PAGE.text(&entry, &arguments(None)));
    }

    #[test]
    fn programs_get_the_same() {
        let entry = check("H1-02").expect("an id");
        let value = as_json(&entry, &arguments(Some(ServerKind::Nginx)));
        assert_eq!(value["id"], "H1-02");
        assert_eq!(value["fixes"][0]["server"], "nginx");
        assert_eq!(value["fixes"].as_array().map(Vec::len), Some(1));
        assert!(
            value["measured"]
                .as_str()
                .is_some_and(|text| text.len() > 40)
        );
    }
}
