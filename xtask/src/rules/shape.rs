//! Shape (STYLE in CONTRIBUTING): a header on every module, files that fit a head.

use crate::finding::Finding;
use crate::tree::Tree;

/// A file of more lines has more than one role: think.
const THINK_AT: usize = 450;
/// A file of more lines is split.
const SPLIT_AT: usize = 800;

/// Files that may be longer than `SPLIT_AT`, with the reason. A ratchet: an entry that is not needed any more fails.
const LONG_FILES: &[(&str, &str)] = &[];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources() {
        let first = source
            .text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        if !first.starts_with("//!") && !first.starts_with("#![doc = include_str!(") {
            let what = "no `//!` header; say in its first line what the module owns and what not";
            findings.push(Finding::failure(&source.path, 1, what));
        }
        check_length(&source.path, source.text.lines().count(), findings);
    }
    for (path, _) in LONG_FILES {
        if tree
            .text(path)
            .is_none_or(|text| text.lines().count() <= SPLIT_AT)
        {
            findings.push(Finding::failure(
                "xtask/src/rules/shape.rs",
                1,
                format!("{path} needs no exemption any more; take it off LONG_FILES"),
            ));
        }
    }
}

fn check_length(path: &str, lines: usize, findings: &mut Vec<Finding>) {
    let exempt = LONG_FILES.iter().any(|(exempt, _)| *exempt == path);
    if lines > SPLIT_AT && !exempt {
        findings.push(Finding::failure(
            path,
            1,
            format!("{lines} lines; split it, {SPLIT_AT} is the cap"),
        ));
    } else if lines > THINK_AT && !exempt {
        findings.push(Finding::advice(
            path,
            1,
            format!("{lines} lines; does it still have one role?"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    #[test]
    fn headers_are_asked_for() {
        let files = [
            ("crates/a/src/lib.rs", "\n//! Owns a.\n"),
            ("crates/a/src/b.rs", "// Owns b.\n"),
            ("crates/a/src/c.rs", ""),
        ];
        assert_eq!(run(super::check, &files).len(), 2);
    }

    #[test]
    fn length_is_capped() {
        let (long, longer) = ("//! a\n".repeat(451), "//! a\n".repeat(801));
        let found = run(
            super::check,
            &[("benches/a.rs", &long), ("benches/b.rs", &longer)],
        );
        assert!(found[0].contains("advice: 451 lines"));
        assert!(found[1].contains("801 lines; split it"));
    }
}
