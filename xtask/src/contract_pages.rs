//! Owns the pages of the contract: which files they are, writing them, and telling those that are not current.
//! Not: what they say (see the catalogue of `lameduck-verify`).

use std::path::Path;
use std::{fs, io};

use lameduck_verify::{contract_page, contract_table, list};

use crate::finding::Finding;
use crate::tree::Tree;

const PAGES: &str = "docs/contract/";
const INDEX: &str = "docs/contract.md";
/// What is written of the index stands between lines that begin so.
const FROM: &str = "<!-- from here to the next mark: written by";
const UNTIL: &str = "<!-- until here -->";

/// Path and text of every page that there should be.
fn pages(tree: &Tree) -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> = list()
        .iter()
        .map(|check| {
            (
                format!("{PAGES}{}.md", check.id),
                contract_page(check, None),
            )
        })
        .collect();
    if let Some(index) = tree.text(INDEX).and_then(index) {
        pages.push((INDEX.to_owned(), index));
    }
    pages
}

/// The index with the table of now, if it has the marks.
fn index(text: &str) -> Option<String> {
    let from = text.find(FROM)?;
    let head = from + text[from..].find('\n')? + 1;
    let until = head + text[head..].find(UNTIL)?;
    Some(format!(
        "{}{}\n{}",
        &text[..head],
        contract_table(),
        &text[until..]
    ))
}

/// Writes what is missing or other; returns how many files.
pub(crate) fn write(root: &Path, tree: &Tree) -> io::Result<usize> {
    fs::create_dir_all(root.join(PAGES))?;
    let mut written = 0;
    for (path, text) in pages(tree) {
        if tree.text(&path) != Some(&text) {
            fs::write(root.join(&path), text)?;
            written += 1;
        }
    }
    for path in strangers(tree) {
        fs::remove_file(root.join(path))?;
        written += 1;
    }
    Ok(written)
}

/// Pages of ids that the catalogue does not have.
fn strangers(tree: &Tree) -> Vec<&str> {
    let known = |path: &str| {
        let name = path.strip_prefix(PAGES).unwrap_or(path);
        list()
            .iter()
            .any(|check| name == format!("{}.md", check.id))
    };
    let paths = tree.files().iter().map(|(path, _)| path.as_str());
    paths
        .filter(|path| path.starts_with(PAGES) && !known(path))
        .collect()
}

/// Every page is there and says what the catalogue says.
pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    const WHAT: &str = "is not what the catalogue says; run `cargo xtask contract-pages`";
    for (path, text) in pages(tree) {
        if tree.text(&path) != Some(&text) {
            findings.push(Finding::failure(&path, 1, WHAT));
        }
    }
    for path in strangers(tree) {
        findings.push(Finding::failure(path, 1, WHAT));
    }
    if tree.text(INDEX).and_then(index).is_none() {
        let what = "has no marks for the table of ids; see xtask/src/contract_pages.rs";
        findings.push(Finding::failure(INDEX, 1, what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_page() -> String {
        format!("# The contract\n\n{FROM} a tool -->\n{UNTIL}\n\nmore\n")
    }

    fn found(files: &[(&str, &str)]) -> usize {
        let mut findings = Vec::new();
        check(&Tree::of(files), &mut findings);
        findings.len()
    }

    #[test]
    fn pages_that_are_missing_old_or_strange_are_found() {
        let index = index_page();
        let all = list().len() + 1;
        assert_eq!(
            found(&[(INDEX, &index)]),
            all,
            "none is there, and the table is empty"
        );
        let tree = Tree::of(&[(INDEX, &index)]);
        let current = pages(&tree);
        let mut files: Vec<(&str, &str)> = current
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        assert_eq!(found(&files), 0, "all are there");
        files.push(("docs/contract/H9-99.md", "# H9-99\n"));
        assert_eq!(found(&files), 1, "one too many");
        files.pop();
        files[0].1 = "# old\n";
        assert_eq!(found(&files), 1, "one is old");
    }

    #[test]
    fn an_index_without_marks_is_found() {
        let all = list().len();
        assert_eq!(found(&[(INDEX, "# The contract\n")]), all + 1);
    }

    #[test]
    fn what_stands_around_the_table_stays() {
        let text = index(&index_page()).expect("it has the marks");
        assert!(text.starts_with("# The contract\n") && text.ends_with("\n\nmore\n"));
        assert_eq!(
            index(&text).as_deref(),
            Some(text.as_str()),
            "twice is once"
        );
    }
}
