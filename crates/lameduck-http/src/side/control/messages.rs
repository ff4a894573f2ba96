//! The protocol `lameduck.negotiation/1`: what a participant in another process says, and what it is told, as JSON.
//!
//! Unknown fields are ignored; an unknown type is an error that names it. Durations travel, never instants.

use std::time::Duration;

use lameduck::{Cause, Lifecycle};
use serde_json::{Map, Value, json};

/// The most bytes of a message.
pub(super) const MOST: usize = 16 * 1024;
/// The most bytes of a note or a reason; what is longer is cut.
const MOST_OF_TEXT: usize = 256;

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
    },
    Done {
        id: String,
    },
    Failed {
        /// Without one it fails whatever is going on.
        id: Option<String>,
        why: String,
    },
}

impl Said {
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
            },
            "done" => Self::Done {
                id: text(&fields, "id")?,
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

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    let text = fields.get(name).and_then(Value::as_str);
    let text = text.ok_or_else(|| format!("{name} is missing, or no text"))?;
    let mut end = text.len().min(MOST_OF_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(text[..end].to_owned())
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
    Over {
        state: &'a str,
    },
}

impl Told<'_> {
    /// As an event of the stream.
    pub(super) fn event(self, life: &Lifecycle, budget: Option<Duration>) -> bytes::Bytes {
        let id = life.drain_id();
        let drain = life.drain();
        let left = drain
            .drain_end()
            .map(|end| millis(end.saturating_sub(life.elapsed())));
        let budget = budget.map(millis);
        let (kind, message) = match self {
            Self::Hello { session } => (
                "hello",
                json!({ "type": "hello", "v": 1, "session": session, "phase": life.phase().as_str(), "drain_id": id }),
            ),
            Self::ShutdownRequest { again } => (
                "shutdown_request",
                json!({ "type": "shutdown_request", "id": id, "cause": cause(drain.cause()), "left_ms": left, "budget_ms": budget, "again": again }),
            ),
            Self::Close => (
                "close",
                json!({ "type": "close", "id": id, "left_ms": left, "budget_ms": budget }),
            ),
            Self::Over { state } => (
                "over",
                json!({ "type": "over", "id": id, "state": state.replace('-', "_") }),
            ),
        };
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
