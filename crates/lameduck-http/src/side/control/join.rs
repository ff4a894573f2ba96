//! What somebody says who wants to take part, and an operator who gives time: as JSON, read within bounds.
//!
//! What a participant says afterwards, and is told, is `lameduck::negotiation`'s.

use std::time::Duration;

use serde_json::{Map, Value};

/// The most bytes of either.
pub(super) const MOST: usize = 16 * 1024;

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

    /// All but the name, in words.
    pub(super) fn terms(&self) -> String {
        let budget = self.budget.map_or_else(
            || "without a budget".to_owned(),
            |budget| format!("with a budget of {} ms", budget.as_millis()),
        );
        if self.after.is_empty() {
            format!("{budget}, after nobody")
        } else {
            format!("{budget}, after {}", self.after.join(", "))
        }
    }

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
    Ok(text.to_owned())
}

fn number(fields: &Map<String, Value>, name: &str) -> Result<u64, String> {
    let number = fields.get(name).and_then(Value::as_u64);
    number.ok_or_else(|| format!("{name} is missing, or no whole number from 0 on"))
}
