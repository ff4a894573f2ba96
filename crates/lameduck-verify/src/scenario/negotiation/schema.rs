//! Owns what a coordinator may write: the messages of `lameduck.negotiation/1` and the answers of a control socket, field by
//! field. Not: reading them (see `client`), or what a participant may write.
//!
//! Written down again, from docs/protocol/negotiation-1.schema.json, and held to it by a test: what is tested does not test itself.

use serde_json::Value;

/// No message is longer.
pub(super) const MOST_BYTES: usize = 16 * 1024;
const MOST_OF_NAME: usize = 128;
/// Of what does not fit, so much is shown.
const SHOWN: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The version.
    One,
    Name,
    NameOrNull,
    Millis,
    MillisOrNull,
    WishOrNull,
    Flag,
    Cause,
    Of(&'static [&'static str]),
}

/// A field: its name, its form, and whether it has to be there.
type Field = (&'static str, Form, bool);

const PHASES: &[&str] = &[
    "Initializing",
    "Running",
    "Terminating",
    "Draining",
    "Stopped",
];
const ENDS: &[&str] = &["done", "failed", "refused", "overdue", "not_started"];

const MESSAGES: [(&str, &[Field]); 5] = [
    (
        "hello",
        &[
            ("v", Form::One, true),
            ("session", Form::Name, true),
            ("phase", Form::Of(PHASES), true),
            ("drain_id", Form::NameOrNull, false),
        ],
    ),
    (
        "shutdown_request",
        &[
            ("id", Form::Name, true),
            ("cause", Form::Cause, false),
            ("left_ms", Form::Millis, true),
            ("budget_ms", Form::MillisOrNull, false),
            ("used_ms", Form::MillisOrNull, false),
            ("again", Form::Flag, false),
        ],
    ),
    (
        "close",
        &[
            ("id", Form::Name, true),
            ("left_ms", Form::Millis, true),
            ("budget_ms", Form::MillisOrNull, false),
            ("used_ms", Form::MillisOrNull, false),
        ],
    ),
    (
        "granted",
        &[
            ("id", Form::Name, true),
            ("wish", Form::WishOrNull, false),
            ("by_ms", Form::Millis, true),
            ("left_ms", Form::Millis, true),
            ("budget_ms", Form::MillisOrNull, false),
            ("used_ms", Form::MillisOrNull, false),
        ],
    ),
    (
        "over",
        &[("id", Form::Name, true), ("state", Form::Of(ENDS), true)],
    ),
];

/// Why this is no message of a coordinator, if it is none.
pub(super) fn misfit(text: &str) -> Option<String> {
    why_not(text).map(|why| format!("{why}: {}", shown(text)))
}

fn why_not(text: &str) -> Option<String> {
    if text.len() > MOST_BYTES {
        return Some(format!("a message of {} bytes", text.len()));
    }
    let Ok(Value::Object(message)) = serde_json::from_str(text) else {
        return Some("no JSON object".to_owned());
    };
    let kind = message.get("type").and_then(Value::as_str);
    let Some((_, fields)) = MESSAGES.iter().find(|(name, _)| Some(*name) == kind) else {
        return Some("a message of no type of a coordinator's".to_owned());
    };
    fields
        .iter()
        .find_map(|(name, form, is_required)| match message.get(*name) {
            None if *is_required => Some(format!("`{name}` is missing")),
            Some(value) if !form.fits(value) => Some(format!("`{name}` must be {}", form.words())),
            _ => None,
        })
}

/// Why this is no answer of a control socket, if it is none: `ok` has to agree with the status, `taken` to say what came of
/// what was understood.
pub(super) fn answer_misfit(status: u16, body: &str) -> Option<String> {
    let is_good = (200..300).contains(&status);
    let why = match serde_json::from_str::<Value>(body) {
        _ if body.len() > MOST_BYTES => "is longer than 16 KiB",
        Err(_) => "is no JSON",
        Ok(answer) if answer["ok"] != is_good => "has no `ok` that agrees with its status",
        Ok(answer) if is_good && !answer["taken"].is_boolean() => {
            "does not say whether it is taken"
        }
        Ok(_) => return None,
    };
    Some(format!("an answer {status} {why}: {}", shown(body)))
}

/// Its beginning, as one line.
pub(super) fn shown(text: &str) -> String {
    let mut line: String = text.trim().chars().take(SHOWN).collect();
    if line.len() < text.trim().len() {
        line.push('…');
    }
    line.replace(|letter: char| letter.is_control(), " ")
}

impl Form {
    fn fits(self, value: &Value) -> bool {
        let is_name = || {
            value
                .as_str()
                .is_some_and(|text| text.len() <= MOST_OF_NAME)
        };
        let is_time = || value.as_f64().is_some_and(|number| number >= 0.0);
        match self {
            Self::One => value.as_f64() == Some(1.0),
            Self::Name => is_name(),
            Self::NameOrNull => value.is_null() || is_name(),
            Self::Millis => is_time(),
            Self::MillisOrNull => value.is_null() || is_time(),
            Self::WishOrNull => {
                let is_wish = |number: f64| {
                    number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)
                };
                value.is_null() || value.as_f64().is_some_and(is_wish)
            }
            Self::Flag => value.is_boolean(),
            Self::Cause => {
                let is_text = |name| value.get(name).is_none_or(Value::is_string);
                value.is_object() && is_text("kind") && is_text("text")
            }
            Self::Of(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        }
    }

    fn words(self) -> String {
        match self {
            Self::One => "1".to_owned(),
            Self::Name => format!("a text of at most {MOST_OF_NAME} bytes"),
            Self::NameOrNull => format!("null or a text of at most {MOST_OF_NAME} bytes"),
            Self::Millis => "a number from 0 on".to_owned(),
            Self::MillisOrNull => "null or a number from 0 on".to_owned(),
            Self::WishOrNull => "null or a whole number from 0 to 4294967295".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Cause => "an object of texts".to_owned(),
            Self::Of(words) => format!("one of {}", words.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_fields_are_those_of_the_published_schema() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/protocol/negotiation-1.schema.json"
        );
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (kind, fields) in MESSAGES {
            let published = &schema["$defs"][kind];
            let properties = published["properties"].as_object().unwrap();
            let names: BTreeSet<&str> = fields.iter().map(|(name, ..)| *name).collect();
            let other: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
            assert_eq!(&names | &BTreeSet::from(["type"]), other, "{kind}");
            let required: BTreeSet<&str> = fields
                .iter()
                .filter_map(|(name, _, is_required)| is_required.then_some(*name))
                .collect();
            let other = published["required"].as_array().unwrap();
            let other: BTreeSet<&str> = other.iter().filter_map(Value::as_str).collect();
            assert_eq!(&required | &BTreeSet::from(["type"]), other, "{kind}");
        }
        let words = |value: &Value| -> Vec<String> {
            let words = value["enum"].as_array().unwrap().iter();
            words
                .map(|word| word.as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            words(&schema["$defs"]["hello"]["properties"]["phase"]),
            PHASES
        );
        assert_eq!(words(&schema["$defs"]["over"]["properties"]["state"]), ENDS);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let long = format!(r#"{{"type":"over","id":"{}"}}"#, "a".repeat(MOST_BYTES));
        let name = format!(
            r#"{{"type":"over","id":"{}","state":"done"}}"#,
            "a".repeat(129)
        );
        for (text, why) in [
            ("[]", "no JSON object: []"),
            (r#"{"type":"ready"}"#, "no type of a coordinator's"),
            (r#"{"type":"close","id":"d"}"#, "`left_ms` is missing"),
            (
                r#"{"type":"close","id":"d","left_ms":-1}"#,
                "`left_ms` must be a number from 0 on",
            ),
            (
                r#"{"type":"hello","v":"1","session":"7","phase":"Running"}"#,
                "`v` must be 1",
            ),
            (
                r#"{"type":"over","id":"d","state":"gone"}"#,
                "`state` must be one of done",
            ),
            (
                r#"{"type":"granted","id":"d","wish":0.5,"by_ms":0,"left_ms":0}"#,
                "`wish` must be null or a whole number",
            ),
            (long.as_str(), "a message of 16"),
            (name.as_str(), "`id` must be a text of at most 128 bytes"),
        ] {
            let said = misfit(text).expect(text);
            assert!(said.contains(why), "{said}");
            assert!(said.len() < 300, "{said}");
        }
        let good = r#"{"type":"granted","id":"d","wish":null,"by_ms":0.5,"left_ms":1,"used_ms":null,"new":[]}"#;
        assert_eq!(misfit(good), None);
    }

    #[test]
    fn an_answer_agrees_with_its_status() {
        assert_eq!(answer_misfit(200, r#"{"ok":true,"taken":false}"#), None);
        assert_eq!(answer_misfit(404, r#"{"ok":false}"#), None);
        for (status, body, why) in [
            (200, "fine", "is no JSON"),
            (200, r#"{"ok":true}"#, "whether it is taken"),
            (400, r#"{"ok":true}"#, "agrees with its status"),
        ] {
            assert!(answer_misfit(status, body).unwrap().contains(why));
        }
    }
}
