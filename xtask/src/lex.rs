//! A lexer that knows just enough Rust to tell code from comments and literals.
//!
//! Rules look at tokens instead of text, so that a word in a comment or a string is never taken for code. It does
//! not parse: `paths` and the rules read the token stream.

/// A piece of code, with the line that it starts on (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: u32,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Ident(String),
    Punct(char),
    /// A string, character or number, without its text unless it is a string.
    Literal(String),
    Lifetime,
}

/// A comment, one entry for each line that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) line: u32,
    pub(crate) text: String,
}

impl Token {
    pub(crate) fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn is_ident(&self, name: &str) -> bool {
        self.ident() == Some(name)
    }

    pub(crate) fn is(&self, punct: char) -> bool {
        self.kind == Kind::Punct(punct)
    }
}

/// Splits `text` into code and comments.
pub(crate) fn lex(text: &str) -> (Vec<Token>, Vec<Comment>) {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        line: 1,
        tokens: Vec::new(),
        comments: Vec::new(),
    };
    lexer.run();
    (lexer.tokens, lexer.comments)
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: u32,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
}

impl Lexer {
    fn run(&mut self) {
        while let Some(c) = self.peek(0) {
            match c {
                '/' if self.peek(1) == Some('/') => self.line_comment(),
                '/' if self.peek(1) == Some('*') => self.block_comment(),
                '"' => self.string(),
                '\'' => self.quote(),
                c if c.is_whitespace() => self.skip(),
                c if c == '_' || c.is_alphabetic() => self.word(),
                c if c.is_ascii_digit() => self.number(),
                c => {
                    self.push(self.line, Kind::Punct(c));
                    self.skip();
                }
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Steps over one character and keeps count of lines.
    fn skip(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn push(&mut self, line: u32, kind: Kind) {
        self.tokens.push(Token { line, kind });
    }

    fn line_comment(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.at += 1;
        }
        self.comments.push(Comment {
            line: self.line,
            text: self.text(start),
        });
    }

    fn block_comment(&mut self) {
        let (start, first) = (self.at, self.line);
        let mut depth = 0_u32;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.skip();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                break;
            }
        }
        for (text, line) in self.text(start).lines().zip(first..) {
            self.comments.push(Comment {
                line,
                text: text.to_owned(),
            });
        }
    }

    fn text(&self, start: usize) -> String {
        self.chars[start..self.at].iter().collect()
    }

    /// An ordinary string; the cursor stands on its opening quote.
    fn string(&mut self) {
        let line = self.line;
        self.skip();
        let start = self.at;
        while let Some(c) = self.peek(0) {
            match c {
                '\\' => {
                    self.skip();
                    self.skip();
                }
                '"' => break,
                _ => self.skip(),
            }
        }
        let text = self.text(start.min(self.chars.len()).min(self.at));
        self.push(line, Kind::Literal(text));
        self.skip();
    }

    /// A raw string; the cursor stands on the first `#` or the quote.
    fn raw_string(&mut self) {
        let line = self.line;
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            hashes += 1;
            self.at += 1;
        }
        self.skip();
        let start = self.at;
        while let Some(c) = self.peek(0) {
            if c == '"' && (1..=hashes).all(|n| self.peek(n) == Some('#')) {
                break;
            }
            self.skip();
        }
        let text = self.text(start);
        self.push(line, Kind::Literal(text));
        self.at += 1 + hashes;
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        let line = self.line;
        if self.peek(1) == Some('\\') {
            self.at += 3;
            while self.peek(0).is_some_and(|c| c != '\'') {
                self.skip();
            }
            self.at += 1;
            self.push(line, Kind::Literal(String::new()));
        } else if self.peek(2) == Some('\'') {
            self.skip();
            self.skip();
            self.skip();
            self.push(line, Kind::Literal(String::new()));
        } else {
            self.at += 1;
            while self
                .peek(0)
                .is_some_and(|c| c == '_' || c.is_alphanumeric())
            {
                self.at += 1;
            }
            self.push(line, Kind::Lifetime);
        }
    }

    /// An identifier, or the prefix of a string such as `r#"`, `b"`, `c"`, or of a byte such as `b'x'`.
    fn word(&mut self) {
        let start = self.at;
        while self
            .peek(0)
            .is_some_and(|c| c == '_' || c.is_alphanumeric())
        {
            self.at += 1;
        }
        let word = self.text(start);
        let raw = self.raw_string_ahead();
        match (word.as_str(), self.peek(0)) {
            ("r" | "br" | "cr", Some('"' | '#')) if raw => self.raw_string(),
            ("b" | "c", Some('"')) => self.string(),
            ("b", Some('\'')) => self.quote(),
            // A raw identifier: `r#type` is the identifier `type`.
            ("r", Some('#')) => self.at += 1,
            _ => self.push(self.line, Kind::Ident(word)),
        }
    }

    fn raw_string_ahead(&self) -> bool {
        let mut ahead = 0;
        while self.peek(ahead) == Some('#') {
            ahead += 1;
        }
        self.peek(ahead) == Some('"')
    }

    fn number(&mut self) {
        // A dot belongs to the number only before a digit: `1..2` and `1.max(2)` go on after it.
        while let Some(c) = self.peek(0) {
            let part = c == '_'
                || c.is_alphanumeric()
                || (c == '.' && self.peek(1).is_some_and(|d| d.is_ascii_digit()));
            if !part {
                break;
            }
            self.at += 1;
        }
        self.push(self.line, Kind::Literal(String::new()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idents(text: &str) -> Vec<String> {
        lex(text)
            .0
            .iter()
            .filter_map(|t| t.ident().map(str::to_owned))
            .collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = r##"let a = "Instant \" // no"; /* b /* c */ d */ let e = r#"f "g" "#; // h"##;
        assert_eq!(idents(text), ["let", "a", "let", "e"]);
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        assert_eq!(
            idents(r"fn f<'a>(x: &'a str) { g('x', '\'', b'\\', '\u{1F986}', 'é') }"),
            ["fn", "f", "x", "str", "g"]
        );
    }

    #[test]
    fn ranges_and_raw_identifiers() {
        assert_eq!(
            idents("for r#type in 0..n { 1.5_f32.max(x) }"),
            ["for", "type", "in", "n", "max", "x"]
        );
    }

    #[test]
    fn lines_count_through_strings_and_comments() {
        let (tokens, comments) = lex("/* 1\n2 */ \"3\n\" a // b");
        assert_eq!(tokens.last().map(|t| t.line), Some(3));
        assert_eq!(
            comments.iter().map(|c| c.line).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_file() {
        for text in ["\"abc", "r#\"abc", "'\\", "/* abc", "b'"] {
            let _ = lex(text);
        }
    }
}
