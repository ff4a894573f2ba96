//! Owns making text harmless for where it is shown: terminals, HTML, XML, Markdown.
//! Not: what the text says. Whatever a target wrote or was named goes through here.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// One line without control characters, and without those that turn the direction of writing or are not seen: what a
/// target wrote can not steer the reader's terminal, nor show one thing and be another. Line ends become spaces.
///
/// # Examples
/// ```
/// assert_eq!(lameduck_verify::printable("ready\u{1b}[2J\nor \u{202e}not"), "ready[2J or not");
/// ```
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if matches!(c, '\n' | '\r' | '\t') {
                ' '
            } else {
                c
            }
        })
        .filter(|c| is_printable(*c))
        .collect()
}

/// The same record, with every text in it [`printable`]: for a file that may come from anywhere, before it is shown.
///
/// # Panics
/// Where a record can not be written as JSON, or can not be read with other texts in it: one with bytes, or with times
/// as text.
#[must_use]
pub fn harmless<T: Serialize + DeserializeOwned>(record: &T) -> T {
    fn clean(value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(printable(&text)),
            Value::Array(all) => all.into_iter().map(clean).collect(),
            Value::Object(all) => all
                .into_iter()
                .map(|(name, value)| (printable(&name), clean(value)))
                .collect(),
            other => other,
        }
    }
    serde_json::to_value(record)
        .and_then(|value| serde_json::from_value(clean(value)))
        .expect("a record of numbers, texts and fixed words")
}

/// The same for text of many lines: line ends and tabs stay, and escape sequences go as a whole.
pub(super) fn printable_lines(text: &str) -> String {
    let text = without_sequences(text)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    text.chars()
        .filter(|c| matches!(c, '\n' | '\t') || is_printable(*c))
        .collect()
}

pub(crate) fn is_printable(c: char) -> bool {
    let turns = matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_unseen = matches!(c,
        '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !(c.is_control() || turns || is_unseen || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Without CSI sequences (ECMA-48 §5.4): parameters, then one final byte.
fn without_sequences(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let end = after.find(|c: char| !matches!(c, '\u{20}'..='\u{3f}'));
        rest = match end {
            Some(end) if after[end..].starts_with(|c: char| matches!(c, '@'..='~')) => {
                &after[end + 1..]
            }
            Some(end) => &after[end..],
            None => "",
        };
    }
    out.push_str(rest);
    out
}

/// For HTML and XML, in text and in quoted attributes. Control characters are gone: XML 1.0 has no way to write them.
pub(super) fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            // XML 1.0 §2.2 has no place for these two either.
            '\u{fffe}' | '\u{ffff}' => {}
            c if is_printable(c) => out.push(c),
            _ => {}
        }
    }
    out
}

/// JSON that may be shown on a terminal: the writer of JSON escapes C0 only. Such characters stand in strings only, in
/// which an escape means the same.
pub(super) fn json_on_terminal(json: String) -> String {
    let is_harmless = |c: char| c.is_ascii_control() && c != '\u{7f}' || is_printable(c);
    if json.chars().all(is_harmless) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if is_harmless(c) {
            out.push(c);
        } else {
            // Beyond the first plane a character takes two escapes.
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// JSON that may stand within a `script` element: nothing in it can end the element or begin a comment.
pub(super) fn json_in_script(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 16);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

/// For a line or a cell of GitHub's Markdown: no markup, no table border, no mention, no reference to an issue.
pub(super) fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Mentions and references are looked for after rendering: only a character between stops them.
            '@' | '#' => {
                if c == '#' {
                    out.push('\\');
                }
                out.push(c);
                out.push('\u{200b}');
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '{' | '}' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    // Addresses would become links.
    out.replace("://", ":\u{200b}//")
        .replace("www.", "www\u{200b}.")
}

/// A fenced block of Markdown, with a fence that the text does not hold.
pub(super) fn fenced(text: &str, language: &str) -> String {
    let text = printable_lines(text);
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(
            printable("a\u{1b}[2Jb\u{9b}1mc\r\nd\u{202e}e"),
            "a[2Jb1mc  de"
        );
        assert_eq!(
            printable_lines("a\u{1b}[31;1mred\u{1b}[0m\r\nb\u{7}\tc"),
            "ared\nb\tc"
        );
        assert_eq!(printable_lines("cut \u{1b}["), "cut ");
        assert_eq!(printable_lines("odd \u{1b}[\u{e9}x"), "odd \u{e9}x");
    }

    #[test]
    fn nothing_ends_an_element_or_an_attribute() {
        assert_eq!(
            markup("</script><a b=\"c\" d='e'>&\u{0}\u{1b}"),
            "&lt;/script&gt;&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;"
        );
        let json = json_in_script("{\"a\":\"</script><!--&\u{2028}\"}");
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["a"], "</script><!--&\u{2028}");
    }

    #[test]
    fn nothing_is_markdown_that_should_be_text() {
        let text = markdown("|a|\n`b` <img src=x> @you #1 [c](d) **e** https://f");
        assert!(!text.contains('\n') && !text.contains('<'), "{text}");
        let before: Vec<char> = std::iter::once(' ').chain(text.chars()).collect();
        for pair in before.windows(2) {
            assert!(
                !"|`[]*#".contains(pair[1]) || pair[0] == '\\',
                "{pair:?}: {text}"
            );
        }
        assert!(
            !text.contains("@you") && !text.contains("#1") && !text.contains("://f"),
            "{text}"
        );
        assert!(fenced("```\nx\n````", "text").starts_with("`````text\n"));
    }
}
