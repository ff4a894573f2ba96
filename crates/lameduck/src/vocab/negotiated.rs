//! What participants say while they leave, as it is kept: how far they are, what they wished for and got, figures. And
//! the bounds of it.

use core::{fmt, time::Duration};

/// How far a participant has come with what it does last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// Of how much.
    pub total: u64,
    /// What it is at, in its own words, at most [`Progress::NOTE`] bytes; may be empty.
    pub note: String,
}

impl Progress {
    /// How many bytes a note has, and every reason that comes with a wish or a refusal; what is longer is cut.
    pub const NOTE: usize = 256;

    /// This far.
    #[must_use]
    pub fn new(done: u64, total: u64, note: impl Into<String>) -> Self {
        Self {
            done,
            total,
            note: cut(note.into(), Self::NOTE),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.done, self.total)?;
        if !self.note.is_empty() {
            write!(f, ", {}", self.note)?;
        }
        Ok(())
    }
}

/// What a participant got beyond its budget: the answer to a wish, or an operator's own idea.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Grant {
    /// When.
    pub at: Duration,
    /// The number of the wish; `None` if nobody wished for it.
    pub wish: Option<u32>,
    /// How much was asked for.
    pub asked: Duration,
    /// How much more it got: what the end of the drain left of what was asked for, also nothing.
    pub by: Duration,
    /// Why, in the words of whoever asked; at most [`Progress::NOTE`] bytes.
    pub why: String,
}

impl Grant {
    /// How many wishes of one participant, and how many grants of operators, are granted and kept for one shutdown; each
    /// further one gets nothing.
    pub const MOST: usize = 16;
}

/// How much time a participant has. Durations only: they may travel to another process, whose clock is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Terms {
    /// Until the drain ends.
    pub left: Duration,
    /// Its budget with all that it was granted; `None`: until the drain ends.
    pub budget: Option<Duration>,
    /// How long ago it was told to finish; its budget runs since. `None`: not yet.
    pub used: Option<Duration>,
}

impl Terms {
    /// These terms.
    #[must_use]
    pub const fn new(left: Duration, budget: Option<Duration>, used: Option<Duration>) -> Self {
        Self { left, budget, used }
    }
}

/// How many figures of one participant are kept; more are counted in the report, under `figures` of `dropped`.
pub(crate) const MOST_FIGURES: usize = 32;
/// How many bytes the name of a figure has; what is longer is cut.
pub(crate) const MOST_FIGURE_NAME: usize = 64;

/// At most so many bytes of a text, ending between two characters.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("abc".to_owned(), 3), "abc");
        assert_eq!(cut("abcd".to_owned(), 3), "abc");
        assert_eq!(cut("aä€".to_owned(), 5), "aä");
        assert_eq!(cut("€".to_owned(), 2), "");
        let note = Progress::new(1, 2, "ü".repeat(200)).note;
        assert_eq!(note.len(), Progress::NOTE);
    }

    #[test]
    fn progress_is_said_with_its_note() {
        assert_eq!(Progress::new(3, 10, "").to_string(), "3 of 10");
        assert_eq!(
            Progress::new(3, 10, "flushing").to_string(),
            "3 of 10, flushing"
        );
    }
}
