//! Owns what a participant never says: bodies that are no message, each for another reason, and how they are answered.
//! Not: who says them and when (see `cast`), or the verdict (see `judge`).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Reply;
use super::schema::{MOST_BYTES, shown};

/// Deeper than any message.
const DEEP: usize = 100;
/// By one byte longer than names are.
const LONG_NAME: usize = 129;

/// One such body: what it is, and its bytes in a drain of this id.
pub(super) type Hostile = (&'static str, fn(&str) -> Vec<u8>);

pub(super) const HOSTILE: [Hostile; 8] = [
    ("no JSON", |_| b"ready".to_vec()),
    ("cut JSON", |id| cut(&json!({ "type": "ack", "id": id }))),
    ("JSON nested 100 deep", |_| {
        let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
        format!(r#"{{"type":"ready","a":{open}{close}}}"#).into()
    }),
    ("a message of more than 16 KiB", |_| {
        let (begin, end) = (r#"{"type":"ready","a":""#, r#""}"#);
        let filling = MOST_BYTES + 1 - begin.len() - end.len();
        format!("{begin}{}{end}", "a".repeat(filling)).into()
    }),
    ("a type that nobody knows", |id| {
        bytes(&json!({ "type": "dance", "id": id }))
    }),
    ("a name of 129 bytes", |_| {
        bytes(&json!({ "type": "ack", "id": "a".repeat(LONG_NAME) }))
    }),
    ("a negative time", |id| {
        bytes(&json!({ "type": "need_more", "id": id, "wish": 1, "by_ms": -1, "why": "" }))
    }),
    ("invalid UTF-8", |id| {
        let message = json!({ "type": "working", "id": id, "done": 0, "total": 1, "note": "~" });
        let mut bytes = bytes(&message);
        for byte in &mut bytes {
            if *byte == b'~' {
                *byte = 0xff;
            }
        }
        bytes
    }),
];

fn bytes(message: &Value) -> Vec<u8> {
    message.to_string().into()
}

fn cut(message: &Value) -> Vec<u8> {
    let mut bytes = bytes(message);
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// How one was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affront {
    pub(super) what: &'static str,
    /// The beginning of what was sent.
    pub(super) sent: String,
    /// While the service leaves.
    pub(super) is_leaving: bool,
    pub(super) at: Instant,
    pub(super) took: Duration,
    /// None when no answer came in time, or the connection ended without one.
    pub(super) reply: Option<Reply>,
}

impl Affront {
    pub(super) fn new(what: &'static str, sent: &[u8], is_leaving: bool) -> Self {
        Self {
            what,
            sent: shown(&String::from_utf8_lossy(sent)),
            is_leaving,
            at: Instant::now(),
            took: Duration::ZERO,
            reply: None,
        }
    }

    /// Whether it was refused with a reason in words.
    pub(super) fn is_refused(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| {
            let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
            let said = answer["said"].as_str().unwrap_or_default();
            (400..500).contains(&reply.status) && !said.trim().is_empty()
        })
    }

    /// What was sent and heard.
    pub(super) fn in_words(&self) -> String {
        let when = if self.is_leaving {
            "while leaving"
        } else {
            "while it serves"
        };
        let heard = match &self.reply {
            Some(reply) => format!("answered {} {}", reply.status, shown(&reply.body)),
            None => format!(
                "left without an answer after {:.0} ms",
                self.took.as_secs_f64() * 1e3
            ),
        };
        format!("{} ({}) was {heard}, {when}", self.what, self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_body_is_what_it_is_called() {
        for (what, body) in HOSTILE {
            let body = body("d");
            let json = serde_json::from_slice::<Value>(&body);
            assert_eq!(body.len() > MOST_BYTES, what.contains("16 KiB"), "{what}");
            let is_utf8 = std::str::from_utf8(&body).is_ok();
            assert_eq!(is_utf8, what != "invalid UTF-8");
            let is_no_json = ["no JSON", "cut JSON", "invalid UTF-8"].contains(&what);
            assert_eq!(json.is_err(), is_no_json, "{what}");
        }
    }

    #[test]
    fn a_refusal_has_a_status_of_refusals_and_a_reason() {
        let heard = |status, body: &str| {
            let mut affront = Affront::new("no JSON", b"ready", false);
            let body = body.to_owned();
            affront.reply = Some(Reply { status, body });
            affront
        };
        assert!(heard(400, r#"{"ok":false,"said":"no JSON at byte 0"}"#).is_refused());
        for (status, body) in [
            (400, r#"{"ok":false}"#),
            (400, r#"{"ok":false,"said":" "}"#),
            (500, r#"{"ok":false,"said":"why"}"#),
            (200, r#"{"ok":true,"said":"why"}"#),
        ] {
            assert!(!heard(status, body).is_refused(), "{status} {body}");
        }
        assert!(!Affront::new("no JSON", b"ready", false).is_refused());
        assert_eq!(
            heard(200, r#"{"ok":true}"#).in_words(),
            r#"no JSON (ready) was answered 200 {"ok":true}, while it serves"#
        );
    }
}
