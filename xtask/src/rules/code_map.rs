//! ARCHITECTURE's code map names every module and no ghost.
//!
//! It reads the section "Code map": a heading names a crate's source directory in backticks, and each backticked path
//! that begins a table row stands below it. Directories end with a slash.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::tree::Tree;

const PAGE: &str = "ARCHITECTURE.md";
const SECTION: &str = "## Code map";

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let Some(page) = tree.text(PAGE) else {
        findings.push(Finding::failure(
            PAGE,
            1,
            "missing; newcomers read it first",
        ));
        return;
    };
    let map = read_map(page);
    for (path, line) in &map {
        if !tree.exists(path) {
            findings.push(Finding::failure(
                PAGE,
                *line,
                format!("the code map names `{path}`, which does not exist; remove it"),
            ));
        }
    }
    let section = page
        .lines()
        .position(|line| line.starts_with(SECTION))
        .map_or(1, |at| u32::try_from(at).map_or(1, |at| at + 1));
    for module in modules(tree) {
        if !map.contains_key(&module) {
            let what =
                format!("the code map does not name `{module}`; add a row that says what it owns");
            findings.push(Finding::failure(PAGE, section, what));
        }
    }
}

/// The paths of the map with their lines.
fn read_map(page: &str) -> BTreeMap<String, u32> {
    let mut map = BTreeMap::new();
    let mut root = None;
    let lines = page
        .lines()
        .zip(1..)
        .skip_while(|(line, _)| !line.starts_with(SECTION))
        .skip(1);
    for (line, number) in lines.take_while(|(line, _)| !line.starts_with("## ")) {
        let quoted = line
            .split('`')
            .nth(1)
            .map(|path| path.trim_end_matches('/'));
        if line.starts_with('#') {
            root = quoted;
        } else if let (true, Some(path)) = (line.starts_with("| `"), quoted) {
            map.insert(
                root.map_or_else(|| path.to_owned(), |root| format!("{root}/{path}")),
                number,
            );
        }
    }
    map
}

/// What the map owes: each directory of sources below `crates/*/src`, and each module file at the top of one.
fn modules(tree: &Tree) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for source in tree.sources().iter().filter(|s| !s.is_test_file()) {
        let Some((name, below)) = source.in_crate() else {
            continue;
        };
        let root = format!("crates/{name}/src");
        let directories = tree.source_directories(&root);
        modules.extend(
            directories
                .iter()
                .map(|directory| format!("{root}/{directory}")),
        );
        let beside_directory = directories.contains(below.trim_end_matches(".rs"));
        if !below.contains('/') && below != "lib.rs" && below != "main.rs" && !beside_directory {
            modules.insert(format!("{root}/{below}"));
        }
    }
    modules
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    const PAGE: &str = "# A\n## Code map\n### `crates/a/src`\n| where | owns |\n|---|---|\n| `b/` | b |\n| `c.rs` | c |\n| `gone/` | ? |\n\
                        ### Beside\n| `docs/` | d |\n## Next\n| `not/` | |\n";

    #[test]
    fn ghosts_and_gaps() {
        let files = [
            ("ARCHITECTURE.md", PAGE),
            ("crates/a/src/lib.rs", ""),
            ("crates/a/src/b/mod.rs", ""),
            ("crates/a/src/b/deep/x.rs", ""),
            ("crates/a/src/c.rs", ""),
            ("crates/a/src/c/tests.rs", ""),
            ("crates/a/src/d.rs", ""),
            ("docs/start.md", ""),
        ];
        let found = run(super::check, &files);
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with("ARCHITECTURE.md:8: the code map names `crates/a/src/gone`"));
        assert!(found[1].contains("does not name `crates/a/src/b/deep`"));
        assert!(
            found[2]
                .starts_with("ARCHITECTURE.md:2: the code map does not name `crates/a/src/d.rs`")
        );
    }
}
