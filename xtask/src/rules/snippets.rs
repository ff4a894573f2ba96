//! Rust in README and docs/start.md is taken from examples, which tests compile and run.
//!
//! A snippet stands in one example as it stands on the page: the same lines in the same order with nothing between
//! them, apart from indentation, blank lines and comments.

use crate::finding::Finding;
use crate::tree::Tree;

const PAGES: [&str; 2] = ["README.md", "docs/start.md"];
const EXAMPLES: &str = "examples/";

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let examples: Vec<Vec<&str>> = tree
        .sources()
        .iter()
        .filter(|source| source.path.starts_with(EXAMPLES))
        .map(|source| code(source.text.lines()))
        .collect();
    for page in PAGES {
        for (line, snippet) in snippets(tree.text(page).unwrap_or_default()) {
            let snippet = code(snippet.into_iter());
            let stands =
                |example: &Vec<&str>| example.windows(snippet.len()).any(|part| part == snippet);
            if !snippet.is_empty() && !examples.iter().any(stands) {
                let what =
                    "this snippet stands in no example, so nothing compiles it; copy it from one";
                findings.push(Finding::failure(page, line, what));
            }
        }
    }
}

/// The Rust blocks of a page, each with the line of its fence.
fn snippets(page: &str) -> Vec<(u32, Vec<&str>)> {
    let mut found = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if line.trim_start().starts_with("```rust") {
            let body = lines
                .by_ref()
                .map(|(line, _)| line)
                .take_while(|line| !line.trim_start().starts_with("```"));
            found.push((number, body.collect()));
        } else if line.trim_start().starts_with("```") {
            // Another language: its end must not be taken for a beginning.
            let _ = lines
                .by_ref()
                .find(|(line, _)| line.trim_start().starts_with("```"));
        }
    }
    found
}

/// Lines without indentation and comments, and without those that are then empty.
fn code<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let bare = |line: &'a str| {
        let line = line.trim();
        let end = if line.starts_with("//") {
            0
        } else {
            line.find(" // ").unwrap_or(line.len())
        };
        line[..end].trim_end()
    };
    lines.map(bare).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    const EXAMPLE: (&str, &str) = (
        "examples/axum.rs",
        "//! An example.\nfn main() {\n    let a = 1; // one\n\n    // and\n    let b = 2;\n}\n",
    );

    #[test]
    fn a_snippet_stands_in_an_example() {
        let page = "text\n```console\n$ x\n```\n```rust\nlet a = 1;\nlet b = 2; // two\n```\n";
        assert!(run(super::check, &[("README.md", page), EXAMPLE]).is_empty());
    }

    #[test]
    fn an_invented_snippet_is_found() {
        let page = "text\n```rust\nlet a = 1;\n}\n```\n";
        let found = run(super::check, &[("README.md", page), EXAMPLE]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("README.md:2: this snippet stands in no example"));
    }
}
