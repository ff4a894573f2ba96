//! Owns reading a report back from its JSON.
//! Not: reading files (whoever holds the path does), or what became of the numbers since.

use crate::render::printable;
use std::fmt;

use super::Report;

/// The schema that is written and read.
pub(crate) const SCHEMA: &str = "lameduck.verify/1";
/// The longest text that is read: a report is some hundred kilobytes.
const MAX_BYTES: usize = 32 << 20;

/// Why a text is no report.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// It is longer than 32 MiB.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It is no JSON.
    NotJson(serde_json::Error),
    /// It is JSON of another schema, or names none.
    Schema(Option<String>),
    /// It names our schema and is not of its shape.
    Shape(serde_json::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                f,
                "it has {bytes} bytes, and no report is longer than {MAX_BYTES}"
            ),
            Self::NotJson(error) => write!(f, "it is not JSON: {error}"),
            Self::Schema(None) => {
                write!(f, "it names no schema; a report begins with \"{SCHEMA}\"")
            }
            Self::Schema(Some(found)) => {
                write!(f, "its schema is `{found}`; this version reads `{SCHEMA}`")
            }
            Self::Shape(error) => write!(f, "it is not a whole `{SCHEMA}`: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl Report {
    /// The report that [`Report::to_json`] wrote, by this version or an earlier one. Names that are not known are
    /// passed over: the schema only grows.
    ///
    /// # Errors
    /// The text is too long, no JSON, of another schema, or lacks what every report has.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        if text.len() > MAX_BYTES {
            return Err(ReadError::TooLong { bytes: text.len() });
        }
        let value: serde_json::Value = serde_json::from_str(text).map_err(ReadError::NotJson)?;
        let schema = value.get("schema").and_then(serde_json::Value::as_str);
        if schema != Some(SCHEMA) {
            let shown = |schema: &str| printable(schema).chars().take(64).collect();
            return Err(ReadError::Schema(schema.map(shown)));
        }
        serde_json::from_value(value).map_err(ReadError::Shape)
    }
}
