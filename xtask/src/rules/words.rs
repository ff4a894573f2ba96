//! Words that are not committed: unfinished work, paths of somebody's machine, hosts of package registries.

use crate::finding::Finding;
use crate::tree::Tree;

/// Endings of the files that people read and write.
const TEXTS: [&str; 9] = [
    ".rs", ".md", ".toml", ".sh", ".yml", ".yaml", ".py", "justfile", ".ci/run",
];

/// What to look for, whether it must stand as a word of its own, and what to do. Spelt in two halves, so that this
/// file passes its own rule.
const UNWANTED: &[(&str, bool, &str)] = &[
    (
        concat!("TO", "DO"),
        true,
        "unfinished; do it, or open an issue",
    ),
    (
        concat!("FIX", "ME"),
        true,
        "unfinished; do it, or open an issue",
    ),
    (
        concat!("XX", "X"),
        true,
        "unfinished; do it, or open an issue",
    ),
    (
        concat!("todo", "!("),
        true,
        "unfinished; do it, or return an error that says so",
    ),
    (
        concat!("unimplemented", "!("),
        true,
        "unfinished; do it, or return an error that says so",
    ),
    (
        concat!("dbg", "!("),
        true,
        "left over from debugging; remove it",
    ),
    (
        concat!("#[ig", "nore"),
        false,
        "a test that does not run; make it run or remove it",
    ),
    (
        concat!("/ho", "me/"),
        true,
        "a path of one machine; make it relative",
    ),
    (
        concat!("/wo", "rk/"),
        true,
        "a path of one machine; make it relative",
    ),
    (
        concat!("/Us", "ers/"),
        true,
        "a path of one machine; make it relative",
    ),
    (
        concat!("/ro", "ot/"),
        true,
        "a path of one machine; make it relative",
    ),
    (
        concat!("crates", ".io"),
        false,
        "a registry's host; name the crate instead",
    ),
    (
        concat!("npm", "js"),
        false,
        "a registry's host; name the package instead",
    ),
    (
        concat!("py", "pi"),
        true,
        "a registry's host; name the package instead",
    ),
    (
        concat!("deb.", "debian"),
        false,
        "a registry's host; name the package instead",
    ),
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let texts = tree
        .files()
        .iter()
        .filter(|(path, _)| TEXTS.iter().any(|ending| path.ends_with(ending)));
    for (path, text) in texts {
        for (line, number) in text.lines().zip(1..) {
            for (unwanted, whole, advice) in UNWANTED {
                if has(line, unwanted, *whole) {
                    findings.push(Finding::failure(
                        path,
                        number,
                        format!("`{unwanted}`: {advice}"),
                    ));
                }
            }
        }
    }
}

/// Whether `line` holds `needle`; as a whole, nothing that goes on with the word may touch it.
fn has(line: &str, needle: &str, whole: bool) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(joins);
        let after = needle.ends_with(char::is_alphanumeric)
            && line[at + needle.len()..].chars().next().is_some_and(joins);
        !whole || !(before || after)
    })
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    #[test]
    fn unfinished_words_are_found() {
        let text = format!(
            "//! a\n// {}: later\nlet x = {}1);\n",
            concat!("TO", "DO"),
            concat!("dbg", "!(")
        );
        let found = run(super::check, &[("crates/a/src/lib.rs", &text)]);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("crates/a/src/lib.rs:2: "));
    }

    #[test]
    fn words_inside_words_are_not() {
        let text = format!(
            "mas{}s, a.com/x{}, {}S",
            concat!("TO", "DO"),
            concat!("/wo", "rk/"),
            concat!("TO", "DO")
        );
        assert!(run(super::check, &[("docs/a.md", &text)]).is_empty());
    }
}
