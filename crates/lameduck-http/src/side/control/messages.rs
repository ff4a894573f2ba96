//! The protocol `lameduck.negotiation/1`: what a participant in another process says, and what it is told, as JSON.
//!
//! Unknown fields are ignored; an unknown type is an error that names it. Durations travel, never instants.

use std::time::Duration;

use bytes::Bytes;
use lameduck::{Cause, Lifecycle, Terms};
use serde_json::{Map, Value, json};

/// The most bytes of a message.
pub(super) const MOST: usize = 16 * 1024;
/// The most bytes of a note or a reason; what is longer is cut.
const MOST_OF_TEXT: usize = 256;
/// The most figures of a participant.
const MOST_FIGURES: usize = 32;

/// What a participant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ready,
    Ack {
        id: String,
    },
    Working {
        id: String,
        done: u64,
        total: u64,
        note: String,
    },
    NeedMore {
        id: String,
        /// The same number is the same wish.
        wish: u32,
        by: Duration,
        why: String,
    },
    Done {
        id: String,
        figures: Vec<(String, i64)>,
    },
    Refused {
        id: String,
        why: String,
    },
    Failed {
        /// Without one it fails whatever is going on.
        id: Option<String>,
        why: String,
    },
}

impl Said {
    /// The drain that it is about, if it is about one.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::Ack { id }
            | Self::Working { id, .. }
            | Self::NeedMore { id, .. }
            | Self::Done { id, .. }
            | Self::Refused { id, .. } => Some(id),
            Self::Failed { id, .. } => id.as_deref(),
        }
    }

    pub(super) fn read(message: &[u8]) -> Result<Self, String> {
        let message: Value =
            serde_json::from_slice(message).map_err(|error| format!("this is no JSON: {error}"))?;
        let Value::Object(fields) = message else {
            return Err("a message is a JSON object".to_owned());
        };
        let kind = text(&fields, "type")?;
        Ok(match kind.as_str() {
            "ready" => Self::Ready,
            "ack" => Self::Ack {
                id: text(&fields, "id")?,
            },
            "working" => Self::Working {
                id: text(&fields, "id")?,
                done: number(&fields, "done")?,
                total: number(&fields, "total")?,
                note: optional_text(&fields, "note")?,
            },
            "need_more" => Self::NeedMore {
                id: text(&fields, "id")?,
                wish: wish(&fields)?,
                by: Duration::from_millis(number(&fields, "by_ms")?),
                why: optional_text(&fields, "why")?,
            },
            "done" => Self::Done {
                id: text(&fields, "id")?,
                figures: figures(&fields)?,
            },
            "refused" => Self::Refused {
                id: text(&fields, "id")?,
                why: text(&fields, "why")?,
            },
            "failed" => Self::Failed {
                id: fields
                    .contains_key("id")
                    .then(|| text(&fields, "id"))
                    .transpose()?,
                why: text(&fields, "why")?,
            },
            other => return Err(format!("{other:?} is no type of a message")),
        })
    }
}

/// A participant that wants to take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) name: String,
    pub(super) after: Vec<String>,
    pub(super) budget: Option<Duration>,
}

impl Join {
    /// The most bytes of a name.
    const MOST_OF_NAME: usize = 64;
    /// How many it may depend on.
    const MOST_AFTER: usize = 64;

    pub(super) fn read(message: &[u8]) -> Result<Self, String> {
        let message: Value =
            serde_json::from_slice(message).map_err(|error| format!("this is no JSON: {error}"))?;
        let Value::Object(fields) = message else {
            return Err(r#"whoever joins says {"name": NAME}"#.to_owned());
        };
        let name = text(&fields, "name")?;
        if name.is_empty() || name.len() > Self::MOST_OF_NAME || name.chars().any(char::is_control)
        {
            return Err("a name has 1 to 64 bytes, and nothing that cannot be printed".to_owned());
        }
        let after = match fields.get("after") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(names)) if names.len() <= Self::MOST_AFTER => names
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or("after is a list of names")?,
            Some(_) => return Err("after is a list of at most 64 names".to_owned()),
        };
        let budget = match fields.get("budget_ms") {
            None | Some(Value::Null) => None,
            Some(budget) => Some(
                budget
                    .as_u64()
                    .filter(|budget| *budget > 0)
                    .map(Duration::from_millis)
                    .ok_or("budget_ms is a whole number of milliseconds above zero")?,
            ),
        };
        Ok(Self {
            name,
            after,
            budget,
        })
    }
}

/// More time for a participant, from an operator.
pub(super) struct Gift {
    pub(super) name: String,
    pub(super) by: Duration,
}

impl Gift {
    pub(super) fn read(message: &[u8]) -> Result<Self, String> {
        let message: Value =
            serde_json::from_slice(message).map_err(|error| format!("this is no JSON: {error}"))?;
        let Value::Object(fields) = message else {
            return Err(r#"whoever gives time says {"name": NAME, "by_ms": NUMBER}"#.to_owned());
        };
        Ok(Self {
            name: text(&fields, "name")?,
            by: Duration::from_millis(number(&fields, "by_ms")?),
        })
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    let text = fields.get(name).and_then(Value::as_str);
    let text = text.ok_or_else(|| format!("{name} is missing, or no text"))?;
    let mut end = text.len().min(MOST_OF_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(text[..end].to_owned())
}

fn optional_text(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(_) => text(fields, name),
    }
}

fn wish(fields: &Map<String, Value>) -> Result<u32, String> {
    let wish = number(fields, "wish")?;
    let wish = u32::try_from(wish).ok().filter(|wish| *wish > 0);
    wish.ok_or_else(|| "wishes are numbered from 1 on".to_owned())
}

fn figures(fields: &Map<String, Value>) -> Result<Vec<(String, i64)>, String> {
    let figures = match fields.get("figures") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(figures)) if figures.len() <= MOST_FIGURES => figures,
        Some(_) => return Err(format!("figures is an object of at most {MOST_FIGURES}")),
    };
    let figures = figures.iter().map(|(name, figure)| {
        let figure = figure.as_i64();
        let figure = figure.ok_or_else(|| format!("the figure {name:?} is no whole number"))?;
        Ok((name.clone(), figure))
    });
    figures.collect()
}

fn number(fields: &Map<String, Value>, name: &str) -> Result<u64, String> {
    let number = fields.get(name).and_then(Value::as_u64);
    number.ok_or_else(|| format!("{name} is missing, or no whole number from 0 on"))
}

/// What a participant is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    Hello {
        session: &'a str,
    },
    ShutdownRequest {
        /// It has said nothing for half its budget.
        again: bool,
    },
    Close,
    /// More time; wish 0: an operator's.
    Granted {
        wish: u32,
        by: Duration,
    },
    Over {
        state: &'a str,
    },
}

impl Told<'_> {
    /// As an event of the stream.
    pub(super) fn event(self, life: &Lifecycle, terms: Option<Terms>) -> Bytes {
        let id = life.drain_id();
        let left = terms.map(|terms| millis(terms.left));
        let budget = terms.and_then(|terms| terms.budget).map(millis);
        let (kind, message) = match self {
            Self::Hello { session } => (
                "hello",
                json!({ "v": 1, "session": session, "phase": life.phase().as_str(), "drain_id": id }),
            ),
            Self::ShutdownRequest { again } => (
                "shutdown_request",
                json!({ "id": id, "cause": cause(life.cause()), "left_ms": left, "budget_ms": budget, "again": again }),
            ),
            Self::Close => (
                "close",
                json!({ "id": id, "left_ms": left, "budget_ms": budget }),
            ),
            Self::Granted { wish, by } => (
                "granted",
                json!({ "id": id, "wish": wish, "by_ms": millis(by), "left_ms": left, "budget_ms": budget }),
            ),
            Self::Over { state } => (
                "over",
                json!({ "id": id, "state": state.replace('-', "_") }),
            ),
        };
        let mut message = message;
        message["type"] = kind.into();
        format!("event: {kind}\ndata: {message}\n\n").into()
    }
}

fn cause(cause: Option<Cause>) -> Value {
    let Some(cause) = cause else {
        return Value::Null;
    };
    let kind = match &cause {
        Cause::Signal(_) => "signal",
        Cause::Api { .. } => "api",
        Cause::ParticipantFailed { .. } => "participant_failed",
        Cause::StartFailed { .. } => "start_failed",
        _ => "other",
    };
    json!({ "kind": kind, "text": cause.to_string() })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_with_its_bounds() {
        let read = |message: &str| Said::read(message.as_bytes());
        assert_eq!(read(r#"{"type":"ready","more":[1]}"#), Ok(Said::Ready));
        let long = format!(
            r#"{{"type":"refused","id":"x","why":"{}"}}"#,
            "ä".repeat(200)
        );
        let Ok(Said::Refused { why, .. }) = read(&long) else {
            panic!("a refusal");
        };
        assert_eq!(why.len(), MOST_OF_TEXT);
        let wish = r#"{"type":"need_more","id":"x","wish":3,"by_ms":2500,"why":"slow"}"#;
        let by = Duration::from_millis(2_500);
        assert!(matches!(read(wish), Ok(Said::NeedMore { wish: 3, by: got, .. }) if got == by));
        let done = r#"{"type":"done","id":"x","figures":{"sent":-4}}"#;
        let figures = vec![("sent".to_owned(), -4)];
        let id = "x".to_owned();
        assert_eq!(read(done), Ok(Said::Done { id, figures }));
        let many: Vec<_> = (0..33).map(|at| format!(r#""{at}":1"#)).collect();
        let many = format!(
            r#"{{"type":"done","id":"x","figures":{{{}}}}}"#,
            many.join(",")
        );
        for (message, why) in [
            (
                r#"{"type":"need_more","id":"x","wish":0,"by_ms":1}"#,
                "from 1 on",
            ),
            (
                r#"{"type":"need_more","id":"x","wish":4294967296,"by_ms":1}"#,
                "from 1 on",
            ),
            (
                r#"{"type":"need_more","id":"x","wish":1,"by_ms":-1}"#,
                "by_ms is missing",
            ),
            (
                r#"{"type":"done","id":"x","figures":{"a":0.5}}"#,
                "\"a\" is no whole number",
            ),
            (r#"{"type":"refused","id":"x"}"#, "why is missing"),
            (&many, "at most 32"),
        ] {
            let refused = read(message).expect_err(message);
            assert!(refused.contains(why), "{message}: {refused}");
        }
    }
}
