//! A feature adds API, never changes behaviour (INV-9): `cfg(feature)` stands on items only, and never negated.
//!
//! With features on items alone, the code that a program runs is the same with a feature as without it, up to what
//! it calls itself.

use crate::finding::Finding;
use crate::lex::{Kind, Token};
use crate::source::{Source, closing};
use crate::tree::Tree;

/// What an item begins with.
const ITEMS: [&str; 14] = [
    "pub",
    "use",
    "mod",
    "fn",
    "struct",
    "enum",
    "trait",
    "impl",
    "const",
    "static",
    "type",
    "unsafe",
    "async",
    "macro_rules",
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources().iter().filter(|s| s.in_crate().is_some()) {
        check_file(source, findings);
    }
}

fn check_file(source: &Source, findings: &mut Vec<Finding>) {
    let tokens = &source.tokens;
    for at in 0..tokens.len() {
        let named = tokens[at].is_ident("feature") && next_is(tokens, at + 1, '=');
        if !named || source.is_test_line(tokens[at].line) {
            continue;
        }
        let what = match place(tokens, at) {
            Place::Item => continue,
            Place::Negated => "is there only without a feature",
            Place::Expression => "asks for a feature while it runs",
            Place::Statement => "puts part of a function, type or match under a feature",
        };
        let what = format!("{what} (INV-9); a feature only adds items, gate the whole item");
        findings.push(Finding::failure(&source.path, tokens[at].line, what));
    }
}

/// Where a `feature = "…"` stands.
enum Place {
    Item,
    Negated,
    Expression,
    Statement,
}

fn place(tokens: &[Token], at: usize) -> Place {
    let gate = (0..at).rev().find(|&i| tokens[i].is_ident("cfg"));
    if gate.is_some_and(|gate| next_is(tokens, gate + 1, '!')) {
        return Place::Expression;
    }
    let Some(open) = (1..at)
        .rev()
        .find(|&i| tokens[i].is('[') && (tokens[i - 1].is('#') || tokens[i - 1].is('!')))
    else {
        return Place::Item;
    };
    // `cfg_attr` leaves the item where it is; `#![cfg(…)]` takes a whole file.
    if next_is_ident(tokens, open + 1, "cfg_attr") {
        return Place::Item;
    }
    if tokens[open..at].iter().any(|t| t.is_ident("not")) {
        return Place::Negated;
    }
    if tokens[open - 1].is('!') {
        return Place::Item;
    }
    let mut after = closing(tokens, open) + 1;
    while next_is(tokens, after, '#') && next_is(tokens, after + 1, '[') {
        after = closing(tokens, after + 1) + 1;
    }
    match tokens.get(after).map(|t| &t.kind) {
        Some(Kind::Ident(word)) if ITEMS.contains(&word.as_str()) => Place::Item,
        _ => Place::Statement,
    }
}

fn next_is_ident(tokens: &[Token], at: usize, name: &str) -> bool {
    tokens.get(at).is_some_and(|t| t.is_ident(name))
}

fn next_is(tokens: &[Token], at: usize, punct: char) -> bool {
    tokens.get(at).is_some_and(|t| t.is(punct))
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    fn findings(text: &str) -> Vec<String> {
        run(super::check, &[("crates/a/src/lib.rs", text)])
    }

    #[test]
    fn inv_9_items_may_be_added() {
        let text = "#![cfg(feature = \"a\")]\n#[cfg(feature = \"a\")]\n#[derive(Debug)]\npub struct A;\n\
                    #[cfg(all(feature = \"a\", unix))]\nmod b;\n#[cfg_attr(docsrs, doc(cfg(feature = \"a\")))]\nfn f() {}";
        assert_eq!(findings(text), Vec::<String>::new());
    }

    #[test]
    fn inv_9_behaviour_may_not_change() {
        assert_eq!(
            findings("fn f() { if cfg!(feature = \"a\") { g() } }").len(),
            1
        );
        assert_eq!(findings("#[cfg(not(feature = \"a\"))]\nfn f() {}").len(), 1);
        assert_eq!(findings("fn f() { #[cfg(feature = \"a\")] g(); }").len(), 1);
        assert_eq!(findings("enum E { A, #[cfg(feature = \"a\")] B }").len(), 1);
    }
}
