//! Manifests: every package inherits what the workspace says once, and CHANGELOG knows the version.

use crate::finding::Finding;
use crate::tree::Tree;

const ROOT: &str = "Cargo.toml";
const CHANGELOG: &str = "CHANGELOG.md";

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let root = tree.text(ROOT).unwrap_or_default();
    let Some(version) = workspace_value(root, "version") else {
        findings.push(Finding::failure(
            ROOT,
            1,
            "no `version` under [workspace.package]; add it",
        ));
        return;
    };
    let heading = |line: &str| {
        line.starts_with("## ") && line.split([' ', '[', ']']).any(|word| word == version)
    };
    if !tree
        .text(CHANGELOG)
        .unwrap_or_default()
        .lines()
        .any(heading)
    {
        findings.push(Finding::failure(
            CHANGELOG,
            1,
            format!("no `## {version}` heading; say what changed for users"),
        ));
    }
    let members = tree
        .files()
        .iter()
        .filter(|(path, _)| path.ends_with("/Cargo.toml") && !outside(path));
    for (path, manifest) in members {
        check_member(path, manifest, findings);
    }
}

/// Packages that are no members of the workspace, and why they are not stands in their manifests.
fn outside(path: &str) -> bool {
    ["fuzz/", "matrix/", "crates/lameduck-etcd/"]
        .iter()
        .any(|outside| path.starts_with(outside))
}

fn check_member(path: &str, manifest: &str, findings: &mut Vec<Finding>) {
    let mut owed = vec![(
        "[lints]\nworkspace = true",
        "lints are not inherited; add `[lints] workspace = true`",
    )];
    owed.push((
        "edition.workspace = true",
        "the edition is not inherited; write `edition.workspace = true`",
    ));
    owed.push((
        "rust-version.workspace = true",
        "the MSRV is not inherited; write `rust-version.workspace = true`",
    ));
    if !manifest.contains("publish = false") {
        owed.push((
            "license.workspace = true",
            "the licence is not inherited; write `license.workspace = true`",
        ));
        owed.push((
            "version.workspace = true",
            "the version is not inherited; write `version.workspace = true`",
        ));
        owed.push((
            "\ndescription = ",
            "no description; say in a sentence what the crate is",
        ));
    }
    for (wanted, what) in owed {
        if !manifest.contains(wanted) {
            findings.push(Finding::failure(path, 1, what));
        }
    }
}

/// The quoted value of `key` under `[workspace.package]`.
pub(crate) fn workspace_value<'a>(root: &'a str, key: &str) -> Option<&'a str> {
    let section = root
        .split("[workspace.package]")
        .nth(1)?
        .split("\n[")
        .next()?;
    let line = section
        .lines()
        .find(|line| line.split('=').next().is_some_and(|k| k.trim() == key))?;
    line.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::run;

    const ROOT_TEXT: &str = "[workspace]\n[workspace.package]\nversion = \"0.1.0\"\nrust-version = \"1.88\"\n[workspace.lints]\n";

    #[test]
    fn values_of_the_workspace() {
        assert_eq!(workspace_value(ROOT_TEXT, "version"), Some("0.1.0"));
        assert_eq!(workspace_value(ROOT_TEXT, "rust-version"), Some("1.88"));
        assert_eq!(workspace_value(ROOT_TEXT, "edition"), None);
    }

    #[test]
    fn changelog_and_members() {
        let member =
            "[package]\nedition.workspace = true\nrust-version.workspace = true\npublish = false\n";
        let found = run(
            super::check,
            &[
                ("Cargo.toml", ROOT_TEXT),
                ("CHANGELOG.md", "## 0.0.9"),
                ("xtask/Cargo.toml", member),
            ],
        );
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("no `## 0.1.0` heading"));
        assert!(found[1].starts_with("xtask/Cargo.toml:1: lints are not inherited"));
    }
}
