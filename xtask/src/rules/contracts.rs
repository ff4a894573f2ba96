//! Contracts in the code: `# Cancel safety` on what is awaited, `SAFETY` on what is unsafe, no `bool` parameters.

use crate::finding::Finding;
use crate::lex::Token;
use crate::source::{Source, closing};
use crate::tree::Tree;

/// How many lines above an `unsafe` its reason may begin: a statement may be wrapped, a comment may be long.
const REASON_WITHIN: u32 = 12;

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources() {
        check_unsafe(source, findings);
        if source.in_crate().is_some() && !source.is_test_file() {
            check_functions(source, findings);
            check_futures(source, findings);
        }
    }
}

fn check_unsafe(source: &Source, findings: &mut Vec<Finding>) {
    for (at, token) in source
        .tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| t.is_ident("unsafe"))
    {
        let block = source
            .tokens
            .get(at + 1)
            .is_some_and(|t| t.is('{') || t.is_ident("impl"));
        let near = (token.line.saturating_sub(REASON_WITHIN))..=token.line;
        let reason = source
            .comments
            .iter()
            .any(|c| near.contains(&c.line) && c.text.contains("SAFETY:"));
        if block && !reason {
            let what = "`unsafe` without a reason; write `// SAFETY:` and list each obligation";
            findings.push(Finding::failure(&source.path, token.line, what));
        }
    }
}

fn check_functions(source: &Source, findings: &mut Vec<Finding>) {
    let tokens = &source.tokens;
    for at in 0..tokens.len() {
        let public = tokens[at].is_ident("pub") && !tokens.get(at + 1).is_some_and(|t| t.is('('));
        if !public || source.is_test_line(tokens[at].line) {
            continue;
        }
        let words: Vec<&str> = tokens[at + 1..]
            .iter()
            .map_while(Token::ident)
            .take(6)
            .collect();
        let Some(place) = words.iter().position(|w| *w == "fn") else {
            continue;
        };
        let name = words.get(place + 1).copied().unwrap_or("?");
        let line = tokens[at].line;
        if words[..place].contains(&"async") && !documented(source, line) {
            let what = format!(
                "`{name}` is async and does not say what happens when its future is dropped; add `# Cancel safety`"
            );
            findings.push(Finding::failure(&source.path, line, what));
        }
        if has_bool_parameter(tokens, at + place + 2) {
            let what = format!(
                "`{name}` takes a `bool`; nobody can read the call, use an enum or two functions"
            );
            findings.push(Finding::failure(&source.path, line, what));
        }
    }
}

/// Whether the parameter list after the name at `at` has a parameter of type `bool`.
fn has_bool_parameter(tokens: &[Token], at: usize) -> bool {
    let Some(open) =
        (at..tokens.len()).find(|&i| tokens[i].is('(') || tokens[i].is('{') || tokens[i].is(';'))
    else {
        return false;
    };
    let end = closing(tokens, open);
    let follows = |i: usize| {
        tokens[i - 1].is(':') && !tokens[i - 2].is(':') && (tokens[i + 1].is(',') || i + 1 == end)
    };
    tokens[open].is('(') && (open + 3..end).any(|i| tokens[i].is_ident("bool") && follows(i))
}

/// A public type that implements `Future` is awaited by name, and owes the same sentence.
fn check_futures(source: &Source, findings: &mut Vec<Finding>) {
    let tokens = &source.tokens;
    for at in 0..tokens.len() {
        let is_impl =
            tokens[at].is_ident("Future") && tokens.get(at + 1).is_some_and(|t| t.is_ident("for"));
        let Some(name) = tokens
            .get(at + 2)
            .and_then(Token::ident)
            .filter(|_| is_impl)
        else {
            continue;
        };
        let declared = tokens
            .windows(3)
            .find(|w| w[0].is_ident("pub") && w[1].is_ident("struct") && w[2].is_ident(name));
        if let Some(line) = declared
            .map(|w| w[0].line)
            .filter(|&line| !documented(source, line))
        {
            let what = format!(
                "`{name}` is a future and does not say what happens when it is dropped; add `# Cancel safety`"
            );
            findings.push(Finding::failure(&source.path, line, what));
        }
    }
}

/// Whether the documentation directly above `line` has the heading; attributes may stand between.
fn documented(source: &Source, line: u32) -> bool {
    let lines: Vec<&str> = source.text.lines().collect();
    let above = lines[..(line as usize).saturating_sub(1)].iter().rev();
    above
        .map(|text| text.trim_start())
        .take_while(|text| {
            text.starts_with("///")
                || text.starts_with('#')
                || text.ends_with(']')
                || text.ends_with(',')
        })
        .any(|text| text.trim_start_matches('/').trim() == "# Cancel safety")
}

#[cfg(test)]
mod tests {
    use crate::rules::run;

    fn findings(text: &str) -> Vec<String> {
        run(super::check, &[("crates/a/src/lib.rs", text)])
    }

    #[test]
    fn async_functions_say_what_a_drop_does() {
        assert_eq!(findings("/// Waits.\npub async fn wait() {}").len(), 1);
        assert!(findings("/// Waits.\n///\n/// # Cancel safety\n///\n/// Safe.\n#[must_use]\npub async fn wait() {}").is_empty());
        assert!(findings("pub(crate) async fn wait() {}\nasync fn other() {}").is_empty());
    }

    #[test]
    fn named_futures_too() {
        assert_eq!(
            findings("pub struct Done;\nimpl Future for Done {}").len(),
            1
        );
        assert!(findings("struct Done;\nimpl Future for Done {}").is_empty());
    }

    #[test]
    fn unsafe_needs_a_reason() {
        assert_eq!(findings("fn f() { unsafe { g() } }").len(), 1);
        assert!(
            findings("fn f() {\n // SAFETY: g has no obligation.\n unsafe { g() }\n}").is_empty()
        );
    }

    #[test]
    fn bool_parameters_are_seen() {
        assert_eq!(findings("pub fn f(&self, on: bool) {}").len(), 1);
        assert_eq!(findings("pub const fn f(on: bool, b: u8) {}").len(), 1);
        assert!(
            findings(
                "pub fn f(on: Option<bool>, b: u8) -> bool { true }\npub fn g() -> bool { x }"
            )
            .is_empty()
        );
    }
}
