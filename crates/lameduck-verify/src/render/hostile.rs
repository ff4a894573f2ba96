//! Owns what a target may say to mean harm, for every test that shows a target's text somewhere.

/// By name. What a target writes need not be UTF-8: `\u{fffd}` is what is left of it.
pub(crate) const HOSTILE: [(&str, &str); 19] = [
    ("C0", "a\u{0}b\u{1}c\u{7}d\u{8}e\u{7f}f"),
    ("C1", "a\u{80}b\u{85}c\u{9b}2Jd\u{9d}0;title\u{9c}e\u{9f}f"),
    ("CSI", "a\u{1b}[2J\u{1b}[1;1Hb\u{1b}[?1049hc"),
    (
        "OSC",
        "a\u{1b}]0;title\u{7}b\u{1b}]8;;http://evil.example\u{1b}\\c",
    ),
    ("half a sequence", "a\u{1b}["),
    (
        "bidi overrides",
        "a\u{202e}b\u{202d}c\u{202c}d\u{2066}e\u{2069}f\u{200f}g\u{61c}h",
    ),
    ("zero width", "a\u{200b}b\u{200d}c\u{2060}d\u{feff}e\u{ad}f"),
    ("tags", "a\u{e0041}\u{e007f}b"),
    ("separators", "a\u{2028}b\u{2029}c"),
    ("line ends", "a\nb\r\nc\rd\u{c}e\n\n### f\n- g\n::error::h"),
    ("CDATA", "a]]><![CDATA[<b>]]>"),
    ("script", "a</script><script>alert(1)</script><!--<script>"),
    ("attributes", "a\" onload=\"b' onclick='c"),
    ("entities", "a&amp;lt;b&#x3c;c&nbsp;&bogus;"),
    ("table", "a|b||c\\|d"),
    ("backticks", "a`b``c```\nd\n````e"),
    (
        "markdown",
        "[a](http://evil.example) ![b](x) **c** @everyone #1 <img src=x> {0} $x$",
    ),
    ("no characters", "a\u{fffe}b\u{ffff}c\u{fffd}d"),
    (
        "stacked marks",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    ),
];

/// What steers a terminal or is not seen for what it is; line ends and tabs are the format's business.
pub(crate) fn steers(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// `json` with `text` in place of every string in it, as far as the whole `can_be_read` then.
pub(crate) fn poisoned(
    json: &serde_json::Value,
    text: &str,
    can_be_read: &dyn Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    // One string at a time: what the reader refuses, such as a word of a fixed set, stays.
    let mut poisoned = json.clone();
    let mut places = Vec::new();
    strings(json, &mut String::new(), &mut places);
    for place in places {
        let Some(slot) = poisoned.pointer_mut(&place) else {
            continue;
        };
        let before = std::mem::replace(slot, text.into());
        if !can_be_read(&poisoned)
            && let Some(slot) = poisoned.pointer_mut(&place)
        {
            *slot = before;
        }
    }
    poisoned
}

/// The places of all strings, as JSON pointers.
fn strings(value: &serde_json::Value, at: &mut String, places: &mut Vec<String>) {
    let mut step = |name: String, value| {
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        strings(value, at, places);
        at.truncate(length);
    };
    match value {
        serde_json::Value::String(_) => places.push(at.clone()),
        serde_json::Value::Array(all) => {
            for (index, value) in all.iter().enumerate() {
                step(index.to_string(), value);
            }
        }
        serde_json::Value::Object(all) => {
            for (name, value) in all {
                step(name.clone(), value);
            }
        }
        _ => {}
    }
}
