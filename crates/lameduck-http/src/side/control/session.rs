//! One connection of a participant in another process: what it is told in order, and what becomes of what it says.
//!
//! The participant itself is one of the lifecycle's own; this is its handle, held for somebody outside. The connection is its life: [`Hold`] is
//! dropped with it.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use lameduck::{Lifecycle, Participant};
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
    budget: Option<Duration>,
    life: Lifecycle,
    participant: Mutex<Option<Participant>>,
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
    pub(super) fn new(
        id: String,
        name: String,
        caller: Caller,
        budget: Option<Duration>,
        life: Lifecycle,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            name,
            caller,
            budget,
            life,
            participant: Mutex::new(None),
            ended: OnceLock::new(),
            rang: Notify::new(),
            overflowed: Notify::new(),
            ignored: AtomicU64::new(0),
        })
    }

    /// Begins to tell it what happens; what it is told comes out of the queue.
    pub(super) fn begin(self: &Arc<Self>, participant: Participant) -> Queue {
        let (into, queue) = mpsc::channel(MOST_WAITING);
        let telling = tell(
            Arc::clone(self),
            into,
            participant.closing(),
            participant.asked_again(),
        );
        *self.lock() = Some(participant);
        tokio::spawn(telling);
        Queue(queue)
    }

    /// What it says is taken, or ignored for a reason.
    pub(super) fn take(&self, said: Said) -> Result<(), String> {
        let about = match &said {
            Said::Ready => None,
            Said::Ack { id } | Said::Working { id, .. } | Said::Done { id } => Some(id),
            Said::Failed { id, .. } => id.as_ref(),
        };
        if about.is_some_and(|id| id != self.life.drain_id()) {
            return self.ignore("it is about another drain");
        }
        let mut held = self.lock();
        let Some(participant) = &*held else {
            return self.ignore("it has ended");
        };
        match said {
            Said::Ready => participant.ready(),
            Said::Ack { .. } => participant.ack(),
            Said::Working { done, total, .. } => participant.working(done, total),
            Said::Done { .. } => {
                if let Some(participant) = held.take() {
                    participant.done();
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
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Participant>> {
        self.participant
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room for it.
    fn say(&self, into: &Sender<Bytes>, told: Told<'_>) -> bool {
        let there_is_room = into.try_send(told.event(&self.life, self.budget)).is_ok();
        if !there_is_room {
            self.overflowed.notify_one();
        }
        there_is_room
    }
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

/// Tells a session what happens, until it is over for one of the two.
async fn tell(
    session: Arc<Session>,
    into: Sender<Bytes>,
    mut closing: lameduck::inflight::Fired,
    mut asked_again: lameduck::inflight::Fired,
) {
    let (life, id) = (&session.life, session.id.as_str());
    if !session.say(&into, Told::Hello { session: id }) {
        return;
    }
    let mut steering = life.drain().steering();
    let (mut is_asked, mut is_asked_again, mut is_closing) = (false, false, false);
    loop {
        let told = tokio::select! {
            biased;
            () = session.rang.notified() => {
                let state = session.ended.get().map_or("done", String::as_str);
                session.say(&into, Told::Over { state });
                return;
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
            _ = life.outcome() => return,
        };
        if !session.say(&into, told) {
            return;
        }
    }
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
