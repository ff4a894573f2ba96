//! README tells the truth about versions, MSRV and the number of dependencies.

use std::collections::BTreeSet;
use std::process::Command;

use super::manifests::workspace_value;
use crate::finding::Finding;
use crate::tree::Tree;

const PAGE: &str = "README.md";

/// How the line about dependencies begins, and the features that each of its numbers stands for.
const DEPENDENCIES: &str = "Dependencies of `lameduck`:";
const COUNTED: [(&str, &[&str]); 3] = [
    ("without features", &["--no-default-features"]),
    ("by default", &[]),
    ("with `tokio`", &["--features", "tokio"]),
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    check_versions(tree, findings);
    let Some((line, number)) = dependency_line(tree.text(PAGE).unwrap_or_default()) else {
        findings.push(Finding::failure(
            PAGE,
            1,
            format!("no line \"{DEPENDENCIES} …\"; people ask what they take in"),
        ));
        return;
    };
    // Fixtures have no packages to count.
    if tree.text("Cargo.lock").is_some() {
        check_counts(line, number, count, findings);
    }
}

/// Versions and the MSRV, wherever the README names them.
fn check_versions(tree: &Tree, findings: &mut Vec<Finding>) {
    let root = tree.text("Cargo.toml").unwrap_or_default();
    let (Some(version), Some(msrv)) = (
        workspace_value(root, "version"),
        workspace_value(root, "rust-version"),
    ) else {
        return;
    };
    let Some(page) = tree.text(PAGE) else {
        findings.push(Finding::failure(
            PAGE,
            1,
            "missing; it is where a stranger begins",
        ));
        return;
    };
    if !page.contains(&format!("Rust {msrv}")) {
        findings.push(Finding::failure(
            PAGE,
            1,
            format!("does not name the MSRV; write \"Rust {msrv}\""),
        ));
    }
    for (line, number) in page.lines().zip(1..) {
        for named in
            words_after(line, "Rust ").filter(|word| word.starts_with("1.") && *word != msrv)
        {
            findings.push(Finding::failure(
                PAGE,
                number,
                format!("names Rust {named}, the workspace says {msrv}; correct it"),
            ));
        }
        let required = line.trim_start().starts_with("lameduck") && line.contains('=');
        for named in line
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|word| required && word.starts_with(|c: char| c.is_ascii_digit()))
        {
            let agrees = version == named
                || version
                    .strip_prefix(named)
                    .is_some_and(|rest| rest.starts_with('.'));
            if !agrees {
                findings.push(Finding::failure(
                    PAGE,
                    number,
                    format!("names version {named}, the workspace says {version}; correct it"),
                ));
            }
        }
    }
}

/// The words that follow each `lead`, without punctuation at their end.
fn words_after<'a>(line: &'a str, lead: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(lead)
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_digit()))
}

fn dependency_line(page: &str) -> Option<(&str, u32)> {
    page.lines()
        .zip(1..)
        .find(|(line, _)| line.starts_with(DEPENDENCIES))
}

fn check_counts(
    line: &str,
    number: u32,
    count: impl Fn(&[&str]) -> Result<usize, String>,
    findings: &mut Vec<Finding>,
) {
    for (name, features) in COUNTED {
        match count(features) {
            Err(error) => findings.push(Finding::failure(
                PAGE,
                number,
                format!("cannot count dependencies: {error}"),
            )),
            Ok(count) if !line.contains(&format!(" {count} {name}")) => {
                findings.push(Finding::failure(
                    PAGE,
                    number,
                    format!("the count is {count} {name}; write that"),
                ));
            }
            Ok(_) => {}
        }
    }
}

/// The crates besides `lameduck` itself that a user on this platform builds.
fn count(features: &[&str]) -> Result<usize, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "tree",
        "--locked",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--package",
        "lameduck",
    ]);
    let output = command
        .args(features)
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(reason
            .lines()
            .next()
            .unwrap_or("`cargo tree` failed")
            .to_owned());
    }
    let listing = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<&str> = listing
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "lameduck")
        .collect();
    Ok(names.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::run;

    #[test]
    fn versions_must_agree() {
        let root = "[workspace.package]\nversion = \"0.1.0\"\nrust-version = \"1.88\"\n";
        let page = "Rust 1.88 or newer; Rust 1.80 is too old.\nlameduck = \"0.1\"\nlameduck-http = { version = \"0.2\" }\n";
        let found = run(super::check, &[("Cargo.toml", root), ("README.md", page)]);
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with("README.md:1: names Rust 1.80"));
        assert!(found[1].starts_with("README.md:3: names version 0.2"));
        assert!(found[2].contains("no line"));
    }

    #[test]
    fn counts_must_agree() {
        let mut findings = Vec::new();
        let line = "Dependencies of `lameduck`: 0 without features, 3 by default, 12 with `tokio`.";
        check_counts(line, 7, |features| Ok(features.len() * 2), &mut findings);
        let printed: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(printed.len(), 3);
        assert_eq!(
            printed[1],
            "README.md:7: the count is 0 by default; write that"
        );
    }
}
