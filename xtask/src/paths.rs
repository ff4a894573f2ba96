//! Paths in a token stream: `crate::a::{b, c::d}` becomes `crate::a::b` and `crate::a::c::d`.
//!
//! Owns the expansion of `use` trees and of paths in expressions; what a path may name is for the rules.

use crate::lex::Token;

/// A path as written, with the line of its first segment and the index of its first token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedPath {
    pub(crate) line: u32,
    pub(crate) at: usize,
    pub(crate) segments: Vec<String>,
}

/// Every path of two segments or more; groups are expanded, `as` and generics end a path.
pub(crate) fn used_paths(tokens: &[Token]) -> Vec<UsedPath> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts =
            tokens[at].ident().is_some() && separator(tokens, at + 1) && !continues(tokens, at);
        at = if starts {
            tree(tokens, at, &[], &mut found)
        } else {
            at + 1
        };
    }
    found
}

/// Whether `::` stands at `at`.
fn separator(tokens: &[Token], at: usize) -> bool {
    at + 1 < tokens.len() && tokens[at].is(':') && tokens[at + 1].is(':')
}

/// Whether the identifier at `at` goes on with an earlier path, such as `b` in `<A>::b::c`.
fn continues(tokens: &[Token], at: usize) -> bool {
    at >= 3
        && separator(tokens, at - 2)
        && (tokens[at - 3].ident().is_some() || tokens[at - 3].is('>'))
}

/// Reads one path or use tree from `at`; returns the index after it.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<UsedPath>) -> usize {
    let first = at;
    let line = tokens[at].line;
    let mut segments = prefix.to_vec();
    while let Some(name) = tokens.get(at).and_then(Token::ident) {
        segments.push(name.to_owned());
        at += 1;
        if !separator(tokens, at) {
            break;
        }
        at += 2;
        if tokens.get(at).is_some_and(|t| t.is('{')) {
            return group(tokens, at + 1, &segments, found);
        }
        if tokens.get(at).is_some_and(|t| t.is('*')) {
            segments.push("*".to_owned());
            at += 1;
            break;
        }
    }
    if segments.len() > 1 {
        found.push(UsedPath {
            line,
            at: first,
            segments,
        });
    }
    at.max(first + 1)
}

/// Reads the members of a group up to its closing brace; returns the index after it.
fn group(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<UsedPath>) -> usize {
    while let Some(token) = tokens.get(at) {
        if token.is('}') {
            return at + 1;
        }
        if token.is('*') {
            let mut segments = prefix.to_vec();
            segments.push("*".to_owned());
            found.push(UsedPath {
                line: token.line,
                at,
                segments,
            });
            at += 1;
        } else if token.is_ident("as") {
            at += 2;
        } else if token.ident().is_some() {
            at = tree(tokens, at, prefix, found);
        } else {
            at += 1;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::lex;

    fn paths(text: &str) -> Vec<String> {
        used_paths(&lex(text).0)
            .iter()
            .map(|p| p.segments.join("::"))
            .collect()
    }

    #[test]
    fn groups_are_expanded() {
        let text = "use crate::{vocab::{Phase, Cause as C}, machine::*}; use std::time::Duration;";
        let wanted = [
            "crate::vocab::Phase",
            "crate::vocab::Cause",
            "crate::machine::*",
            "std::time::Duration",
        ];
        assert_eq!(paths(text), wanted);
    }

    #[test]
    fn expressions_count_as_well() {
        let text = "fn f(x: crate::sys::Fd) { let y = std::env::var(\"A\"); z.a::<u8>(); super::super::b() }";
        assert_eq!(
            paths(text),
            ["crate::sys::Fd", "std::env::var", "super::super::b"]
        );
    }
}
