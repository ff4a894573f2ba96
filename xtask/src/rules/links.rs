//! Links inside the repository lead somewhere, and each decision is listed where people look for it.

use crate::finding::Finding;
use crate::tree::Tree;

const DECISIONS: &str = "docs/decisions/";

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree
        .files()
        .iter()
        .filter(|(path, _)| path.ends_with(".md"))
    {
        for (line, number) in prose(text) {
            // The manual is documentation of a crate: rustdoc checks its links to items, and CI makes a broken one an error.
            let items = path.contains("/src/manual/");
            for target in targets(line).filter(|target| !(items && target.contains("::"))) {
                let resolved = resolve(path, target);
                if resolved
                    .as_ref()
                    .is_none_or(|to| !to.is_empty() && !tree.exists(to))
                {
                    findings.push(Finding::failure(
                        path,
                        number,
                        format!("the link to `{target}` leads nowhere; correct or remove it"),
                    ));
                }
            }
        }
    }
    check_paths(tree, findings);
    check_decisions(tree, findings);
}

/// A path of ours that a page quotes exists.
fn check_paths(tree: &Tree, findings: &mut Vec<Finding>) {
    for (page, text) in tree
        .files()
        .iter()
        .filter(|(path, _)| path.ends_with(".md"))
    {
        for (line, number) in prose(text) {
            let quoted = line.split('`').skip(1).step_by(2);
            for path in quoted.filter(|path| is_path(path) && !tree.exists(path)) {
                let what = format!("`{path}` does not exist; correct or remove it");
                findings.push(Finding::failure(page, number, what));
            }
        }
    }
}

/// Whether a quotation is a path from the root of the repository.
fn is_path(quoted: &str) -> bool {
    let ours = [
        "crates/",
        "examples/",
        "benches/",
        "xtask/",
        "docs/",
        ".ci/",
    ]
    .iter()
    .any(|d| quoted.starts_with(d));
    ours && !quoted.contains(['*', '{', '<', ' ', '…'])
}

fn check_decisions(tree: &Tree, findings: &mut Vec<Finding>) {
    let index_path = format!("{DECISIONS}README.md");
    let index = tree.text(&index_path).unwrap_or_default();
    for (path, _) in tree.files() {
        let Some(name) = path
            .strip_prefix(DECISIONS)
            .filter(|name| *name != "README.md")
        else {
            continue;
        };
        if !index.contains(&format!("({name})")) {
            findings.push(Finding::failure(
                path,
                1,
                format!("not listed in {index_path}; add a line that links to it"),
            ));
        }
    }
}

/// Lines outside code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (&str, u32)> {
    let mut fenced = false;
    text.lines().zip(1..).filter(move |(line, _)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)` that lie inside the repository, without their anchors.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?;
        let target = target.split('#').next().filter(|t| !t.is_empty())?;
        let outside = target.contains("://")
            || target.starts_with("mailto:")
            || target.starts_with("crate::");
        (!outside).then_some(target)
    })
}

/// The path from the root that `target` names in the file at `path`; nothing when it leaves the repository.
fn resolve(path: &str, target: &str) -> Option<String> {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = directory.split('/').filter(|p| !p.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    #[test]
    fn dead_links_are_found() {
        let text = "[a](b.md#c) [d](../README.md), [e](gone.md) [f](https://x.y/z) [g](#h)\n```\n[i](j)\n```\n[k](../../x)";
        let found = run(
            super::check,
            &[("docs/a.md", text), ("docs/b.md", ""), ("README.md", "")],
        );
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("docs/a.md:1: the link to `gone.md`"));
        assert!(found[1].starts_with("docs/a.md:5: "));
    }

    #[test]
    fn quoted_paths_exist() {
        let text = "see `docs/b.md`, `crates/*/src`, `docs/c.md` and `cargo doc`";
        let found = run(super::check, &[("docs/a.md", text), ("docs/b.md", "")]);
        assert_eq!(
            found,
            ["docs/a.md:1: `docs/c.md` does not exist; correct or remove it"]
        );
    }

    #[test]
    fn decisions_are_indexed() {
        let found = run(
            super::check,
            &[
                ("docs/decisions/README.md", "[1](0001-a.md)"),
                ("docs/decisions/0001-a.md", ""),
                ("docs/decisions/0002-b.md", ""),
            ],
        );
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("docs/decisions/0002-b.md:1: not listed"));
    }
}
