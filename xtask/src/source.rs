//! A Rust file as the rules see it: tokens, comments, its place in the module tree, and which lines are test code.

use std::ops::RangeInclusive;

use crate::lex::{Comment, Token, lex};
use crate::paths::{UsedPath, used_paths};

/// One `.rs` file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    /// Modules that `#[cfg(test)] mod name;` declares here: their files are test code.
    pub(crate) test_modules: Vec<String>,
    inline: Vec<InlineModule>,
    test_file: bool,
}

/// `mod name { … }` inside a file.
#[derive(Debug)]
struct InlineModule {
    name: String,
    tokens: RangeInclusive<usize>,
    test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (tokens, comments) = lex(text);
        let (inline, test_modules) = modules(&tokens);
        let test_file = is_test_path(path)
            || text.contains("#![cfg(test)]")
            || text.contains("#![cfg(all(test");
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens,
            comments,
            test_modules,
            inline,
            test_file,
        }
    }

    /// Marks the whole file as test code: its parent declares it under `#[cfg(test)]`.
    pub(crate) fn mark_test(&mut self) {
        self.test_file = true;
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test_file(&self) -> bool {
        self.test_file
    }

    /// Whether `line` is test code.
    pub(crate) fn is_test_line(&self, line: u32) -> bool {
        let within = |m: &InlineModule| {
            (self.tokens[*m.tokens.start()].line..=self.tokens[*m.tokens.end()].line)
                .contains(&line)
        };
        self.test_file || self.inline.iter().any(|m| m.test && within(m))
    }

    /// The crate's directory name and the path below its `src`, when the file is part of a crate's library or binary.
    pub(crate) fn in_crate(&self) -> Option<(&str, &str)> {
        let (name, rest) = self.path.strip_prefix("crates/")?.split_once('/')?;
        Some((name, rest.strip_prefix("src/")?))
    }

    /// The module path inside the crate: `["edge", "signal"]` for `edge/signal/mod.rs` and `edge/signal.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let Some((_, below)) = self.in_crate() else {
            return Vec::new();
        };
        let stem = below.trim_end_matches(".rs");
        let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
        if module
            .last()
            .is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main"))
        {
            module.pop();
        }
        module
    }

    /// Paths used outside test code, with `super` and `self` resolved into `crate::…`.
    pub(crate) fn resolved_paths(&self) -> Vec<UsedPath> {
        let mut paths = used_paths(&self.tokens);
        paths.retain(|p| !self.is_test_line(p.line));
        for path in &mut paths {
            path.segments = self.resolve(path);
        }
        paths
    }

    fn resolve(&self, path: &UsedPath) -> Vec<String> {
        if !matches!(path.segments[0].as_str(), "super" | "self") {
            return path.segments.clone();
        }
        let mut module = self.module();
        let around = self.inline.iter().filter(|m| m.tokens.contains(&path.at));
        module.extend(around.map(|m| m.name.clone()));
        let mut rest = path.segments.iter().peekable();
        while let Some(word) = rest.next_if(|s| matches!(s.as_str(), "super" | "self")) {
            if word == "super" {
                module.pop();
            }
        }
        std::iter::once("crate".to_owned())
            .chain(module)
            .chain(rest.cloned())
            .collect()
    }
}

/// Whether the path alone says that a file is test code.
fn is_test_path(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let beside = ["crates/", "examples/", "benches/", "xtask/"]
        .iter()
        .any(|d| path.starts_with(d));
    (beside && path.split('/').any(|part| part == "tests"))
        || name == "tests.rs"
        || name.ends_with("_tests.rs")
}

/// Inline modules, outer before inner, and the names of out-of-line test modules.
fn modules(tokens: &[Token]) -> (Vec<InlineModule>, Vec<String>) {
    let (mut inline, mut test_files) = (Vec::new(), Vec::new());
    for at in 0..tokens.len() {
        if !tokens[at].is_ident("mod") {
            continue;
        }
        let (Some(name), Some(next)) = (
            tokens.get(at + 1).and_then(Token::ident),
            tokens.get(at + 2),
        ) else {
            continue;
        };
        let test = is_cfg_test(tokens, at);
        if next.is('{') {
            let end = closing(tokens, at + 2);
            inline.push(InlineModule {
                name: name.to_owned(),
                tokens: at..=end,
                test,
            });
        } else if test {
            test_files.push(name.to_owned());
        }
    }
    (inline, test_files)
}

/// Whether the attributes before the item keyword at `at` hold `cfg(test)` or `cfg(all(test, …))`.
fn is_cfg_test(tokens: &[Token], at: usize) -> bool {
    let start = (0..at)
        .rev()
        .find(|&i| tokens[i].is(';') || tokens[i].is('{') || tokens[i].is('}'));
    let attributes = &tokens[start.map_or(0, |i| i + 1)..at];
    let cfg = attributes.iter().any(|t| t.is_ident("cfg"));
    let negated = attributes.iter().any(|t| t.is_ident("not"));
    cfg && !negated && attributes.iter().any(|t| t.is_ident("test"))
}

/// The index of the bracket that closes the one at `open`, or the last token.
pub(crate) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_u32;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if ['{', '(', '['].iter().any(|&c| token.is(c)) {
            depth += 1;
        } else if ['}', ')', ']'].iter().any(|&c| token.is(c)) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at;
            }
        }
    }
    tokens.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(path: &str, text: &str) -> Vec<String> {
        Source::new(path, text)
            .resolved_paths()
            .iter()
            .map(|p| p.segments.join("::"))
            .collect()
    }

    #[test]
    fn super_is_resolved_from_the_module() {
        let text =
            "use super::super::vocab::Phase; mod inner { use super::x; use super::super::signal; }";
        assert_eq!(
            resolved("crates/lameduck/src/edge/reload.rs", text),
            [
                "crate::vocab::Phase",
                "crate::edge::reload::x",
                "crate::edge::signal"
            ],
        );
    }

    #[test]
    fn test_code_is_left_out() {
        let text = "use crate::a::b;\n#[cfg(test)]\nmod tests {\n use crate::c::d;\n}\n#[cfg(test)]\nmod model;";
        let source = Source::new("crates/x/src/lib.rs", text);
        assert_eq!(resolved("crates/x/src/lib.rs", text), ["crate::a::b"]);
        assert_eq!(source.test_modules, ["model"]);
        assert!(source.is_test_line(4));
        assert!(!source.is_test_line(1));
    }

    #[test]
    fn not_test_is_not_test() {
        let source = Source::new(
            "crates/x/src/lib.rs",
            "#[cfg(not(test))]\nmod real {\n fn f() {}\n}",
        );
        assert!(!source.is_test_line(3));
    }

    #[test]
    fn mod_files_stand_for_their_directory() {
        assert_eq!(
            Source::new("crates/lameduck/src/edge/signal/mod.rs", "").module(),
            ["edge", "signal"]
        );
        assert!(
            Source::new("crates/lameduck/src/lib.rs", "")
                .module()
                .is_empty()
        );
    }
}
