//! Owns words in lines: as wide as a terminal, so that it breaks none of them.

use console::Term;

/// The columns of a terminal; nothing where there is none, and lines may be as long as they are.
pub(crate) fn columns(terminal: &Term) -> Option<usize> {
    let (_, columns) = terminal.size_checked()?;
    terminal.is_term().then_some(usize::from(columns))
}

/// Words in lines of so many columns.
pub(crate) fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let columns = line.chars().count();
        if columns > 0 && columns + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if columns > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// `lead` and `text`, whose further lines stand under its first.
pub(crate) fn hanging(lead: &str, text: &str, width: usize) -> String {
    let indent = lead.chars().count();
    let lines = folded(text, width.saturating_sub(indent).max(20));
    format!("{lead}{}\n", lines.join(&format!("\n{:indent$}", "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_lines_stand_under_the_first() {
        let text = "a path that answers after {ms} milliseconds";
        assert_eq!(
            hanging("found  ", text, 34),
            "found  a path that answers after\n       {ms} milliseconds\n"
        );
        assert_eq!(
            hanging("found  ", text, usize::MAX),
            format!("found  {text}\n")
        );
    }
}
