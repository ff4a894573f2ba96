//! Who takes part from outside: sessions by number and by name, and the names whose process went away while nothing was being drained.
//!
//! Bounded: so many sessions at a time, and half of the names that a lifecycle takes, so that the program's own participants find room.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use lameduck::negotiation::FromParticipant;
use lameduck::{EnrolError, Lifecycle, NoParticipant, Participant};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::caller::Caller;
use super::join::Join;
use super::session::{Queue, Session};

/// How many participants may be connected at the same time.
pub(super) const MOST_SESSIONS: usize = 256;
/// How many names may have taken part since the start. A lifecycle keeps each to its end, and takes 1,024.
const MOST_NAMES: usize = 512;
/// How often, and how far apart, it is looked whether a grant was made.
const LOOKS: u32 = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Random bytes of a session's number.
const RANDOM: usize = 16;

/// Why somebody does not take part, and the status that says so.
pub(super) struct NotJoined {
    pub(super) status: StatusCode,
    pub(super) why: String,
}

impl NotJoined {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self {
            status,
            why: why.into(),
        }
    }
}

pub(super) struct Book {
    life: Lifecycle,
    places: Arc<Semaphore>,
    entries: Mutex<Entries>,
    /// Operators give one after the other: what each gave is read off the status.
    giving: tokio::sync::Mutex<()>,
    /// Sessions that were cut because they did not read.
    slow: AtomicU64,
}

#[derive(Default)]
struct Entries {
    by_id: HashMap<String, Arc<Session>>,
    by_name: HashMap<String, Standing>,
    /// How many names were enrolled.
    names: usize,
}

/// How a name stands.
enum Standing {
    Here(Arc<Session>),
    /// Its process went away before anything was drained; it may come back.
    Away {
        participant: Participant,
        was: Arc<Session>,
    },
}

impl Book {
    pub(super) fn new(life: Lifecycle) -> Arc<Self> {
        Arc::new(Self {
            life,
            places: Arc::new(Semaphore::new(MOST_SESSIONS)),
            entries: Mutex::default(),
            giving: tokio::sync::Mutex::default(),
            slow: AtomicU64::new(0),
        })
    }

    /// A place for one more connection; none if there are too many.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Lets somebody take part, under a name that is free or was its own.
    pub(super) fn join(
        &self,
        caller: Caller,
        join: Join,
    ) -> Result<(Arc<Session>, Queue), NotJoined> {
        let id = random_id().map_err(|error| {
            let why = format!("no random bytes for a session: {error}");
            NotJoined::new(StatusCode::INTERNAL_SERVER_ERROR, why)
        })?;
        let mut entries = self.lock();
        let phase = self.life.phase();
        if phase.is_leaving() {
            let why = format!("nobody can join in {phase}: the service is leaving");
            return Err(NotJoined::new(StatusCode::CONFLICT, why));
        }
        let participant = match entries.by_name.remove(&join.name) {
            Some(Standing::Here(other)) => {
                let why = format!(
                    "{:?} takes part already, as {}; give each participant a name of its own",
                    join.name, other.caller
                );
                entries.by_name.insert(join.name, Standing::Here(other));
                return Err(NotJoined::new(StatusCode::CONFLICT, why));
            }
            Some(Standing::Away { participant, was }) => {
                if let Some(why) = another(&was, &caller, &join) {
                    let away = Standing::Away { participant, was };
                    entries.by_name.insert(join.name, away);
                    return Err(NotJoined::new(StatusCode::CONFLICT, why));
                }
                participant.returned();
                participant
            }
            None if entries.names >= MOST_NAMES => {
                let why = format!(
                    "{MOST_NAMES} names have taken part since the start, and each is kept for its report: a participant that comes back comes under the name it had"
                );
                return Err(NotJoined::new(StatusCode::CONFLICT, why));
            }
            None => {
                let participant = self.enrol(&join)?;
                entries.names += 1;
                participant
            }
        };
        let name = join.name.clone();
        let life = self.life.clone();
        let (session, queue) = Session::begin(id.clone(), join, caller, life, participant);
        entries.by_id.insert(id, Arc::clone(&session));
        let here = Standing::Here(Arc::clone(&session));
        entries.by_name.insert(name, here);
        Ok((session, queue))
    }

    fn enrol(&self, join: &Join) -> Result<Participant, NotJoined> {
        let mut enrol = self.life.participate(join.name.clone());
        for name in &join.after {
            let Some(place) = self.life.place(name) else {
                let why = format!(
                    "nobody has enrolled as {name:?}, which {:?} depends on; /participants lists them",
                    join.name
                );
                return Err(NotJoined::new(StatusCode::CONFLICT, why));
            };
            enrol = enrol.after(&place);
        }
        if let Some(budget) = join.budget {
            enrol = enrol.budget(budget);
        }
        enrol.register().map_err(|error| {
            let why = match &error {
                EnrolError::NameTaken { name } => format!(
                    "{name:?} is a part of the service itself, or has ended; give each participant a name of its own"
                ),
                error => error.to_string(),
            };
            NotJoined::new(StatusCode::CONFLICT, why)
        })
    }

    /// Hands on what a session says.
    pub(super) fn hear(
        &self,
        id: &str,
        message: FromParticipant,
    ) -> Option<Result<(), &'static str>> {
        let session = self.lock().by_id.get(id).cloned()?;
        Some(session.take(message))
    }

    /// A session's connection has ended.
    pub(super) fn left(&self, session: &Arc<Session>) {
        let mut entries = self.lock();
        entries.by_id.remove(&session.id);
        entries.by_name.remove(session.name());
        let Some(participant) = session.take_participant() else {
            return;
        };
        if session.is_over() {
            // Nothing that it could say counts any more.
            participant.done();
            return;
        }
        // The lifecycle knows whether it may come back, or has failed.
        participant.away("its connection ended");
        let was = Arc::clone(session);
        let away = Standing::Away { participant, was };
        entries.by_name.insert(session.name().to_owned(), away);
    }

    /// Gives a participant more time, as an operator does; what it got, if that is soon known.
    pub(super) async fn grant(
        &self,
        name: &str,
        by: Duration,
    ) -> Result<Option<Duration>, NoParticipant> {
        let _alone = self.giving.lock().await;
        let before = gifts(&self.life, name).len();
        self.life.grant(name, by)?;
        for _ in 0..LOOKS {
            if let Some(got) = gifts(&self.life, name).get(before) {
                return Ok(Some(*got));
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(None)
    }

    pub(super) fn count_slow(&self) {
        // Relaxed: a count for people.
        self.slow.fetch_add(1, Ordering::Relaxed);
    }

    /// All participants, as the status has them, and whose those from outside are.
    pub(super) fn participants(&self) -> Value {
        let mut all = statuses(&self.life);
        let entries = self.lock();
        for one in &mut all {
            let name = one["name"].as_str().unwrap_or_default();
            match entries.by_name.get(name) {
                Some(Standing::Here(session)) => {
                    let Caller { pid, uid, program } = &session.caller;
                    one["session"] = json!({
                        "pid": pid, "uid": uid, "program": program.as_deref(), "ignored": session.ignored(),
                    });
                }
                Some(Standing::Away { .. }) | None => {}
            }
        }
        // Relaxed: a count for people.
        let slow = self.slow.load(Ordering::Relaxed);
        json!({ "participants": all, "sessions": entries.by_id.len(), "cut_for_not_reading": slow })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why somebody is not the one who was here under this name; its place in the order and its budget are those of the first time.
fn another(was: &Session, caller: &Caller, join: &Join) -> Option<String> {
    let name = &join.name;
    if caller.uid != was.caller.uid && !caller.is_ours_or_root() {
        let uid = was.caller.uid;
        return Some(format!(
            "{name:?} is the name of a participant of uid {uid}, which may come back to it; give each participant a name of its own"
        ));
    }
    if *join != was.join {
        return Some(format!(
            "{name:?} has joined before {}, and comes back as {}; a participant keeps its terms as long as the service runs: join with the same, or under another name",
            was.join.terms(),
            join.terms()
        ));
    }
    None
}

/// The participants of a status.
fn statuses(life: &Lifecycle) -> Vec<Value> {
    let status: Value = serde_json::from_str(&life.status().to_json()).unwrap_or_default();
    match status {
        Value::Object(mut status) => match status.remove("participants") {
            Some(Value::Array(all)) => all,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What operators gave a participant, in order.
fn gifts(life: &Lifecycle, name: &str) -> Vec<Duration> {
    let all = statuses(life);
    let one = all.iter().find(|one| one["name"] == name);
    let grants = one.and_then(|one| one["grants"].as_array());
    let gifts = grants.into_iter().flatten();
    let gifts = gifts.filter(|grant| grant.get("wish").is_none());
    let millis = gifts.filter_map(|grant| grant["by_ms"].as_f64());
    millis
        .filter_map(|millis| Duration::try_from_secs_f64(millis / 1_000.0).ok())
        .collect()
}

fn random_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; RANDOM];
    getrandom::fill(&mut bytes)?;
    let mut text = String::with_capacity(2 * RANDOM);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string never fails");
    }
    Ok(text)
}
