//! Messages read: what is needed must be there, what is unknown is passed over, what is too long is cut.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use super::{End, FromParticipant, MOST_BYTES, Malformed, ToParticipant, malformed::Kind};
use crate::vocab::{
    MOST_FIGURE_NAME, Phase, Progress, Terms, cut,
    read_json::{NoJson, Value},
};

/// How many bytes an id or a session's name may have.
const MOST_NAME: usize = 128;

impl ToParticipant {
    /// Reads one message of the coordinator.
    ///
    /// # Errors
    /// [`Malformed`] if it is no JSON object, if it is too long, or if its type or a field that it needs is not there or
    /// not what it must be.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let message = read(text)?;
        Ok(match kind(&message)? {
            "hello" => Self::Hello {
                session: message.name("session")?,
                phase: message.phase()?,
                drain_id: message.name_or_null("drain_id")?,
            },
            "shutdown_request" => {
                let cause = message.field("cause");
                let word = |name| cause.map_or_else(String::new, |cause| cause.words(name));
                Self::ShutdownRequest {
                    id: message.name("id")?,
                    kind: word("kind"),
                    cause: word("text"),
                    terms: message.terms()?,
                    again: message.field("again") == Some(&Value::Flag(true)),
                }
            }
            "close" => Self::Close {
                id: message.name("id")?,
                terms: message.terms()?,
            },
            "granted" => Self::Granted {
                id: message.name("id")?,
                wish: match message.field("wish") {
                    None | Some(Value::Null) => None,
                    Some(_) => Some(message.wish()?),
                },
                by: message.time("by_ms")?,
                terms: message.terms()?,
            },
            "over" => Self::Over {
                id: message.name("id")?,
                state: message.end()?,
            },
            _ => return Err(unknown(&message)),
        })
    }
}

impl FromParticipant {
    /// Reads one message of a participant.
    ///
    /// # Errors
    /// [`Malformed`] if it is no JSON object, if it is too long, or if its type or a field that it needs is not there or
    /// not what it must be.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let message = read(text)?;
        Ok(match kind(&message)? {
            "ready" => Self::Ready,
            "ack" => Self::Ack {
                id: message.name("id")?,
            },
            "working" => Self::Working {
                id: message.name("id")?,
                done: message.count("done")?,
                total: message.count("total")?,
                note: message.words("note"),
            },
            "need_more" => Self::NeedMore {
                id: message.name("id")?,
                wish: message.wish()?,
                by: message.time("by_ms")?,
                why: message.words("why"),
            },
            "done" => Self::Done {
                id: message.name("id")?,
                figures: message.figures(),
            },
            "refused" => Self::Refused {
                id: message.name("id")?,
                why: message.words("why"),
            },
            "failed" => Self::Failed {
                id: message.name_or_null("id")?,
                why: message.words("why"),
            },
            _ => return Err(unknown(&message)),
        })
    }
}

/// Reads one object, with nothing but blanks around it.
fn read(text: &str) -> Result<Value<'_>, Malformed> {
    if text.len() > MOST_BYTES {
        return Err(Malformed::new(Kind::TooLong));
    }
    let broken = |NoJson { at, why }| Malformed::new(Kind::Syntax { at, why });
    let value = Value::read(text).map_err(broken)?;
    if matches!(value, Value::Object(_)) {
        Ok(value)
    } else {
        let at = text.len() - text.trim_ascii_start().len();
        let why = "a message is an object";
        Err(broken(NoJson { at, why }))
    }
}

fn kind<'a>(message: &'a Value<'_>) -> Result<&'a str, Malformed> {
    message.text("type").ok_or_else(|| wrong("type", "a text"))
}

fn unknown(message: &Value<'_>) -> Malformed {
    let found = String::from(message.text("type").unwrap_or_default());
    let found = cut(found, MOST_NAME);
    Malformed::new(Kind::Type { found })
}

const fn wrong(name: &'static str, wanted: &'static str) -> Malformed {
    Malformed::new(Kind::Field { name, wanted })
}

/// What messages have for fields.
impl Value<'_> {
    /// A name: what is compared with others, and therefore not cut.
    fn name(&self, name: &'static str) -> Result<String, Malformed> {
        let wanted = "a text of at most 128 bytes";
        let text = self.text(name).filter(|text| text.len() <= MOST_NAME);
        text.map(String::from).ok_or_else(|| wrong(name, wanted))
    }

    fn name_or_null(&self, name: &'static str) -> Result<Option<String>, Malformed> {
        match self.field(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.name(name).map(Some),
        }
    }

    /// Words for people; none where there are none.
    fn words(&self, name: &str) -> String {
        cut(
            String::from(self.text(name).unwrap_or_default()),
            Progress::NOTE,
        )
    }

    fn count(&self, name: &'static str) -> Result<u64, Malformed> {
        let count = self
            .number(name)
            .and_then(|number| u64::try_from(number.whole()).ok());
        count.ok_or_else(|| wrong(name, "a whole number from 0 on"))
    }

    fn wish(&self) -> Result<u32, Malformed> {
        let wish = self
            .number("wish")
            .and_then(|number| u32::try_from(number.whole()).ok());
        wish.ok_or_else(|| wrong("wish", "a whole number from 0 to 4294967295"))
    }

    fn time(&self, name: &'static str) -> Result<Duration, Malformed> {
        let wanted = "a number of milliseconds from 0 on";
        self.millis(name).ok_or_else(|| wrong(name, wanted))
    }

    fn time_or_null(&self, name: &'static str) -> Result<Option<Duration>, Malformed> {
        match self.field(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.time(name).map(Some),
        }
    }

    fn terms(&self) -> Result<Terms, Malformed> {
        Ok(Terms::new(
            self.time("left_ms")?,
            self.time_or_null("budget_ms")?,
            self.time_or_null("used_ms")?,
        ))
    }

    fn phase(&self) -> Result<Phase, Malformed> {
        let word = self.text("phase");
        let phase = Phase::ALL
            .into_iter()
            .find(|phase| word == Some(phase.as_str()));
        phase.ok_or_else(|| wrong("phase", "the name of a phase"))
    }

    fn end(&self) -> Result<End, Malformed> {
        let word = self.text("state");
        let end = End::ALL.into_iter().find(|end| word == Some(end.as_str()));
        end.ok_or_else(|| wrong("state", "how a participant ended"))
    }

    /// Those that are numbers, rounded to whole ones. A message has few bytes; how many are kept is the machine's.
    fn figures(&self) -> Vec<(String, i64)> {
        let figures = self.field("figures").map_or(&[][..], Value::fields);
        let numbers = figures.iter().filter_map(|(name, value)| match value {
            Value::Number(number) => {
                let name = cut(String::from(&**name), MOST_FIGURE_NAME);
                Some((name, number.whole()))
            }
            _ => None,
        });
        numbers.collect()
    }
}
