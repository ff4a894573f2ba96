//! The history from the other side: what `lameduck.history/1` looks like to whoever shows it.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    machine::{Need, learn},
    vocab::Learned,
};

/// The schema's name and version.
const SCHEMA: &str = "lameduck.history/1";

mirror! {
    /// What participants needed in the last shutdowns.
    History {
        /// `lameduck.history/1`.
        schema: String,
        /// When it was written, by the system's clock: RFC 3339 in UTC.
        written: String,
        /// Where the drain of whoever wrote it ends after the request, in milliseconds: no budget goes beyond that.
        drain_end_ms: f64,
        /// Who was seen last comes last.
        participants: Vec<HistoryParticipant>,
    }
    /// What one participant needed, the oldest first.
    HistoryParticipant {
        /// Its name.
        name: String,
        /// At most fifty.
        shutdowns: Vec<HistoryShutdown>,
    }
    /// One participant in one shutdown.
    HistoryShutdown {
        /// When that was asked for, by the system's clock: RFC 3339 in UTC.
        at: String,
        /// The budget that the program gave, in milliseconds; none: it had until the drain's end.
        base_ms: Option<f64>,
        /// The budget that was used, with all that it was granted, in milliseconds.
        budget_ms: Option<f64>,
        /// Which rule gave it: `base`, `overdue` or `needs`.
        by: Option<String>,
        /// From when it was told to finish to its end, in milliseconds.
        took_ms: f64,
        /// `done`, `overdue` (its budget ended first), `cut-short` (the drain did), `refused` or `failed`.
        ended: String,
    }
}

impl History {
    /// Reads a text that is a history.
    ///
    /// # Errors
    /// [`NoHistory`] if it is none.
    pub fn read(text: &str) -> Result<Self, NoHistory> {
        match serde_json::from_str::<Self>(text) {
            Ok(history) if history.schema == SCHEMA => Ok(history),
            Ok(history) => Err(NoHistory {
                why: format!("its schema is {:?}, and not {SCHEMA}", history.schema),
            }),
            Err(error) => Err(NoHistory {
                why: error.to_string(),
            }),
        }
    }
}

impl HistoryParticipant {
    /// The budget that it will have next time, if its base and the plan stay as they were; `None` for one without a budget.
    #[must_use]
    pub fn next(&self, drain_end_ms: f64) -> Option<Learned> {
        let base = self.shutdowns.last()?.base_ms?;
        let needs: Vec<Need> = self.shutdowns.iter().map(HistoryShutdown::need).collect();
        Some(learn(millis(base), &needs, millis(drain_end_ms)))
    }
}

impl HistoryShutdown {
    /// What it tells of the participant's need.
    #[must_use]
    pub fn need(&self) -> Need {
        match (self.ended.as_str(), self.budget_ms) {
            ("done", _) => Need::Met(millis(self.took_ms)),
            ("overdue", Some(budget)) => Need::Overdue(millis(budget)),
            _ => Need::Open(millis(self.took_ms)),
        }
    }
}

/// To the microsecond, which is what is written; what is no duration is none.
fn millis(millis: f64) -> Duration {
    let seconds = (millis * 1e3).round() / 1e6;
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A text is no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoHistory {
    why: String,
}

impl core::fmt::Display for NoHistory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "this is no history: {}", self.why)
    }
}

impl std::error::Error for NoHistory {}
