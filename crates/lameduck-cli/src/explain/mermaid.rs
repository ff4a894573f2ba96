//! A sequence in Mermaid's words, for pages that draw them: GitHub, GitLab, wikis.

use std::fmt::Write as _;

use super::sequence::{Sequence, What};

pub(super) fn draw(sequence: &Sequence) -> String {
    let mut out = String::from("sequenceDiagram\n");
    for (number, lane) in sequence.lanes.iter().enumerate() {
        // What follows a name and a colon could be an option.
        let name = escaped(lane).replace(':', "#58;");
        let _ = writeln!(out, "    participant L{number} as {name}");
    }
    for step in &sequence.steps {
        let text = escaped(&step.text);
        let at = format!("{:+.3} s", step.at_ms / 1e3);
        let _ = match step.what {
            What::Note(lane) => writeln!(out, "    Note over L{lane}: {at} {text}"),
            What::Says(from, to) => writeln!(out, "    L{from}->>L{to}: {at} {text}"),
            What::Answers(from, to) => writeln!(out, "    L{from}-->>L{to}: {at} {text}"),
            What::Cuts(from, to) => writeln!(out, "    L{from}-xL{to}: {at} {text}"),
        };
    }
    out
}

/// A text that is one: `#` begins Mermaid's character codes, `;` ends its lines, `<` begins HTML, and the word `end` ends
/// a block (mermaid.js.org, "Sequence diagrams"). Everything that may mean something there is written as its code.
fn escaped(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || " /._,:+-=()[]@".contains(c);
    let mut out = String::new();
    for c in text.chars() {
        if plain(c) {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    // Codes have no letters, so that this finds words of the text only.
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut from = 0;
    while let Some(found) = out[from..].to_ascii_lowercase().find("end") {
        let at = from + found;
        from = at + 3;
        if !is_letter(out[..at].chars().next_back()) && !is_letter(out[from..].chars().next()) {
            out.replace_range(at + 1..at + 2, "#110;");
            from = at + 7;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use lameduck::wire::Shutdown;
    use lameduck_verify::harmless;

    use super::*;
    use crate::explain::{hostile, story::REPORT};

    #[test]
    fn a_report_becomes_a_diagram() {
        let report = Shutdown::find(REPORT).expect("a report");
        assert_eq!(
            draw(&Sequence::of(&report)),
            "sequenceDiagram
    participant L0 as lameduck
    participant L1 as outbox
    participant L2 as clients
    Note over L0: +0.000 s Terminating, 100 ms
    L0->>L1: +0.000 s stop
    Note over L0: +0.100 s Draining, 2.20 s
    L0-xL1: +2.300 s overdue
    Note over L0: +2.300 s forced, exit 124
"
        );
    }

    #[test]
    fn no_text_is_more_than_text() {
        assert_eq!(escaped("a;b#c<d>:\"e\""), "a#59;b#35;c#60;d#62;:#34;e#34;");
        assert_eq!(escaped("the end"), "the e#110;d");
        assert_eq!(escaped("END of the endless"), "E#110;D of the endless");
        assert_eq!(escaped("a\nb"), "a#10;b");
        for (name, text) in hostile::HOSTILE {
            let mut report = Shutdown::find(REPORT).expect("a report");
            report.participants[0].name = (*text).to_owned();
            let drawn = draw(&Sequence::of(&harmless(&report)));
            assert_eq!(drawn.lines().count(), 9, "{name}: {drawn}");
            assert_eq!(drawn.chars().find(|c| hostile::steers(*c)), None, "{name}");
        }
    }
}
