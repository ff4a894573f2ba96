//! Owns what is wrong with a profile, where, and what may have been meant.
//! Not: reading it.

use std::fmt;
use std::path::Path;

/// Why a profile can not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    file: Option<String>,
    line: Option<usize>,
    message: String,
}

impl ProfileError {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self {
            file: Some(path.display().to_string()),
            line: None,
            message: format!("it can not be read: {error}"),
        }
    }

    /// From what the parser says of `text`.
    pub(super) fn of(text: &str, error: &toml::de::Error) -> Self {
        let message = plain(error.message());
        match error.span() {
            Some(span) => Self::at(text, span.start, message),
            None => Self {
                file: None,
                line: None,
                message,
            },
        }
    }

    /// At the byte `at` of `text`.
    pub(super) fn at(text: &str, at: usize, message: String) -> Self {
        let before = text.as_bytes().iter().take(at);
        Self {
            file: None,
            line: Some(1 + before.filter(|byte| **byte == b'\n').count()),
            message,
        }
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.file = Some(path.display().to_string());
        self
    }

    /// The line that it is about, counted from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: {}", self.message),
            (Some(file), None) => write!(f, "{file}: {}", self.message),
            (None, Some(line)) => write!(f, "line {line} of the profile: {}", self.message),
            (None, None) => write!(f, "the profile: {}", self.message),
        }
    }
}

impl std::error::Error for ProfileError {}

/// The parser's message; for unknown keys with the nearest known one.
fn plain(message: &str) -> String {
    let message = message.replace('\n', ", ");
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message;
    };
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    let meant = nearest(unknown, &known)
        .map_or_else(String::new, |name| format!("did you mean `{name}`? "));
    format!(
        "there is no key `{unknown}` here; {meant}Known: {}",
        known.join(", ")
    )
}

/// The known word that `word` is most likely a slip for.
pub(crate) fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let word = word.to_lowercase();
    known
        .iter()
        .map(|name| (distance(&word, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_near() {
        assert_eq!(distance("slwo", "slow"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(
            nearest("web_socket", &["sse", "websocket"]),
            Some("websocket")
        );
        assert_eq!(nearest("h1-2", &["H1-01", "H1-02", "H2-01"]), Some("H1-02"));
        assert_eq!(nearest("zebra", &["slow", "sse"]), None);
    }
}
