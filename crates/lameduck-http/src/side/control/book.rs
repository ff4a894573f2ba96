//! Who takes part from outside: sessions by number and by name, and the names whose process went away while nothing was being drained.
//!
//! Bounded: so many sessions at a time, and so many names as a lifecycle takes participants.

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
    /// Sessions that were cut because they did not read.
    slow: AtomicU64,
}

#[derive(Default)]
struct Entries {
    by_id: HashMap<String, Arc<Session>>,
    by_name: HashMap<String, Standing>,
}

/// How a name stands.
enum Standing {
    Here(Arc<Session>),
    /// Its process went away before anything was drained; it may come back.
    Away(Participant),
}

impl Book {
    pub(super) fn new(life: Lifecycle) -> Arc<Self> {
        Arc::new(Self {
            life,
            places: Arc::new(Semaphore::new(MOST_SESSIONS)),
            entries: Mutex::default(),
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
            Some(Standing::Away(participant)) => {
                participant.returned();
                participant
            }
            None => self.enrol(&join)?,
        };
        let name = join.name.clone();
        let life = self.life.clone();
        let (session, queue) = Session::begin(id.clone(), name, caller, life, participant);
        entries.by_id.insert(id, Arc::clone(&session));
        let here = Standing::Here(Arc::clone(&session));
        entries.by_name.insert(join.name, here);
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
        entries.by_name.remove(&session.name);
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
        let away = Standing::Away(participant);
        entries.by_name.insert(session.name.clone(), away);
    }

    /// Gives a participant more time, as an operator does; what it got, if that is soon known.
    pub(super) async fn grant(
        &self,
        name: &str,
        by: Duration,
    ) -> Result<Option<Duration>, NoParticipant> {
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
                    let Caller { pid, uid } = session.caller;
                    let program = session.caller.program();
                    one["session"] = json!({
                        "pid": pid, "uid": uid, "program": program, "ignored": session.ignored(),
                    });
                }
                Some(Standing::Away(_)) | None => {}
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
