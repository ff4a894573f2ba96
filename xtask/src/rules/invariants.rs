//! The triangle: a numbered promise, the assertion that holds it, the test that would notice.
//!
//! Invariants are the list in ARCHITECTURE's section "Invariants"; contract ids are those that this version keeps.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::lex::Token;
use crate::source::Source;
use crate::tree::Tree;

const PAGE: &str = "ARCHITECTURE.md";
const SECTION: &str = "## Invariants";

/// This file speaks of ids without bearing any.
const OWN: &str = "xtask/src/rules/invariants.rs";

/// How many invariants the design has; the list must be complete.
const INVARIANTS: u32 = 12;

/// The contract ids that this version of `lameduck verify` judges.
const CONTRACT: [&str; 17] = [
    "P1", "P2", "P3", "P4", "P9", "A1", "A2", "A3", "A5", "H1-01", "H1-02", "H1-03", "H1-04",
    "H1-05", "H1-06", "H1-10", "L-H1",
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let page = tree.text(PAGE).unwrap_or_default();
    let marks = Marks::gather(tree);
    for number in 1..=INVARIANTS {
        let id = format!("INV-{number}");
        let Some(line) = listed(page, &id) else {
            findings.push(Finding::failure(
                PAGE,
                1,
                format!("{id} is not listed under \"Invariants\"; add it"),
            ));
            continue;
        };
        let key = key(&id);
        if !marks.code.contains(&key) {
            findings.push(Finding::failure(
                PAGE,
                line,
                format!(
                    "{id} has no assertion; bear `{id}` in a comment at the assertion that holds it"
                ),
            ));
        }
        if !marks.tests.contains(&key) {
            findings.push(Finding::failure(
                PAGE,
                line,
                format!(
                    "{id} has no test; name one `inv_{number}_…`, or bear `{id}` in its comment"
                ),
            ));
        }
    }
    for id in CONTRACT {
        if !marks.tests.contains(&key(id)) {
            let what = format!(
                "contract id {id} has no test; name one after it or bear `{id}` in its comment or its table"
            );
            findings.push(Finding::failure(OWN, 1, what));
        }
    }
}

/// The line of the section's list that begins with `id`.
fn listed(page: &str, id: &str) -> Option<u32> {
    let lines = page
        .lines()
        .zip(1..)
        .skip_while(|(line, _)| !line.starts_with(SECTION))
        .skip(1);
    let mut lines = lines.take_while(|(line, _)| !line.starts_with("## "));
    lines
        .find(|(line, _)| ids(line).first().is_some_and(|first| *first == key(id)))
        .map(|(_, number)| number)
}

/// `H1-02`, `h1_02` and `H1_02` are one id: lower-case words.
fn key(id: &str) -> Vec<String> {
    id.to_lowercase()
        .split(['-', '_'])
        .map(str::to_owned)
        .collect()
}

/// The ids that sources bear, in code and in tests.
struct Marks {
    code: BTreeSet<Vec<String>>,
    tests: BTreeSet<Vec<String>>,
}

impl Marks {
    fn gather(tree: &Tree) -> Self {
        let mut marks = Self {
            code: BTreeSet::new(),
            tests: BTreeSet::new(),
        };
        for source in tree.sources().iter().filter(|s| s.path != OWN) {
            marks.read(source);
        }
        marks
    }

    fn read(&mut self, source: &Source) {
        let texts = source.comments.iter().map(|c| (c.line, c.text.as_str()));
        let literals = source.tokens.iter().filter_map(|t| match &t.kind {
            crate::lex::Kind::Literal(text) => Some((t.line, text.as_str())),
            _ => None,
        });
        for (line, text) in texts.chain(literals) {
            let into = if source.is_test_line(line) {
                &mut self.tests
            } else {
                &mut self.code
            };
            into.extend(ids(text));
        }
        for name in test_names(&source.tokens) {
            self.tests.extend(ids(name));
        }
    }
}

/// Names of functions; only those in test code or below a `test` attribute count as tests.
fn test_names(tokens: &[Token]) -> impl Iterator<Item = &str> {
    let declared = tokens
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0].is_ident("fn"));
    declared
        .filter(|(at, _)| below_test_attribute(tokens, *at))
        .filter_map(|(_, pair)| pair[1].ident())
}

fn below_test_attribute(tokens: &[Token], at: usize) -> bool {
    let before = tokens[..at]
        .iter()
        .rev()
        .take_while(|t| !t.is('}') && !t.is(';') && !t.is('{'));
    let words: Vec<&Token> = before.collect();
    words
        .iter()
        .any(|t| t.is_ident("test") || t.is_ident("tokio_test") || t.is_ident("proptest"))
}

/// Every run of words in `text` that may be an id: `INV-3`, `inv_3`, `H1-02`, `h1_02`, `L-H1`, `P1`.
fn ids(text: &str) -> Vec<Vec<String>> {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        .filter(|w| !w.is_empty())
        .collect();
    let mut found = Vec::new();
    for word in words {
        let parts = key(word);
        for at in 0..parts.len() {
            let one = parts[at..=at].to_vec();
            let two = parts.get(at..at + 2).map(<[String]>::to_vec);
            found.extend(two.filter(|two| is_id(two)));
            found.extend(Some(one).filter(|one| is_id(one)));
        }
    }
    found
}

/// Whether the words are an invariant's or a contract id.
fn is_id(words: &[String]) -> bool {
    match words {
        [inv, number] if inv == "inv" => number
            .parse()
            .is_ok_and(|n: u32| (1..=INVARIANTS).contains(&n)),
        words => CONTRACT.iter().any(|id| key(id) == words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::run;

    #[test]
    fn ids_in_names_and_prose() {
        let found = |text: &str| ids(text).iter().map(|id| id.join("-")).collect::<Vec<_>>();
        assert_eq!(
            found("// INV-3: holds; inv_12_too, INV-13 not"),
            ["inv-3", "inv-12"]
        );
        assert_eq!(
            found("a_h1_02_sweep http1 p1_idle XP1 l_h1"),
            ["h1-02", "p1", "l-h1"]
        );
        assert!(found("up1 h1 http-02").is_empty());
    }

    fn about(id: &str, files: &[(&str, &str)]) -> Vec<String> {
        let mark = format!("{id} has");
        run(super::check, files)
            .into_iter()
            .filter(|f| f.contains(&mark))
            .collect()
    }

    #[test]
    fn the_triangle_must_close() {
        let page = (
            "ARCHITECTURE.md",
            "## Invariants\n| INV-1 | a |\n| INV-2 | b |\n",
        );
        let code = (
            "crates/a/src/lib.rs",
            "//! INV-1 and INV-2.\n#[cfg(test)]\nmod tests {\n #[test]\n fn inv_1_holds() {}\n}",
        );
        assert!(about("INV-1", &[page, code]).is_empty());
        let missing = about("INV-2", &[page, code]);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].starts_with("ARCHITECTURE.md:3: INV-2 has no test"));
    }

    #[test]
    fn a_test_is_no_assertion() {
        let page = ("ARCHITECTURE.md", "## Invariants\n- INV-1: a\n");
        let test = ("crates/a/tests/b.rs", "//! b\n// INV-1\n#[test] fn f() {}");
        assert!(about("INV-1", &[page, test])[0].contains("no assertion"));
    }

    #[test]
    fn contract_ids_need_a_test() {
        let code = ("crates/a/src/lib.rs", "//! H1-02 is judged here.");
        let test = ("crates/a/tests/c.rs", "//! c\n#[test]\nfn h1_02_sweep() {}");
        assert_eq!(
            run(super::check, &[code])
                .iter()
                .filter(|f| f.contains("H1-02"))
                .count(),
            1
        );
        assert_eq!(
            run(super::check, &[code, test])
                .iter()
                .filter(|f| f.contains("H1-02"))
                .count(),
            0
        );
    }
}
