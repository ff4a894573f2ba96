//! Messages as JSON, one object in one line.

use alloc::string::String;
use core::time::Duration;

use super::{FromParticipant, ToParticipant, VERSION};
use crate::vocab::{MOST_FIGURES, Progress, Terms, cut, json::Json};

impl ToParticipant {
    /// The message as one line of JSON, without a newline.
    ///
    /// Durations are whole milliseconds: what is left is rounded down and what is used up, so that nobody takes more time
    /// than there is.
    #[must_use]
    pub fn to_json(&self) -> String {
        Json::object(|json| match self {
            Self::Hello {
                session,
                phase,
                drain_id,
            } => {
                json.text("type", "hello");
                json.number("v", VERSION);
                json.text("session", session);
                json.text("phase", phase.as_str());
                match drain_id {
                    Some(id) => json.text("drain_id", id),
                    None => json.null("drain_id"),
                }
            }
            Self::ShutdownRequest {
                id,
                kind,
                cause,
                terms,
                again,
            } => {
                json.text("type", "shutdown_request");
                json.text("id", id);
                json.nested("cause", |json| {
                    json.text("kind", kind);
                    json.text("text", cause);
                });
                write_terms(json, terms);
                json.flag("again", *again);
            }
            Self::Close { id, terms } => {
                json.text("type", "close");
                json.text("id", id);
                write_terms(json, terms);
            }
            Self::Granted {
                id,
                wish,
                by,
                terms,
            } => {
                json.text("type", "granted");
                json.text("id", id);
                match wish {
                    Some(wish) => json.number("wish", *wish),
                    None => json.null("wish"),
                }
                millis(json, "by_ms", *by);
                write_terms(json, terms);
            }
            Self::Over { id, state } => {
                json.text("type", "over");
                json.text("id", id);
                json.text("state", state.as_str());
            }
        })
    }
}

impl FromParticipant {
    /// The message as one line of JSON, without a newline; within the bounds of the protocol.
    #[must_use]
    pub fn to_json(&self) -> String {
        Json::object(|json| match self {
            Self::Ready => json.text("type", "ready"),
            Self::Ack { id } => {
                json.text("type", "ack");
                json.text("id", id);
            }
            Self::Working {
                id,
                done,
                total,
                note,
            } => {
                json.text("type", "working");
                json.text("id", id);
                json.number("done", *done);
                json.number("total", *total);
                words(json, "note", note);
            }
            Self::NeedMore { id, wish, by, why } => {
                json.text("type", "need_more");
                json.text("id", id);
                json.number("wish", *wish);
                millis(json, "by_ms", *by);
                words(json, "why", why);
            }
            Self::Done { id, figures } => {
                json.text("type", "done");
                json.text("id", id);
                if !figures.is_empty() {
                    json.nested("figures", |json| {
                        for (name, figure) in figures.iter().take(MOST_FIGURES) {
                            json.number(name, *figure);
                        }
                    });
                }
            }
            Self::Refused { id, why } => {
                json.text("type", "refused");
                json.text("id", id);
                words(json, "why", why);
            }
            Self::Failed { id, why } => {
                json.text("type", "failed");
                if let Some(id) = id {
                    json.text("id", id);
                }
                words(json, "why", why);
            }
        })
    }
}

fn write_terms(json: &mut Json, terms: &Terms) {
    millis(json, "left_ms", terms.left);
    match terms.budget {
        Some(budget) => millis(json, "budget_ms", budget),
        None => json.null("budget_ms"),
    }
    match terms.used {
        Some(used) => {
            let up = used.saturating_add(Duration::from_nanos(999_999));
            millis(json, "used_ms", up);
        }
        None => json.null("used_ms"),
    }
}

/// Beyond 2⁵³ not every reader has whole numbers: that is for ever anyway.
fn millis(json: &mut Json, key: &str, time: Duration) {
    let most = (1_u64 << 53) - 1;
    let millis = u64::try_from(time.as_millis()).unwrap_or(most);
    json.number(key, millis.min(most));
}

fn words(json: &mut Json, key: &str, text: &str) {
    if !text.is_empty() {
        json.text(key, &cut(String::from(text), Progress::NOTE));
    }
}
