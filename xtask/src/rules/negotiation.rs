//! The rules of the exit negotiation: each stands in the table of its page, in order, and every test that the table names is there.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::tree::Tree;

const PAGE: &str = "docs/protocol/negotiation.md";

/// How many rules there are.
const RULES: usize = 10;

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let Some(page) = tree.text(PAGE) else {
        return;
    };
    let functions = functions(tree);
    let rows = page
        .lines()
        .zip(1..)
        .filter(|(line, _)| line.starts_with("| N-"));
    let mut count = 0;
    for (line, number) in rows {
        count += 1;
        if !line.starts_with(&format!("| N-{count} |")) {
            let what = format!("the row of N-{count} is missing, or stands elsewhere");
            findings.push(Finding::failure(PAGE, number, what));
        }
        let named = named(line);
        if named.is_empty() {
            let what = format!("N-{count} names no test");
            findings.push(Finding::failure(PAGE, number, what));
        }
        for name in named {
            if !functions.iter().any(|function| is_meant(name, function)) {
                let what = format!("there is no test {name}");
                findings.push(Finding::failure(PAGE, number, what));
            }
        }
    }
    if count != RULES {
        let what = format!("{count} rules, there are {RULES}");
        findings.push(Finding::failure(PAGE, 1, what));
    }
}

/// A name that ends in an ellipsis stands for all that begin so.
fn is_meant(name: &str, function: &str) -> bool {
    let begins = name.strip_suffix('…');
    begins.map_or(name == function, |begin| function.starts_with(begin))
}

/// What the last cell of a row names.
fn named(row: &str) -> Vec<&str> {
    let cells = row.trim_end_matches(['|', ' ']).rsplit(" | ");
    let last = cells.take(1).next().unwrap_or_default();
    last.split('`').skip(1).step_by(2).collect()
}

/// The names of all functions in tests.
fn functions(tree: &Tree) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for source in tree.sources() {
        for pair in source.tokens.windows(2) {
            if pair[0].is_ident("fn") && source.is_test_line(pair[1].line) {
                names.extend(pair[1].ident());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::run;

    #[test]
    fn rows_are_whole_and_name_tests_that_are_there() {
        let rows: String = (1..RULES)
            .map(|number| format!("| N-{number} | a rule | `n_{number}_…` |\n"))
            .collect();
        let page = format!("{rows}| N-10 | the last one | the tests `n_10_holds`, `n_10_gone` |\n");
        let tests: String = (1..RULES)
            .map(|number| format!("#[test]\nfn n_{number}_a() {{}}\n"))
            .collect();
        let source =
            format!("#[cfg(test)]\nmod tests {{\n{tests}#[test]\nfn n_10_holds() {{}}\n}}\n");
        let file = "crates/lameduck/src/a.rs";
        let found = run(check, &[(PAGE, &page), (file, &source)]);
        assert_eq!(
            found,
            ["docs/protocol/negotiation.md:10: there is no test n_10_gone"]
        );
        let found = run(
            check,
            &[(PAGE, "| N-2 | a rule | nothing |\n"), (file, &source)],
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            run(check, &[(file, &source)]).is_empty(),
            "no page, no rules"
        );
    }
}
