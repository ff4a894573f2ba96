//! One connection of a participant in another process: what it is told in order, and what becomes of what it says.
//!
//! The participant itself is one of the lifecycle's own; this is its handle, held for somebody outside. The connection is its life: [`Hold`] is
//! dropped with it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use lameduck::inflight::Fired;
use lameduck::{Given, Grant, Lifecycle, Participant, Terms};
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::timeout;

use super::book::Book;
use super::caller::Caller;
use super::messages::{Said, Told};
use crate::side::accept::PER_CONNECTION;
use crate::side::role::Held;

/// How many messages wait for a participant that does not read: more than there are of different ones.
pub(super) const MOST_WAITING: usize = 64;

pub(super) struct Session {
    /// Names it in its own requests.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) caller: Caller,
    life: Lifecycle,
    participant: Mutex<Option<Participant>>,
    /// Where it is told things; none once it is over.
    out: Mutex<Option<Sender<Bytes>>>,
    /// Its wishes, and what was granted; at most [`Grant::MOST`].
    wishes: Mutex<HashMap<u32, Option<Duration>>>,
    /// How it ended for the lifecycle, in a word.
    ended: OnceLock<String>,
    /// Rings when that is known.
    rang: Notify,
    /// Rings when more was to be told than it reads.
    overflowed: Notify,
    ignored: AtomicU64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.name)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Begins to tell it what happens; what it is told comes out of the queue.
    pub(super) fn begin(
        id: String,
        name: String,
        caller: Caller,
        life: Lifecycle,
        participant: Participant,
    ) -> (Arc<Self>, Queue) {
        let (into, queue) = mpsc::channel(MOST_WAITING);
        let heard = Heard {
            closing: participant.closing(),
            asked_again: participant.asked_again(),
            given: Some(participant.given()),
        };
        let session = Arc::new(Self {
            id,
            name,
            caller,
            life,
            participant: Mutex::new(Some(participant)),
            out: Mutex::new(Some(into)),
            wishes: Mutex::default(),
            ended: OnceLock::new(),
            rang: Notify::new(),
            overflowed: Notify::new(),
            ignored: AtomicU64::new(0),
        });
        tokio::spawn(tell(Arc::clone(&session), heard));
        (session, Queue(queue))
    }

    /// What it says is taken, or ignored for a reason.
    pub(super) fn take(self: &Arc<Self>, said: Said) -> Result<(), String> {
        if said.id().is_some_and(|id| id != self.life.drain_id()) {
            return self.ignore("it is about another drain");
        }
        let mut held = lock(&self.participant);
        let Some(participant) = &*held else {
            return self.ignore("it has ended");
        };
        match said {
            Said::Ready => participant.ready(),
            Said::Ack { .. } => participant.ack(),
            Said::Working {
                done, total, note, ..
            } => participant.working_on(done, total, note),
            Said::NeedMore { wish, by, why, .. } => self.wish(participant, wish, by, why),
            Said::Done { figures, .. } => {
                if let Some(participant) = held.take() {
                    participant.done_with(figures);
                }
            }
            Said::Refused { why, .. } => {
                if let Some(participant) = held.take() {
                    participant.refuse(why);
                }
            }
            Said::Failed { why, .. } => {
                if let Some(participant) = held.take() {
                    participant.failed(why);
                }
            }
        }
        Ok(())
    }

    /// The same wish gets the same answer again; a new one is the lifecycle's to answer.
    fn wish(self: &Arc<Self>, participant: &Participant, wish: u32, by: Duration, why: String) {
        let mut wishes = lock(&self.wishes);
        let answered = match wishes.get(&wish) {
            Some(answered) => *answered,
            None if wishes.len() >= Grant::MOST => Some(Duration::ZERO),
            None => {
                wishes.insert(wish, None);
                let (session, granting) = (Arc::clone(self), participant.need_more(by, why));
                tokio::spawn(async move {
                    let by = granting.await;
                    lock(&session.wishes).insert(wish, Some(by));
                    let terms = session.terms();
                    session.say(Told::Granted { wish, by }, terms);
                });
                None
            }
        };
        drop(wishes);
        if let Some(by) = answered {
            self.say(Told::Granted { wish, by }, participant.terms());
        }
    }

    fn ignore(&self, why: &str) -> Result<(), String> {
        // Relaxed: a count for people.
        self.ignored.fetch_add(1, Ordering::Relaxed);
        Err(why.to_owned())
    }

    pub(super) fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// The lifecycle waits for it no longer.
    pub(super) fn over(&self, state: &str) {
        // Only the first end counts: a participant ends once.
        let _ = self.ended.set(state.to_owned());
        self.rang.notify_one();
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Its handle, if it has not ended.
    pub(super) fn take_participant(&self) -> Option<Participant> {
        lock(&self.participant).take()
    }

    /// How much time it has.
    fn terms(&self) -> Option<Terms> {
        lock(&self.participant).as_ref()?.terms()
    }

    /// Tells it something; one that does not read what it is told is cut.
    fn say(&self, told: Told<'_>, terms: Option<Terms>) {
        let out = lock(&self.out);
        let Some(into) = &*out else { return };
        if into.try_send(told.event(&self.life, terms)).is_err() {
            self.overflowed.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a session is told, as the body of its answer.
pub(super) struct Queue(mpsc::Receiver<Bytes>);

impl http_body::Body for Queue {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let told = self.0.poll_recv(cx);
        told.map(|told| told.map(|told| Ok(Frame::data(told))))
    }
}

/// What the lifecycle tells a participant.
struct Heard {
    closing: Fired,
    asked_again: Fired,
    /// None once there is nobody to give to.
    given: Option<Given>,
}

/// What an operator gives.
async fn more(given: &mut Option<Given>) -> Duration {
    match given {
        Some(given) => given.await,
        None => pending().await,
    }
}

/// Tells a session what happens, until it is over for one of the two; then its stream ends.
async fn tell(session: Arc<Session>, heard: Heard) {
    let Heard {
        mut closing,
        mut asked_again,
        mut given,
    } = heard;
    let life = &session.life;
    let id = session.id.as_str();
    session.say(Told::Hello { session: id }, None);
    let mut steering = life.drain().steering();
    let (mut is_asked, mut is_asked_again, mut is_closing) = (false, false, false);
    loop {
        let told = tokio::select! {
            biased;
            () = session.rang.notified() => {
                let state = session.ended.get().map_or("done", String::as_str);
                session.say(Told::Over { state }, None);
                break;
            }
            () = &mut steering, if !is_asked => {
                is_asked = true;
                Told::ShutdownRequest { again: false }
            }
            () = &mut asked_again, if !is_asked_again => {
                is_asked_again = true;
                Told::ShutdownRequest { again: true }
            }
            () = &mut closing, if !is_closing => {
                is_closing = true;
                Told::Close
            }
            by = more(&mut given) => {
                let held = lock(&session.participant);
                given = held.as_ref().map(Participant::given);
                Told::Granted { wish: 0, by }
            }
            _ = life.outcome() => break,
        };
        session.say(told, session.terms());
    }
    lock(&session.out).take();
}

/// What the connection of a participant holds: dropped, the participant is gone.
pub(super) struct Hold {
    pub(super) book: Arc<Book>,
    pub(super) joining: Arc<Joining>,
    pub(super) _place: OwnedSemaphorePermit,
}

/// Set when it has joined.
#[derive(Default)]
pub(super) struct Joining {
    session: OnceLock<Arc<Session>>,
    rang: Notify,
}

impl Joining {
    pub(super) fn done(&self, session: Arc<Session>) {
        // A connection joins once.
        let _ = self.session.set(session);
        self.rang.notify_one();
    }
}

impl Held for Hold {
    fn stalled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.over_its_limits())
    }
}

impl Hold {
    /// Waits until it has not said who it is for as long as any request may take, or does not read what it is told.
    async fn over_its_limits(&self) {
        if timeout(PER_CONNECTION, self.joining.rang.notified())
            .await
            .is_err()
        {
            return;
        }
        if let Some(session) = self.joining.session.get() {
            session.overflowed.notified().await;
            self.book.count_slow();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(session) = self.joining.session.get() {
            self.book.left(session);
        }
    }
}
