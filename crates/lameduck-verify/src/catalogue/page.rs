//! Owns an id of the contract as a page of Markdown, and the table that leads to all of them.
//! Not: where the pages are kept (see `xtask`), nor the form for a terminal (see the command).

use super::{CheckInfo, Class, Fix, ServerKind, fixes, list};

/// One id as a page of Markdown; with the mend for one server, or with all that are known.
///
/// Links lead where the page stands in `docs/contract/`.
#[must_use]
pub fn contract_page(check: &CheckInfo, server: Option<ServerKind>) -> String {
    let mut page = format!(
        "# {}: {}\n\n{}\n\n**Class**: {}.\n\n",
        check.id,
        check.short,
        sentence(check.owed),
        class(check)
    );
    let parts = [
        ("Why", check.source),
        ("How it is measured", check.measured),
        ("What failing costs", check.consequence),
        ("How it is mended in general", check.remedy),
    ];
    for (title, text) in parts {
        page.push_str(&format!("## {title}\n\n{}\n\n", sentence(text)));
    }
    page.push_str("## How it is mended in your server\n\n");
    let wanted: Vec<Fix> = fixes(check.id)
        .filter(|fix| server.is_none_or(|server| fix.server == server))
        .collect();
    match server {
        Some(server) if wanted.is_empty() => page.push_str(&format!(
            "Nothing is written down for {}; what is said above holds for every server.\n\n",
            server.name()
        )),
        _ => wanted.iter().for_each(|fix| mend(fix, &mut page)),
    }
    page.push_str(&format!(
        "## Check it\n\n```console\n$ {}\n```\n\nCost: {}. What is in capitals is yours to fill in; [the first steps](../start.md) show how a target is\ndescribed. If you think that the check, or a published result, is wrong: [how to dispute it](../disputing.md).\n\n",
        check.command(),
        check.cost
    ));
    page.push_str(&neighbours(check));
    page
}

fn class(check: &CheckInfo) -> &'static str {
    match check.class {
        Class::Loss => "loss; a failure decides the verdict",
        Class::Manners => "manners; `differs` is printed, and counts with `--fail-on any` only",
    }
}

/// With a capital at its beginning and a full stop at its end.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    let mut text: String = first.into_iter().flatten().chain(chars).collect();
    if !text.ends_with(['.', '?', '!']) {
        text.push('.');
    }
    text
}

fn mend(fix: &Fix, page: &mut String) {
    page.push_str(&format!("### {}\n\n{}\n\n", fix.server.name(), fix.how));
    if !fix.code.is_empty() {
        page.push_str(&format!("```{}\n{}\n```\n\n", fix.language, fix.code));
    }
    page.push_str(&format!(
        "- Holds for: {}\n- Does not mend: {}\n- Source: {}; {}\n\n",
        fix.version,
        fix.leaves,
        fix.source,
        fix.checked.in_words()
    ));
}

/// Links to the ids beside it, and to the whole.
fn neighbours(check: &CheckInfo) -> String {
    let family: Vec<String> = list()
        .iter()
        .filter(|other| other.family() == check.family() && other.id != check.id)
        .map(|other| format!("[{0}]({0}.md)", other.id))
        .collect();
    let beside = if family.is_empty() {
        String::new()
    } else {
        format!(" · {}: {}", check.family(), family.join(" "))
    };
    format!("[The contract](../contract.md){beside}\n")
}

/// All ids as a table of Markdown, each with the link to its page, as `docs/contract.md` shows it.
#[must_use]
pub fn contract_table() -> String {
    let mut table = String::new();
    let mut family = "";
    for check in list() {
        if check.family() != family {
            family = check.family();
            table.push_str(&format!(
                "\n### {family}\n\n| id | what is owed | why |\n|---|---|---|\n"
            ));
        }
        let manners = if check.class == Class::Manners {
            " m"
        } else {
            ""
        };
        table.push_str(&format!(
            "| [{0}](contract/{0}.md){manners} | {1} | {2} |\n",
            check.id,
            cell(check.owed),
            cell(check.source)
        ));
    }
    table
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::check;

    #[test]
    fn a_page_says_all_that_is_known() {
        let entry = check("h1-02").expect("an id of the contract");
        let page = contract_page(&entry, None);
        assert!(page.starts_with("# H1-02: "), "{page}");
        for part in [
            entry.measured,
            "Each deploy costs a few requests",
            "### nginx",
            "### Node.js",
            "disputing.md",
        ] {
            assert!(page.contains(part), "{part}");
        }
        let one = contract_page(&entry, Some(ServerKind::Nginx));
        assert!(one.contains("keepalive_min_timeout") && !one.contains("### Node.js"));
        let none = contract_page(&entry, Some(ServerKind::Systemd));
        assert!(none.contains("Nothing is written down for systemd"));
    }

    #[test]
    fn the_table_has_every_id_once() {
        let table = contract_table();
        for entry in list() {
            let link = format!("[{0}](contract/{0}.md)", entry.id);
            assert_eq!(table.matches(&link).count(), 1, "{link}");
        }
    }

    #[test]
    fn sentences_are_made_of_phrases() {
        assert_eq!(sentence("a head ends"), "A head ends.");
        assert_eq!(sentence("Why?"), "Why?");
        assert_eq!(sentence(""), ".");
    }
}
