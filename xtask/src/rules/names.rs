//! Names are API: the words that GLOSSARY.md rules out do not appear in identifiers.

use crate::finding::Finding;
use crate::lex::Token;
use crate::tree::Tree;

const GLOSSARY: &str = "GLOSSARY.md";
/// Words that say nothing about what a type is.
const EMPTY_WORDS: [&str; 5] = ["Manager", "Helper", "Helpers", "Util", "Utils"];
/// Keywords that declare a name.
const DECLARING: [&str; 6] = ["struct", "enum", "trait", "type", "fn", "mod"];

/// A word that must not be part of a name, and what to write instead.
struct Ruled {
    out: String,
    instead: String,
}

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let ruled = ruled_out(tree.text(GLOSSARY).unwrap_or_default());
    for source in tree
        .sources()
        .iter()
        .filter(|s| s.path.starts_with("crates/"))
    {
        for pair in source.tokens.windows(2) {
            let declares = pair[0].ident().is_some_and(|k| DECLARING.contains(&k));
            let Some(name) = pair[1].ident().filter(|_| declares) else {
                continue;
            };
            if let Some(rule) = ruled.iter().find(|rule| holds(name, &rule.out)) {
                let what = format!("`{name}` holds \"{}\"; {}", rule.out, rule.instead);
                findings.push(Finding::failure(&source.path, pair[1].line, what));
            }
            if pair[0].is_ident("fn")
                && name.starts_with("get_")
                && is_public(&source.tokens, &pair[0])
            {
                let what = format!(
                    "`{name}`: a getter bears the name of what it returns; drop the `get_`"
                );
                findings.push(Finding::failure(&source.path, pair[1].line, what));
            }
        }
    }
}

fn is_public(tokens: &[Token], keyword: &Token) -> bool {
    let at = tokens
        .iter()
        .position(|t| std::ptr::eq(t, keyword))
        .unwrap_or(0);
    tokens[at.saturating_sub(3)..at]
        .iter()
        .any(|t| t.is_ident("pub"))
}

/// The words in backticks of the glossary's last column, beside those that are always empty.
fn ruled_out(glossary: &str) -> Vec<Ruled> {
    let mut ruled: Vec<Ruled> = EMPTY_WORDS
        .iter()
        .map(|word| Ruled {
            out: (*word).to_owned(),
            instead: "say what it is".to_owned(),
        })
        .collect();
    for row in glossary.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim().trim_matches('|').split('|').collect();
        let [word, .., not] = cells.as_slice() else {
            continue;
        };
        let word = word.trim().trim_matches('*');
        for out in not.split('`').skip(1).step_by(2) {
            ruled.push(Ruled {
                out: out.to_owned(),
                instead: format!("the glossary's word is \"{word}\""),
            });
        }
    }
    ruled
}

/// Whether `name` has the words of `out` one after the other, however each is written.
fn holds(name: &str, out: &str) -> bool {
    let (name, out) = (split(name), split(out));
    !out.is_empty() && name.windows(out.len()).any(|part| part == out.as_slice())
}

/// The lower-case words of a `CamelCase` or `snake_case` name.
fn split(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut previous_upper = true;
    for c in name.chars() {
        if c == '_' || c == '-' || c == ' ' {
            words.push(String::new());
        } else if c.is_uppercase() && !previous_upper || words.is_empty() {
            words.push(c.to_lowercase().collect());
        } else if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
        previous_upper = c.is_uppercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    fn findings(text: &str) -> Vec<String> {
        let glossary = "| word | means | not |\n|---|---|---|\n| **drain** | a | `quiesce`, `shut_off`, pause |\n";
        run(
            super::check,
            &[("GLOSSARY.md", glossary), ("crates/a/src/lib.rs", text)],
        )
    }

    #[test]
    fn the_glossary_rules() {
        let found = findings(
            "struct QuiesceTimer;\nfn begin_shut_off() {}\nfn pause() { let quiesce = 1; }",
        );
        assert_eq!(found.len(), 2);
        assert!(
            found[0]
                .ends_with("`QuiesceTimer` holds \"quiesce\"; the glossary's word is \"drain\"")
        );
    }

    #[test]
    fn empty_words_are_out() {
        assert_eq!(
            findings("struct ConnManager; mod utils {} enum Utility {}").len(),
            2
        );
    }

    #[test]
    fn getters_have_no_prefix() {
        assert_eq!(
            findings("pub fn get_phase() {} fn get_other() {} pub fn getter() {}").len(),
            1
        );
    }

    #[test]
    fn words_of_names() {
        assert_eq!(super::split("SYNGateOf_h1"), ["syngate", "of", "h1"]);
    }
}
