//! What is remembered, `lameduck.history/1`: the last shutdowns of each participant, bounded, and as JSON.
//!
//! Owns the format. No file and no clock here.

use std::{collections::VecDeque, fmt, time::Duration};

use crate::{
    machine::{NEEDS, Need},
    vocab::{
        Learned, LearnedBy,
        json::Json,
        read_json::{NoJson, Value},
    },
};

/// The schema's name and version.
pub(super) const SCHEMA: &str = "lameduck.history/1";

/// What every version of it begins with.
const FAMILY: &str = "lameduck.history/";

/// Participants that are remembered. Where there are more, those that have not been seen for longest are forgotten first.
pub(super) const MOST_PARTICIPANTS: usize = 256;

/// Bytes of a name that is remembered: a longer one is nobody's name.
const LONGEST_NAME: usize = 128;

/// Bytes of a file: twice what the bounds above come to.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// What is longer than a day is a day: no budget is.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The last shutdowns of each participant; who was seen last comes last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    participants: Vec<Past>,
}

/// Of one participant, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Past {
    name: String,
    shutdowns: VecDeque<Entry>,
}

/// One participant in one shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When that was asked for, by the system's clock (RFC 3339).
    pub(super) at: String,
    /// What the program gave, what was used, and by which rule; `None` where it had until the drain's end.
    pub(super) budget: Option<Budget>,
    /// From when it was told to finish to its end.
    pub(super) took: Duration,
    pub(super) ended: Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) base: Duration,
    /// With all that it was granted.
    pub(super) used: Duration,
    pub(super) by: LearnedBy,
}

impl Budget {
    pub(super) const fn new(learned: Learned, granted: Duration) -> Self {
        Self {
            base: learned.base,
            used: learned.budget.saturating_add(granted),
            by: learned.by,
        }
    }
}

/// How a participant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    /// Its budget ended first.
    Overdue,
    /// The drain ended first.
    CutShort,
    /// It said that it would not finish.
    Refused,
    Failed,
}

impl Ended {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Overdue,
        Self::CutShort,
        Self::Refused,
        Self::Failed,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Overdue => "overdue",
            Self::CutShort => "cut-short",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Entry {
    fn need(&self) -> Need {
        match (self.ended, self.budget) {
            (Ended::Done, _) => Need::Met(self.took),
            // What a driver that was held up was late by is nobody's need.
            (Ended::Overdue, Some(budget)) => Need::Overdue(budget.used),
            _ => Need::Open(self.took),
        }
    }
}

/// A text is not a history that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is longer than any that is written.
    TooLong,
    /// It ends, or breaks off, where it should not.
    NoJson(NoJson),
    /// It has another form: this does not stand where it should, or as it should.
    Misses(&'static str),
    /// Another version of lameduck wrote it.
    Foreign(String),
}

impl Unreadable {
    /// Whether it is whole, and somebody else's.
    pub(super) const fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "is longer than {MOST_BYTES} bytes"),
            Self::NoJson(error) => write!(f, "is broken: {error}"),
            Self::Misses(what) => write!(f, "is broken: it has no {what} that can be read"),
            Self::Foreign(schema) => {
                write!(f, "it is {schema:?}, and this version knows {SCHEMA}")
            }
        }
    }
}

impl std::error::Error for Unreadable {}

impl Book {
    /// What a participant needed, the oldest first.
    pub(super) fn needs(&self, name: &str) -> Vec<Need> {
        let past = self.participants.iter().find(|past| past.name == name);
        let shutdowns = past.into_iter().flat_map(|past| &past.shutdowns);
        shutdowns.map(Entry::need).collect()
    }

    /// Remembers one more shutdown of a participant; says whether there was room for it.
    pub(super) fn add(&mut self, name: &str, entry: Entry) -> bool {
        if name.len() > LONGEST_NAME {
            return false;
        }
        let known = self.participants.iter().position(|past| past.name == name);
        let mut past = match known {
            Some(index) => self.participants.remove(index),
            None => {
                if self.participants.len() >= MOST_PARTICIPANTS && !self.forget_before(&entry.at) {
                    return false;
                }
                Past {
                    name: name.to_owned(),
                    shutdowns: VecDeque::new(),
                }
            }
        };
        past.shutdowns.push_back(entry);
        while past.shutdowns.len() > NEEDS {
            past.shutdowns.pop_front();
        }
        self.participants.push(past);
        true
    }

    /// Forgets who has not been seen for longest, but nobody of this very shutdown.
    fn forget_before(&mut self, at: &str) -> bool {
        let oldest = self.participants.first();
        let last_seen = oldest.and_then(|past| past.shutdowns.back());
        let is_old = last_seen.is_none_or(|entry| entry.at != at);
        if is_old {
            self.participants.remove(0);
        }
        is_old
    }

    /// One line of JSON, with its newline.
    pub(super) fn to_json(&self, written: &str, drain_end: Duration) -> String {
        let mut text = Json::object(|json| {
            json.text("schema", SCHEMA);
            json.text("written", written);
            json.millis("drain_end_ms", drain_end.min(LONGEST));
            json.list("participants", &self.participants, |json, past| {
                json.text("name", &past.name);
                json.list("shutdowns", &past.shutdowns, write_entry);
            });
        });
        text.push('\n');
        text
    }

    /// # Errors
    /// What is wrong with the text.
    pub(super) fn read(text: &str) -> Result<Self, Unreadable> {
        if text.len() > MOST_BYTES {
            return Err(Unreadable::TooLong);
        }
        let json = Value::read(text).map_err(Unreadable::NoJson)?;
        match json.text("schema") {
            Some(SCHEMA) => {}
            Some(schema) if schema.starts_with(FAMILY) => {
                return Err(Unreadable::Foreign(schema.chars().take(64).collect()));
            }
            _ => return Err(Unreadable::Misses("schema")),
        }
        let list = json
            .list("participants")
            .filter(|list| list.len() <= MOST_PARTICIPANTS)
            .ok_or(Unreadable::Misses("list of participants"))?;
        let mut participants: Vec<Past> = Vec::with_capacity(list.len());
        for one in list {
            let past = read_past(one)?;
            if participants.iter().any(|other| other.name == past.name) {
                return Err(Unreadable::Misses("second participant of one name"));
            }
            participants.push(past);
        }
        Ok(Self { participants })
    }
}

fn write_entry(json: &mut Json, entry: &Entry) {
    json.text("at", &entry.at);
    if let Some(budget) = entry.budget {
        json.millis("base_ms", budget.base.min(LONGEST));
        json.millis("budget_ms", budget.used.min(LONGEST));
        json.text("by", budget.by.as_str());
    }
    json.millis("took_ms", entry.took.min(LONGEST));
    json.text("ended", entry.ended.as_str());
}

fn read_past(json: &Value<'_>) -> Result<Past, Unreadable> {
    let name = json
        .text("name")
        .filter(|name| name.len() <= LONGEST_NAME)
        .ok_or(Unreadable::Misses("name of a participant"))?;
    let list = json
        .list("shutdowns")
        .ok_or(Unreadable::Misses("list of shutdowns"))?;
    // What was remembered for longer by another setting of the bound.
    let kept = &list[list.len().saturating_sub(NEEDS)..];
    Ok(Past {
        name: name.to_owned(),
        shutdowns: kept.iter().map(read_entry).collect::<Result<_, _>>()?,
    })
}

fn read_entry(json: &Value<'_>) -> Result<Entry, Unreadable> {
    let at = json
        .text("at")
        .filter(|at| is_time(at))
        .ok_or(Unreadable::Misses("time of a shutdown"))?;
    let took = json
        .millis("took_ms")
        .ok_or(Unreadable::Misses("duration of a shutdown"))?;
    let ended = json
        .text("ended")
        .and_then(|word| Ended::ALL.into_iter().find(|one| one.as_str() == word))
        .ok_or(Unreadable::Misses("end of a shutdown"))?;
    Ok(Entry {
        at: at.to_owned(),
        budget: read_budget(json)?,
        took: took.min(LONGEST),
        ended,
    })
}

fn read_budget(json: &Value<'_>) -> Result<Option<Budget>, Unreadable> {
    if json.field("base_ms").is_none() {
        return Ok(None);
    }
    let read = |name| json.millis(name).map(|budget| budget.min(LONGEST));
    let by = json.text("by").and_then(|word| {
        let all = [LearnedBy::Base, LearnedBy::Overdue, LearnedBy::Needs];
        all.into_iter().find(|one| one.as_str() == word)
    });
    match (read("base_ms"), read("budget_ms"), by) {
        (Some(base), Some(used), Some(by)) => Ok(Some(Budget { base, used, by })),
        _ => Err(Unreadable::Misses("budget")),
    }
}

/// As far as it matters here: short, and nothing in it that would have to be escaped.
fn is_time(text: &str) -> bool {
    text.len() <= 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"TZ:.+-".contains(&byte))
}
